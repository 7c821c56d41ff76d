"""A text file as the editor works on it: text with \\n alone, and the way back to its own bytes.

A byte-order mark, CRLF or mixed line endings and a missing final newline all survive an edit; lines
that were not touched keep their bytes. No file is opened here.
"""

import difflib
from dataclasses import dataclass
from typing import Self

_BOM = "\ufeff"


class NotText(ValueError):
    """Bytes that are no UTF-8 text."""


@dataclass(frozen=True)
class TextFile:
    """The content of one file."""

    raw: str
    """As decoded, endings and byte-order mark included."""

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the bytes of a file.

        Raises:
            NotText: they are not UTF-8, or hold a NUL.
        """
        if b"\0" in data:
            raise NotText
        try:
            return cls(data.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise NotText from error

    def encode(self) -> bytes:
        """Return the bytes to write."""
        return self.raw.encode("utf-8")

    @property
    def text(self) -> str:
        """The content with \\n alone and without byte-order mark."""
        return self.raw.removeprefix(_BOM).replace("\r\n", "\n")

    @property
    def lines(self) -> list[str]:
        """The lines, without their endings."""
        return split_lines(self.text)

    def replace(self, start: int, end: int, new: str) -> Self:
        """Return the file with `text[start:end]` replaced, in the endings of that place."""
        raw_start, raw_end = self._raw_offset(start), self._raw_offset(end)
        ending = self._ending_at(raw_start)
        middle = new.replace("\r\n", "\n").replace("\n", ending)
        return type(self)(self.raw[:raw_start] + middle + self.raw[raw_end:])

    def _raw_offset(self, offset: int) -> int:
        num_lines = self.text.count("\n", 0, offset)
        before = self.raw.split("\n")[:num_lines]
        num_returns = sum(line.endswith("\r") for line in before)
        return offset + num_returns + self.raw.startswith(_BOM)

    def _ending_at(self, raw_offset: int) -> str:
        newline = self.raw.find("\n", raw_offset)
        if newline < 0:
            newline = self.raw.rfind("\n")
        return "\r\n" if newline > 0 and self.raw[newline - 1] == "\r" else "\n"


def split_lines(text: str) -> list[str]:
    """Split at \\n only; a final newline ends the last line and begins none."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def unified_diff(path: str, before: str | None, after: str) -> str:
    """Return the unified diff of an edit; `before` is None for a file that was not there."""
    rows = difflib.unified_diff(
        _diff_lines(before or ""),
        _diff_lines(after),
        "/dev/null" if before is None else f"a/{path}",
        f"b/{path}",
        lineterm="",
    )
    return "".join(f"{row}\n" for row in rows)


def _diff_lines(text: str) -> list[str]:
    lines = split_lines(text)
    if text and not text.endswith("\n"):
        lines[-1] += "\n\\ No newline at end of file"
    return lines
