"""The map of a repository: its most used symbols, file by file, within a budget of tokens."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from sandbox.base import Cancel, never
from sandbox.workspace import Workspace
from tools.indexing import IndexedFile
from tools.ranking import Ranking
from tools.symbol_index import SymbolIndex
from tools.symbols import Definition

CountTokens = Callable[[str], int]
MAX_RANKED_FILES = 60
"""Whose symbols are ranked: more than the map can name."""
MAX_OF_ONE_NAME = 3
"""Definitions with the same name in a file, as overloads have."""


def estimate_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return len(text) // 4 + 1


def symbol_row(one: Definition) -> str:
    """Write a symbol with its lines, so that `view` with view_range can follow."""
    return f"{f'{one.first}-{one.last}':>9}  {'  ' * one.depth}{one.signature}"


class RepositoryMap:
    """Draws maps of one workspace; it is read once, and then what has changed."""

    def __init__(
        self,
        workspace: Workspace,
        max_tokens: int = 1000,
        count_tokens: CountTokens = estimate_tokens,
    ) -> None:
        self.index = SymbolIndex(workspace)
        self._ranking = Ranking()
        self._max_tokens = max_tokens
        self._count_tokens = count_tokens

    def update(self, cancel: Cancel = never) -> None:
        """Take in what has changed on disk."""
        if changed := self.index.update(cancel):
            self._ranking.update(self.index.files, changed)

    def draw(self, folder: str = "", focus: frozenset[str] = frozenset()) -> str:
        """Return the files that matter most and their most used symbols.

        `folder` is empty or ends in a slash; `focus` are the files whose needs come first.
        """
        files = self.index.files
        rank = self._ranking.rank_files(files, focus)
        below = [path for path in files if path.startswith(folder) and files[path].definitions]
        top = sorted(below, key=lambda path: -rank[path] * files[path].weight)[:MAX_RANKED_FILES]
        chosen = self._choose(top, rank)
        rows: list[str] = []
        for path in chosen:
            rows += [path, *map(symbol_row, sorted(chosen[path], key=lambda one: one.first))]
        return "\n".join([*rows, *self._notes(len(below) - len(chosen), folder)])

    def _choose(
        self, paths: Sequence[str], rank: Mapping[str, float]
    ) -> Mapping[str, set[Definition]]:
        """Choose symbols, the most used first, as long as there is room."""
        files = self.index.files
        chosen: dict[str, set[Definition]] = {}
        room = self._max_tokens
        for path, name, score in self._ranking.rank_symbols(files, rank, paths):
            new = _definitions_of(name, files[path], score) - chosen.get(path, set())
            rows = [symbol_row(one) for one in new]
            if path not in chosen:
                rows.append(path)
            cost = sum(self._count_tokens(f"{row}\n") for row in rows)
            if new and cost > room:
                break
            if new:
                chosen.setdefault(path, set()).update(new)
                room -= cost
        return chosen

    def _notes(self, num_others: int, folder: str) -> Iterable[str]:
        """Return what a reader of the map should know of what is not in it."""
        if num_others > 0:
            yield f"[{num_others} more files; name one, or a folder, as path]"
        if self.index.num_waiting:
            yield f"[{self.index.num_waiting} files are not read yet; ask again]"
        if self.index.has_more:
            yield f"[only the first {len(self.index.files)} files of the repository are read]"
        notes = [
            f"{path} {file.note}"
            for path, file in self.index.files.items()
            if file.note and path.startswith(folder)
        ]
        if notes:
            others = f"; {len(notes) - 1} more like it" if len(notes) > 1 else ""
            yield f"[left out: {notes[0]}{others}]"


def _definitions_of(name: str, file: IndexedFile, score: float) -> set[Definition]:
    """Return what a file defines by a name, and the classes around it.

    What nobody uses is worth a row only if it stands alone and is not private.
    """
    own = [one for one in file.definitions if one.name == name][:MAX_OF_ONE_NAME]
    if score == 0:
        own = [one for one in own if one.depth == 0 and not name.startswith("_")]
    return {
        around
        for one in own
        for around in file.definitions
        if around.first <= one.first and one.last <= around.last and around.depth <= one.depth
    }
