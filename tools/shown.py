"""What the model has been shown of each file, so that a stale look is known for one.

Line numbers are good only while the lines stand where they were shown, and a view that would
repeat an earlier one can say so instead. `forget` is for a conversation that lost its past.
"""

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from tools.textfile import TextFile

_NOWHERE = 2**62


@dataclass
class _Sight:
    """One file as it was last seen."""

    digest: str
    lines: set[int] = field(default_factory=set)
    """Those shown under the number that they have."""
    views: dict[tuple[int, int], int] = field(default_factory=dict)
    """The step of each view, by its range."""
    moved_from: int = _NOWHERE
    """From this line on the numbers are others than when the model saw them."""


class Shown:
    """The model's knowledge of the files, as far as the editor gave it."""

    def __init__(self, step: Callable[[], int]) -> None:
        """Begin with nothing; `step` says which reply is being carried out."""
        self._step = step
        self._sights: dict[str, _Sight] = {}
        self._misses: Counter[str] = Counter()

    def forget(self) -> None:
        """Nothing that was shown is before the model's eyes any more."""
        self._sights.clear()
        self._misses.clear()

    def has_changed(self, path: str, file: TextFile) -> bool:
        """Say whether the file is another than the one seen; one never seen is not."""
        return path in self._sights and self._sights[path].digest != digest(file)

    def note(self, path: str, file: TextFile, first: int = 1, last: int = 0) -> None:
        """Record what the file is now, and that lines `first` to `last` are shown."""
        self._sight(path, file).lines.update(range(first, last + 1))

    def view(self, path: str, file: TextFile, first: int, last: int) -> int | None:
        """Record a view; return the step of the same one before, if the file is the same."""
        views = self._sight(path, file).views
        earlier = views.get((first, last))
        views.setdefault((first, last), self._step())
        return earlier

    def wrote(
        self, path: str, before: TextFile, after: TextFile, first: int, last: int, num_more: int
    ) -> None:
        """Record an edit that left lines `first` to `last` new, `num_more` than there were."""
        sight = self._sight(path, before)
        sight.digest = digest(after)
        sight.views.clear()
        sight.lines = {
            line for line in sight.lines if line < first or (line > last and num_more == 0)
        }
        if num_more:
            sight.moved_from = min(sight.moved_from, last + 1)
        self._misses.pop(path, None)

    def covers(self, path: str, file: TextFile, first: int, last: int) -> bool:
        """Say whether all these lines were shown, under these numbers, as they are now."""
        if path not in self._sights or self.has_changed(path, file):
            return False
        return self._sights[path].lines.issuperset(range(first, last + 1))

    def has_moved(self, path: str, line: int) -> bool:
        """Say whether the model may know this line under another number."""
        sight = self._sights.get(path)
        return sight is not None and line >= sight.moved_from and line not in sight.lines

    def miss(self, path: str) -> int:
        """Count an edit of the file that found no place, and return how many in a row."""
        self._misses[path] += 1
        return self._misses[path]

    def _sight(self, path: str, file: TextFile) -> _Sight:
        if path not in self._sights:
            self._sights[path] = _Sight(digest(file))
        elif self.has_changed(path, file):
            self._sights[path] = _Sight(digest(file), moved_from=1)
        return self._sights[path]


def digest(file: TextFile) -> str:
    """Return what tells one content of a file from another."""
    return hashlib.sha256(file.encode()).hexdigest()
