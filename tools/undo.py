"""What each file held before each edit, so that edits can be taken back, last one first.

In memory alone; of the time before, whoever goes on with a session in a new process is asked.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_NUM_LEVELS = 50


@dataclass(frozen=True)
class Edit:
    """One change of one file."""

    before: bytes | None
    """None where there was no file."""
    after: bytes


Earlier = Callable[[str], Sequence[Edit]]
"""Gives the edits of a file that an earlier process made, oldest first."""


def none_earlier(path: str) -> Sequence[Edit]:
    """Be the past of a session that begins here."""
    return ()


class History:
    """The edits of every file, the latest last; the oldest are dropped."""

    def __init__(self, earlier: Earlier = none_earlier) -> None:
        self._earlier = earlier
        self._edits: dict[str, deque[Edit]] = {}

    def add(self, path: str, edit: Edit) -> None:
        """Record an edit that was made."""
        self._of(path).append(edit)

    def last(self, path: str) -> Edit | None:
        """Return the edit that would be taken back."""
        edits = self._of(path)
        return edits[-1] if edits else None

    def drop(self, path: str) -> None:
        """Forget the last edit, which was taken back."""
        self._of(path).pop()

    def _of(self, path: str) -> deque[Edit]:
        if path not in self._edits:
            self._edits[path] = deque(self._earlier(path), maxlen=_NUM_LEVELS)
        return self._edits[path]
