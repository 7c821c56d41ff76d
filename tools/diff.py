"""A unified diff read backwards: which files an edit touched, and what they were before it.

It reads what `textfile.unified_diff` writes, and trusts no other. No file is opened here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tools.textfile import split_lines

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\\ No newline at end of file"
Side = Literal["-", "+"]
"""What was there, or what is there now."""


@dataclass(frozen=True)
class FileDiff:
    """What an edit did to one file."""

    path: str
    rows: tuple[str, ...]
    """The rows after the two that name the file."""
    is_new: bool = False
    """Whether there was no file."""

    def before(self, after: str) -> str:
        """Return the text that the edit was made on, from the text that it left."""
        return self._other(after, "+", "-")

    def after(self, before: str) -> str:
        """Return the text that the edit leaves, from the text that it is made on."""
        return self._other(before, "-", "+")

    def fits(self, text: str, side: Side) -> bool:
        """Say whether a text is one side of the edit, as far as its rows tell."""
        lines, at = split_lines(text), 0
        for row in self.rows:
            if hunk := _HUNK.match(row):
                at = _start(hunk, side)
            elif row[:1] in (" ", side):
                if lines[at : at + 1] != [row[1:]]:
                    return False
                at += 1
        return True

    def _other(self, text: str, side: Side, other: Side) -> str:
        """Return the other side of the edit than `text`, which is `side` of it."""
        lines, at, found = split_lines(text), 0, list[str]()
        for row in self.rows:
            if hunk := _HUNK.match(row):
                start = _start(hunk, side)
                found += lines[at:start]
                at = start
            else:
                found += [row[1:]] if row[:1] in (" ", other) else []
                at += row[:1] in (" ", side)
        found += lines[at:]
        written = "".join(f"{line}\n" for line in found)
        return written if self._is_ended(text, side, other) else written.removesuffix("\n")

    def _is_ended(self, text: str, side: Side, other: Side) -> bool:
        """Say whether the last line of the other side of the edit than `text` has an end."""
        pairs = zip(self.rows, self.rows[1:], strict=False)
        open_rows = {row[:1] for row, following in pairs if following == _NO_NEWLINE}
        if open_rows:
            return open_rows == {side}
        return text.endswith("\n") or not text


def files_of(diff: str) -> tuple[FileDiff, ...]:
    """Return the files that a diff leaves in place, with what it did to each."""
    return tuple(file for file in _files(split_lines(diff)) if file.path)


def _files(rows: list[str]) -> Iterator[FileDiff]:
    """Yield every file; only the counts of a hunk tell `--- a` the header from a removed line."""
    at = 0
    while at < len(rows) - 1:
        if not rows[at].startswith("--- "):  # a line of words before the header
            at += 1
            continue
        path, start = _path(rows[at + 1]), at + 2
        at = start
        while at < len(rows) and (hunk := _HUNK.match(rows[at])):
            at = _end_of_hunk(rows, at + 1, int(hunk[2] or 1), int(hunk[4] or 1))
        yield FileDiff(path, tuple(rows[start:at]), is_new=rows[start - 2] == "--- /dev/null")


def _start(hunk: re.Match[str], side: Side) -> int:
    """Return how many lines come before a hunk."""
    first, num_lines = (hunk[1], hunk[2]) if side == "-" else (hunk[3], hunk[4])
    # An empty range names the line before.
    return int(first) if num_lines == "0" else int(first) - 1


def _end_of_hunk(rows: list[str], at: int, num_old: int, num_new: int) -> int:
    while at < len(rows) and (num_old or num_new or rows[at] == _NO_NEWLINE):
        num_old -= rows[at][:1] in (" ", "-")
        num_new -= rows[at][:1] in (" ", "+")
        at += 1
    return at


def _path(row: str) -> str:
    """Return the path in the second row of a header; nothing for a file that is gone."""
    name = row.removeprefix("+++ ")
    return name.removeprefix("b/") if name.startswith("b/") else ""
