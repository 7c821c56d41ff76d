"""Which of a person's files the checkpoints of a talk leave alone: what git ignores, what is huge.

Those may be data, builds and secrets: they are not copied, so a rewind does not touch them. A path
is decided about once. Were it decided anew when a `.gitignore` changes, files that were always
there would look as if they were made since, and a rewind would delete them.
"""

import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sandbox.limits import MIB
from sandbox.snapshot import default_ignored

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MAX_BYTES = 64 * MIB
"""Of one file; a larger one was written by no hand."""
MAX_RULES_BYTES = 64 * 1024
"""Of one `.gitignore`."""


class LeftAlone:
    """Asked with paths relative to the worktree, folders before what is in them."""

    def __init__(self, worktree: Path) -> None:
        self._worktree = worktree
        self._by_default = default_ignored(worktree)
        self._rules: dict[str, GitIgnoreSpec | None] = {}
        self._known: dict[str, bool] = {}

    def __call__(self, path: str) -> bool:
        """Say whether a path, and all below it, is left alone."""
        if path not in self._known:
            self._known[path] = self._by_default(path) or self._is_left(path)
        return self._known[path]

    def _is_left(self, path: str) -> bool:
        try:
            status = (self._worktree / path).lstat()
        except OSError:
            return False
        if stat.S_ISREG(status.st_mode) and status.st_size > MAX_BYTES:
            return True
        return self._is_ignored(path, stat.S_ISDIR(status.st_mode))

    def _is_ignored(self, path: str, is_folder: bool) -> bool:
        """Ask the `.gitignore` files, the nearest first; the first that speaks of it decides."""
        parts = path.split("/")
        for depth in reversed(range(len(parts))):
            rules = self._rules_of("/".join(parts[:depth]))
            name = "/".join(parts[depth:]) + "/" * is_folder
            if rules is not None and (said := rules.check_file(name).include) is not None:
                return said
        return False

    def _rules_of(self, folder: str) -> "GitIgnoreSpec | None":
        if folder not in self._rules:
            names = [f"{folder}/.gitignore" if folder else ".gitignore"]
            names += [] if folder else [".git/info/exclude"]
            self._rules[folder] = _read_rules([self._worktree / name for name in names])
        return self._rules[folder]


def _read_rules(files: list[Path]) -> "GitIgnoreSpec | None":
    lines = [line for file in reversed(files) for line in _lines(file)]
    if not lines:
        return None
    from pathspec import GitIgnoreSpec  # 50 ms, for who has rules

    return GitIgnoreSpec.from_lines(lines)


def _lines(file: Path) -> list[str]:
    """Return the patterns of a file, without those that git would skip."""
    with suppress(OSError):
        descriptor = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as content:
            text = content.read(MAX_RULES_BYTES).decode("utf-8", "replace")
            return [line for line in text.split("\n") if _is_pattern(line)]
    return []


def _is_pattern(line: str) -> bool:
    from pathspec import GitIgnoreSpec

    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return bool(line.strip())
