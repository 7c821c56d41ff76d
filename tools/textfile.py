"""A text file as the editor works on it: text with \\n alone, and the way back to its own bytes.

A byte-order mark, CRLF or mixed line endings, a missing final newline, UTF-16 and single bytes of
an encoding that nobody named all survive an edit; lines that were not touched keep their bytes.
No file is opened here.
"""

import bisect
import codecs
import difflib
import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Self

OTHER_BYTE = "\N{REPLACEMENT CHARACTER}"
"""How a byte that is not UTF-8 is shown."""
_BOM = "\ufeff"
_UTF16 = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_ESCAPED = re.compile("[\udc80-\udcff]")
_CONTROL = re.compile(r"[\x00-\x07\x0e-\x1a\x1c-\x1f]")
"""What no text holds, in any encoding that has ASCII in it."""


class NotText(ValueError):
    """Bytes that are no text, as far as anybody can tell."""


class NotWritable(ValueError):
    """An edit that could not be written exactly; the text goes on after the file's name."""


@dataclass(frozen=True)
class TextFile:
    """The content of one file."""

    raw: str
    """As decoded, endings and byte-order mark included; a byte that is not UTF-8 is a lone
    surrogate."""
    encoding: str = "utf-8"

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Read the bytes of a file: UTF-16 with its mark, else UTF-8 with other bytes among it.

        Raises:
            NotText: they hold a NUL, or control characters and no UTF-8.
        """
        encoding = next((name for mark, name in _UTF16 if data.startswith(mark)), "utf-8")
        try:
            raw = data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
        except UnicodeDecodeError as error:
            raise NotText from error
        if "\0" in raw or (_ESCAPED.search(raw) and _CONTROL.search(raw)):
            raise NotText
        return cls(raw, encoding)

    def encode(self) -> bytes:
        """Return the bytes to write."""
        errors = "surrogateescape" if self.encoding == "utf-8" else "strict"
        return self.raw.encode(self.encoding, errors)

    @cached_property
    def text(self) -> str:
        """The content with \\n alone and without byte-order mark, as it is shown."""
        return _ESCAPED.sub(OTHER_BYTE, self.raw.removeprefix(_BOM).replace("\r\n", "\n"))

    @property
    def lines(self) -> list[str]:
        """The lines, without their endings."""
        return split_lines(self.text)

    @property
    def is_known(self) -> bool:
        """Whether every byte is understood, and not only kept."""
        return _ESCAPED.search(self.raw) is None

    def replace(self, start: int, end: int, new: str) -> Self:
        """Return the file with `text[start:end]` replaced, in the endings of that place.

        Lines that are the same before and after keep their bytes.

        Raises:
            NotWritable: it would touch bytes in an encoding that is not known, or lose a return.
        """
        text, new = self.text, new.replace("\r\n", "\n")
        begin, stop = text.rfind("\n", 0, start) + 1, text.find("\n", end) + 1 or len(text)
        lines = text[begin:start] + new + text[end:stop]
        raw, done = "", 0
        for first, last, part in _changes(text[begin:stop], lines):
            raw_first, raw_last = self._raw_offset(begin + first), self._raw_offset(begin + last)
            raw += self.raw[done:raw_first] + self._written(raw_first, raw_last, part)
            done = raw_last
        edited = type(self)(raw + self.raw[done:], self.encoding)
        if edited.text != text[:start] + new + text[end:]:
            raise NotWritable("has a lone carriage return there that would become a line's end.")
        return edited

    def _written(self, raw_start: int, raw_end: int, new: str) -> str:
        """Return `new` as it is to stand in that place, with the endings of what it replaces."""
        if not self.is_known:
            self._check_known(raw_start, raw_end, new)
        *lines, last = new.split("\n")
        if not lines:
            return last
        endings = self._endings(raw_start, raw_end)
        more = itertools.repeat(endings[-1])
        ended = zip(lines, itertools.chain(endings, more), strict=False)
        return "".join(line + ending for line, ending in ended) + last

    def _check_known(self, raw_start: int, raw_end: int, new: str) -> None:
        """Keep away from bytes that are not understood.

        The one after such a byte may be the second half of the same character.
        """
        if not new.isascii():
            raise NotWritable("is not UTF-8, so only ASCII text can be put into it.")
        if not self.raw[max(0, raw_start - 1) : raw_end].isascii():
            line = self.raw.count("\n", 0, raw_start) + 1
            raise NotWritable(
                f"is not UTF-8: this edit would change what is not ASCII near line {line}, or the "
                "character after it; leave both as they are."
            )

    @cached_property
    def _starts(self) -> tuple[list[int], list[int]]:
        """Where every line begins, in the text and in what is raw of it."""
        raw_lines = self.raw.removeprefix(_BOM).split("\n")
        lengths = [len(line) + 1 for line in raw_lines]
        shown = [
            length - line.endswith("\r") for line, length in zip(raw_lines, lengths, strict=True)
        ]
        accumulate = itertools.accumulate
        return list(accumulate(shown, initial=0)), list(accumulate(lengths, initial=0))

    def _raw_offset(self, offset: int) -> int:
        starts, raw_starts = self._starts
        line = bisect.bisect_right(starts, offset, hi=len(starts) - 1) - 1
        return raw_starts[line] + offset - starts[line] + self.raw.startswith(_BOM)

    def _endings(self, raw_start: int, raw_end: int) -> list[str]:
        """Return the line endings of a region, or the one that is nearest to it."""
        inside = re.findall("\r?\n", self.raw[raw_start:raw_end])
        return inside or [self._ending_at(raw_start)]

    def _ending_at(self, raw_offset: int) -> str:
        newline = self.raw.find("\n", raw_offset)
        if newline < 0:
            newline = self.raw.rfind("\n")
        return "\r\n" if newline > 0 and self.raw[newline - 1] == "\r" else "\n"


def split_lines(text: str) -> list[str]:
    """Split at \\n only; a final newline ends the last line and begins none."""
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def difference(old: str, new: str, offset: int = 0) -> tuple[int, int, str]:
    """Return what of `old`, which is at `offset`, becomes what: the shortest middle."""
    num_first = _num_same(old, new)
    old, new = old[num_first:], new[num_first:]
    num_last = _num_same(old[::-1], new[::-1])
    offset += num_first
    return offset, offset + len(old) - num_last, new[: len(new) - num_last]


def _num_same(left: str, right: str) -> int:
    pairs = enumerate(zip(left, right, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(left), len(right)))


def unified_diff(path: str, before: str | None, after: str | None) -> str:
    """Return the unified diff of an edit; None is for a file that is not there."""
    rows = difflib.unified_diff(
        _diff_lines(before or ""),
        _diff_lines(after or ""),
        "/dev/null" if before is None else f"a/{path}",
        "/dev/null" if after is None else f"b/{path}",
        lineterm="",
    )
    return "".join(f"{row}\n" for row in rows)


def count_changes(diff: str) -> str:
    """Say how many lines a unified diff adds and removes."""
    rows = split_lines(diff)[2:]
    num_added = sum(row.startswith("+") for row in rows)
    num_removed = sum(row.startswith("-") for row in rows)
    return f"+{num_added} -{num_removed}"


def _diff_lines(text: str) -> list[str]:
    lines = split_lines(text)
    if text and not text.endswith("\n"):
        lines[-1] += "\n\\ No newline at end of file"
    return lines


def _changes(old: str, new: str) -> list[tuple[int, int, str]]:
    """Return what differs, as offsets in `old` and the text to put there, in order."""
    old_lines, new_lines = _with_endings(old), _with_endings(new)
    offsets = list(itertools.accumulate(map(len, old_lines), initial=0))
    matcher = difflib.SequenceMatcher(None, old_lines, new_lines)
    return [
        difference("".join(old_lines[first:last]), "".join(new_lines[begin:end]), offsets[first])
        for kind, first, last, begin, end in matcher.get_opcodes()
        if kind != "equal"
    ]


def _with_endings(text: str) -> list[str]:
    return re.findall("[^\n]*\n|[^\n]+", text)
