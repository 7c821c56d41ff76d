"""The files and symbols of the repository that a prompt can name, found in the background."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.source_files import SourceFiles
    from tools.symbol_index import SymbolIndex

FRESH_S = 5.0
"""After that the files are listed again when they are asked for."""
MIN_SYMBOL = 2
"""Letters before symbols are offered, too: there are many of them."""


class Names:
    """Lists what there is; asking costs nothing and starts the search when it is old."""

    def __init__(
        self,
        root: Path,
        on_change: Callable[[], None] = lambda: None,
        fresh_s: float = FRESH_S,
    ) -> None:
        self._root = root
        self._fresh_s = fresh_s
        self._finders: tuple[SourceFiles, SymbolIndex] | None = None
        self._on_change = on_change
        self._searched_s = 0.0
        self._is_searching = False
        self.files: tuple[str, ...] = ()
        self.symbols: dict[str, str] = {}
        """`name` or `Class.name` to where it is: `path:line`."""

    def refresh(self) -> None:
        """Search again in the background, unless that was done a moment ago."""
        if self._is_searching or time.monotonic() - self._searched_s < self._fresh_s:
            return
        self._is_searching = True
        threading.Thread(target=self._search, daemon=True, name="names").start()

    def wait(self, timeout_s: float) -> None:
        """Search, and wait until that is done."""
        self.refresh()
        end_s = time.monotonic() + timeout_s
        while self._is_searching and time.monotonic() < end_s:
            time.sleep(0.01)

    def _search(self) -> None:
        with suppress(OSError):
            files, index = self._finders = self._finders or _finders(self._root)
            found = tuple(files.find()[0])
            is_new, self.files = found != self.files, found
            self._tell(is_new)
            index.update()
            symbols = {
                definition.name: f"{path}:{definition.line}"
                for path, file in index.files.items()
                for definition in file.definitions
            }
            is_new, self.symbols = symbols != self.symbols, symbols
            self._tell(is_new)
        self._searched_s, self._is_searching = time.monotonic(), False

    def _tell(self, is_new: bool) -> None:
        """Say that there is something new: a menu that was closed must not open for nothing."""
        if is_new:
            self._on_change()


def _finders(root: Path) -> "tuple[SourceFiles, SymbolIndex]":
    """Import what finds names when it is needed, beside the prompt."""
    from sandbox.workspace import Workspace
    from tools.source_files import SourceFiles
    from tools.symbol_index import SymbolIndex

    workspace = Workspace(root, root)
    return SourceFiles(workspace, is_wanted=lambda _name: True), SymbolIndex(workspace)
