"""What every source file of the workspace defines and mentions, kept in memory; parsed once.

A file is parsed anew when its stamp is another. What cannot be parsed is kept as a note, so that
it is not tried again.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sandbox.base import Cancel, never
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.file_kinds import (
    HEAD_CHARACTERS,
    MAX_LINE_CHARACTERS,
    is_generated,
    is_test,
    says_generated,
)
from tools.grammars import NotParsed
from tools.languages import family_of
from tools.source_files import SourceFiles, Stamp
from tools.symbols import MAX_BYTES, Definition, Symbols, read_symbols

MAX_UPDATE_S = 30.0
"""Then the files that are left wait for the next update."""

TEST_WEIGHT = 0.1
GENERATED_WEIGHT = 0.02


@dataclass(frozen=True, slots=True)
class IndexedFile:
    """One file."""

    stamp: Stamp
    family: str
    """Files of one family can refer to each other."""
    definitions: tuple[Definition, ...]
    mentions: Mapping[str, float]
    """The names it refers to, and how much."""
    members: Mapping[str, float]
    """The same of names behind a dot."""
    weight: float
    """How much a reader of the whole repository cares."""
    note: str = ""
    """Why it was not parsed."""


class SymbolIndex:
    """The files of one workspace; `update` brings it up to date."""

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._sources = SourceFiles(workspace)
        self.files: dict[str, IndexedFile] = {}
        self.num_waiting = 0
        """Files that the last update had no time for."""
        self.has_more = False
        """Whether there are more files than are looked at."""

    def update(self, cancel: Cancel = never) -> frozenset[str]:
        """Parse what is new or changed; return the paths that are, or are gone."""
        stamps, self.has_more = self._sources.find()
        gone = self.files.keys() - stamps.keys()
        for path in gone:
            del self.files[path]
        changed = [path for path, stamp in stamps.items() if self._is_other(path, stamp)]
        end_s = time.monotonic() + MAX_UPDATE_S
        num_done = 0
        for path in changed:
            if cancel() or time.monotonic() > end_s:
                break
            self.files[path] = self._read(path, stamps[path])
            num_done += 1
        self.num_waiting = len(changed) - num_done
        return frozenset(gone) | frozenset(changed[:num_done])

    def read(self, path: str) -> Symbols:
        """Return the symbols of a file as it is now.

        Raises:
            NotParsed: it has none; the text says why.
            PathRefused: it leads out of the workspace, or is no regular file.
            FileNotFoundError, NotADirectoryError: it is not there.
        """
        try:
            return read_symbols(path, self._workspace.read(path))
        except PermissionError as error:
            raise NotParsed("may not be read") from error

    def _is_other(self, path: str, stamp: Stamp) -> bool:
        known = self.files.get(path)
        return known is None or known.stamp != stamp

    def _read(self, path: str, stamp: Stamp) -> IndexedFile:
        family = family_of(path)
        try:
            if stamp.num_bytes > MAX_BYTES:
                raise NotParsed("is too large")
            symbols = self.read(path)
        except (NotParsed, PathRefused, OSError) as error:
            return IndexedFile(stamp, family, (), {}, {}, 0.0, str(error))
        return IndexedFile(
            stamp,
            family,
            symbols.definitions,
            _weigh(one.name for one in symbols.references if not one.is_member),
            _weigh(one.name for one in symbols.references if one.is_member),
            _weight(path, symbols.source),
        )


def _weight(path: str, source: bytes) -> float:
    if is_generated(path) or says_generated(source[:HEAD_CHARACTERS].decode("utf-8", "replace")):
        return GENERATED_WEIGHT
    if max(map(len, source.split(b"\n"))) > MAX_LINE_CHARACTERS:
        return GENERATED_WEIGHT
    return TEST_WEIGHT if is_test(path) else 1.0


def _weigh(names: Iterable[str]) -> Mapping[str, float]:
    """Weigh each name: the tenth use tells less than the first."""
    return {name: count**0.25 for name, count in Counter(names).items()}
