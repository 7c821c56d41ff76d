"""What each file held before each edit, so that edits can be taken back, last one first.

In memory alone: a session that goes on in a new process has nothing to undo.
"""

from collections import defaultdict, deque
from dataclasses import dataclass

_NUM_LEVELS = 50


@dataclass(frozen=True)
class Edit:
    """One change of one file."""

    before: bytes | None
    """None where there was no file."""
    after: bytes


class History:
    """The edits of every file, the latest last; the oldest are dropped."""

    def __init__(self) -> None:
        self._edits: defaultdict[str, deque[Edit]] = defaultdict(lambda: deque(maxlen=_NUM_LEVELS))

    def add(self, path: str, edit: Edit) -> None:
        """Record an edit that was made."""
        self._edits[path].append(edit)

    def last(self, path: str) -> Edit | None:
        """Return the edit that would be taken back."""
        return self._edits[path][-1] if self._edits[path] else None

    def drop(self, path: str) -> None:
        """Forget the last edit, which was taken back."""
        self._edits[path].pop()
