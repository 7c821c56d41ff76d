"""One session's tools as far as the editor takes part: it sees what they do while they do it."""

from acp import schema

from agent.frontends.acp.calls import words
from agent.frontends.acp.live import Live
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.updates import Story
from agent.frontends.acp.words import as_params
from agent.reach import Reach
from sandbox.base import Sandbox


class Hands:
    """What an editor puts between the tools of one talk and what they work on."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._session_id = ""
        self._story: Story | None = None
        self.reach = Reach(commands=self._commands)

    def enter(self, session_id: str, story: Story) -> None:
        """Belong to a talk."""
        self._session_id, self._story = session_id, story

    def _commands(self, sandbox: Sandbox) -> Sandbox:
        return Live(sandbox, self._show)

    def _show(self, output: str) -> None:
        """Tell what the command of the call in hand has printed until now."""
        assert self._story is not None, "a turn runs after `enter`"
        update = schema.ToolCallProgress(
            session_update="tool_call_update",
            tool_call_id=self._story.call_id,
            status="in_progress",
            content=[words(output, fenced=True)],
        )
        told = schema.SessionNotification(session_id=self._session_id, update=update)
        self._peer.notify("session/update", as_params(told))
