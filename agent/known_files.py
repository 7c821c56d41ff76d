"""What a talk knows of its files, for a front end that holds texts which are not on disk yet.

An editor may hold more than the disk, since a person types, or less, since it has not seen yet what
a command did. Only the saved moments of the talk tell these two apart.
"""

from collections.abc import Callable
from contextlib import suppress

from agent.notes import is_prompt
from agent.rules import changes_file
from agent.session import Session
from inference.messages import ToolCall
from sandbox.base import Cancel
from sandbox.checkpoint import Checkpoint
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace

NUM_TREES = 32
"""Saved moments that are looked at, the last ones."""


class KnownFiles:
    """The files of one talk at its saved moments; paths are named from the repository."""

    def __init__(
        self, session: Session, checkpoint: Checkpoint, is_quiet: Callable[[], bool] = lambda: True
    ) -> None:
        """`is_quiet` says whether no command runs that could change the files meanwhile."""
        self._session = session
        self._checkpoint = checkpoint
        self.is_quiet = is_quiet

    def is_as_at_prompt(self, path: str, data: bytes) -> bool:
        """Say whether a file held these bytes when the last prompt came."""
        return self._checkpoint.holds(self._session.trees[self._num_prompt()], path, data)

    def was_once(self, path: str, data: bytes) -> bool:
        """Say whether a file has held these bytes at a moment of the talk."""
        trees = list(dict.fromkeys(reversed(self._session.trees)))
        return any(self._checkpoint.holds(tree, path, data) for tree in trees[:NUM_TREES])

    def take_in(self, path: str) -> None:
        """Let a file have been as it is now since the last prompt, or since the model changed it.

        So what a person had typed before is theirs: who goes back does not take it away.
        """
        trees, checkpoint = self._session.trees, self._checkpoint
        known, first = checkpoint.entry(trees[-1], path), len(trees)
        while first > self._num_prompt() and checkpoint.entry(trees[first - 1], path) == known:
            first -= 1
        now = checkpoint.save("as a person has it")
        new = {tree: checkpoint.mixed(tree, now, [path]) for tree in dict.fromkeys(trees[first:])}
        self._session.take_in([new[tree] for tree in trees[first:]])

    def _num_prompt(self) -> int:
        messages = self._session.messages
        return max((n for n, message in enumerate(messages) if is_prompt(message)), default=0)


class TakeIn:
    """Saves what a person has typed in a file before the model changes it."""

    def __init__(self, files: Workspace, known: KnownFiles) -> None:
        self._files = files
        self._known = known

    def __call__(self, call: ToolCall, cancel: Cancel) -> str | None:
        """Do it; no call is kept from running."""
        if changes_file(call) and call.arguments.get("command") != "create":  # not what is there
            with suppress(OSError, PathRefused):  # the tool says what is wrong
                path = self._files.real(str(call.arguments.get("path", "")))
                if self._files.settle(str(path)):
                    self._known.take_in(str(self._files.folder / path))
        return None
