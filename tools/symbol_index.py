"""What every source file of the workspace defines and mentions, kept in memory; parsed once.

A file is parsed anew when its stamp is another. What cannot be parsed is kept as a note, so that
it is not tried again.
"""

import time
from contextlib import closing

from sandbox.base import Cancel, never
from sandbox.workspace import Workspace
from tools.indexing import IndexedFile, index_files, read_file
from tools.source_files import SourceFiles, Stamp
from tools.symbols import Symbols

MAX_UPDATE_S = 60.0
"""Then the files that are left wait for the next update."""


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
        gone = frozenset(self.files.keys() - stamps.keys())
        for path in gone:
            del self.files[path]
        changed = [(path, stamp) for path, stamp in stamps.items() if self._is_other(path, stamp)]
        end_s = time.monotonic() + MAX_UPDATE_S
        done: set[str] = set()
        with closing(index_files(self._workspace, changed)) as indexed:
            for path, file in indexed:
                self.files[path] = file
                done.add(path)
                if cancel() or time.monotonic() > end_s:
                    break
        self.num_waiting = len(changed) - len(done)
        return gone | done

    def read(self, path: str) -> Symbols:
        """Return the symbols of a file as it is now.

        Raises:
            NotParsed: it has none; the text says why.
            PathRefused: it leads out of the workspace, or is no regular file.
            FileNotFoundError, NotADirectoryError: it is not there.
        """
        return read_file(self._workspace, path)

    def _is_other(self, path: str, stamp: Stamp) -> bool:
        known = self.files.get(path)
        return known is None or known.stamp != stamp
