"""The files of a repository as they were before the repair, to be read by their paths."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from sandbox.checkpoint import Checkpoint
from sandbox.snapshot import LINK

MAX_TEXT_BYTES = 1024 * 1024
SOURCE_SUFFIXES = frozenset(
    {
        ".py", ".pyi", ".pyx", ".js", ".mjs", ".cjs", ".jsx", ".ts", ".mts", ".cts", ".tsx", ".vue",
        ".rs", ".go", ".c", ".h", ".cc", ".cpp", ".cxx", ".hpp", ".java", ".kt", ".scala", ".cs",
        ".rb", ".php", ".pl", ".pm", ".swift", ".lua", ".zig", ".ex", ".exs", ".hs", ".ml",
    }
)  # fmt: skip
"""What a repair is made of; other files are data, scripts or settings."""


@dataclass(frozen=True)
class Originals:
    """All regular files at one moment."""

    paths: frozenset[str]
    read: Callable[[str], str]
    """The text of one of them; nothing of one that is absent or huge."""


def originals_at(checkpoint: Checkpoint, base: str, worktree: Path) -> Originals:
    """Give the files of `base`; those that `worktree` still holds are read there."""
    changed = frozenset(checkpoint.changed(base))
    entries = checkpoint.files(base)
    paths = frozenset(path for path, entry in entries.items() if entry.mode != LINK)

    @cache
    def read(path: str) -> str:
        if path not in paths:
            return ""
        if path in changed:
            data = checkpoint.file(base, path) or b""
        else:
            place = worktree / path
            data = b"" if place.stat().st_size > MAX_TEXT_BYTES else place.read_bytes()
        return "" if len(data) > MAX_TEXT_BYTES else data.decode("utf-8", "replace")

    return Originals(paths, read)
