"""One session's tools as far as the editor takes part: it has the texts, and sees what is done."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from acp import schema

from agent.errors import RunCancelled
from agent.frontends.acp.buffers import BufferFiles
from agent.frontends.acp.calls import Content, words
from agent.frontends.acp.handshake import Client
from agent.frontends.acp.live import Live
from agent.frontends.acp.rpc import Gone, Params, Peer, RpcError
from agent.frontends.acp.terminal import InTerminal
from agent.frontends.acp.updates import Story, send
from agent.known_files import KnownFiles
from agent.reach import Reach, on_disk
from sandbox.base import Cancel, Sandbox, View, never
from sandbox.workspace import Workspace

READ_S = 5.0
WRITE_S = 15.0
"""An editor may format what it saves."""
MAX_CHARACTERS = 4_000_000
"""Of a text of the editor; a longer one is not used."""
log = logging.getLogger(__name__)


class Hands:
    """What an editor puts between the tools of one talk and what they work on."""

    def __init__(
        self, peer: Peer, client: Client, folder: Path, is_quiet: Callable[[], bool]
    ) -> None:
        """Be there for a talk in `folder`.

        `is_quiet` says whether no command of any talk runs in the background: it could put a link
        in the place of a file that the editor has been told to write.
        """
        self._peer = peer
        self._client = client
        self._folder = folder
        self._all_quiet = is_quiet
        self._session_id = ""
        self._story: Story | None = None
        self._cancel: Cancel = never
        self._is_silent = False
        """Whether the editor has not answered; it is not waited for again in the same turn."""
        self.is_quiet: Callable[[], bool] = lambda: True
        """Whether no command of this talk runs in the background."""
        self.reach = Reach(self._files, self._commands, self._bare)

    def enter(self, session_id: str, story: Story) -> None:
        """Belong to a talk."""
        self._session_id, self._story = session_id, story

    def begin(self, cancel: Cancel) -> None:
        """Be there for a new turn; who waits for the editor goes on when `cancel` says so."""
        self._cancel, self._is_silent = cancel, False

    def is_there(self) -> bool:
        """Say whether the editor can be asked now.

        Raises:
            RunCancelled: the turn is stopped.
        """
        if self._cancel():
            raise RunCancelled("stopped; nothing was changed past the editor")
        return not self._is_silent and self._all_quiet()

    def read(self, path: Path) -> str | None:
        """Return the text of a file as it is shown; None if that cannot be known."""
        found = self._asked("fs/read_text_file", READ_S, path=str(path))
        text = found.get("content") if found is not None else None
        return text if isinstance(text, str) and len(text) <= MAX_CHARACTERS else None

    def write(self, path: Path, text: str) -> bool:
        """Let the file be this text, on disk too; say whether that was done."""
        if not self._client.writes_texts:
            return False
        return self._asked("fs/write_text_file", WRITE_S, path=str(path), content=text) is not None

    def _files(self, view: View, known: KnownFiles) -> Workspace:
        self.is_quiet = known.is_quiet
        if not self._client.reads_texts:
            return on_disk(view, known)
        return BufferFiles(view, known, self, self._folder)

    def _commands(self, sandbox: Sandbox) -> Sandbox:
        return Live(sandbox, lambda output: self._show(words(output, fenced=True)))

    def _bare(self, sandbox: Sandbox) -> Sandbox:
        if sandbox.level != "direct" or not self._client.has_terminals:
            return sandbox
        return InTerminal(sandbox, self._ask, self._show_terminal)

    def _ask(self, method: str, stops: Cancel, **params: Any) -> Params:
        """Ask the editor about the session; raises as `Peer.ask` does."""
        found = self._peer.ask(method, {"sessionId": self._session_id, **params}, stops)
        return found if isinstance(found, dict) else {}

    def _asked(self, method: str, timeout_s: float, **params: Any) -> Params | None:
        """Ask the editor; None if it says no, or nothing in time.

        Raises:
            RunCancelled: the turn was stopped meanwhile, or the editor has left.
        """
        end_s = time.monotonic() + timeout_s
        try:
            return self._ask(method, lambda: self._cancel() or time.monotonic() >= end_s, **params)
        except RpcError as error:
            log.info("%s: %s", method, error)
            return None
        except Gone as error:
            if self._cancel() or time.monotonic() < end_s:
                raise RunCancelled(f"stopped while {method} was not answered") from error
            log.warning("%s was not answered", method)
            self._is_silent = True
            return None

    def _show_terminal(self, name: str) -> None:
        """Show the terminal of the call in hand, then and when the call has ended."""
        assert self._story is not None, "a turn runs after `enter`"
        self._story.is_in_terminal = True
        self._show(schema.TerminalToolCallContent(type="terminal", terminal_id=name))

    def _show(self, content: Content) -> None:
        """Tell what there is to see of the call in hand until now."""
        assert self._story is not None, "a turn runs after `enter`"
        update = schema.ToolCallProgress(
            session_update="tool_call_update",
            tool_call_id=self._story.call_id,
            status="in_progress",
            content=[content],
        )
        send(self._peer, self._session_id, update)
