"""A unified diff read backwards: which files an edit touched, and what they were before it.

It reads what `textfile.unified_diff` writes, and trusts no other. No file is opened here.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tools.textfile import split_lines

_HUNK = re.compile(r"@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_NO_NEWLINE = "\\ No newline at end of file"


@dataclass(frozen=True)
class FileDiff:
    """What an edit did to one file."""

    path: str
    rows: tuple[str, ...]
    """The rows after the two that name the file."""

    def before(self, after: str) -> str:
        """Return the text that the edit was made on, from the text that it left."""
        lines = split_lines(after)
        old: list[str] = []
        at = 0
        for row in self.rows:
            if hunk := _HUNK.match(row):
                first, num_lines = int(hunk[3]), int(hunk[4] or 1)
                start = first - 1 if num_lines else first  # an empty range names the line before
                old += lines[at:start]
                at = start
            elif row.startswith(" "):
                old.append(row[1:])
                at += 1
            elif row.startswith("-"):
                old.append(row[1:])
            elif row.startswith("+"):
                at += 1
        old += lines[at:]
        return "".join(f"{line}\n" for line in old)


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
        kept = (row for row in rows[start:at] if row != _NO_NEWLINE)
        yield FileDiff(path, tuple(kept))


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
