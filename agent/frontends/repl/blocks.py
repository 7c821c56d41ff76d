"""Markdown as it streams in, cut where a block is finished; pure text, nothing is drawn here.

A finished block never changes again, whatever follows, so it can be printed once. What is not
finished yet is the tail. Each item of a list is a block, and a long listing comes in several.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

FENCE = re.compile(r"^\s*(?:[-*+]\s+|\d+[.)]\s+)?(`{3,}|~{3,})\s*([\w+#.-]*)")
ITEM = re.compile(r"^ {0,1}(?:[-*+]|\d{1,9}[.)])\s")
HEADING = re.compile(r"^ {0,3}#{1,6}\s")
MAX_OPEN_LINES = 24
"""A listing that is longer is handed out in parts, cut where a line begins at the margin."""


@dataclass(frozen=True)
class Block:
    """A piece of Markdown that stands for itself, or a part of a listing."""

    text: str
    has_gap: bool = False
    """Whether an empty line stood before it."""
    language: str | None = None
    """Of a listing, whose text then is the code alone; None for Markdown."""


class Blocks:
    """Takes text as it comes; gives blocks as they are finished."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._rest = ""
        self._gap = False
        self._is_loose = False
        """Whether an empty line stands after an item of a list, which may still go on."""
        self._fence = ""
        self._language: str | None = None
        self._has_part = False

    def feed(self, text: str) -> Iterator[Block]:
        """Yield what is finished with this text."""
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            yield from self._line(line)

    def close(self) -> Iterator[Block]:
        """Yield what is left; nothing follows."""
        if self._rest:
            yield from self._line(self._rest)
            self._rest = ""
        yield from self._finish()
        self._fence, self._language, self._gap = "", None, False

    @property
    def tail(self) -> Block | None:
        """What has come of the block that is being written."""
        lines = [*self._lines, self._rest] if self._rest else self._lines
        if not lines:
            return None
        gap = self._gap or (self._is_loose and not self._lines)
        return Block("\n".join(lines), gap and not self._has_part, self._language)

    def _line(self, line: str) -> Iterator[Block]:
        if self._fence:
            yield from self._in_fence(line)
        elif fence := FENCE.match(line):
            yield from self._open(line, fence)
        elif not line.strip():
            yield from self._empty()
        else:
            yield from self._words(line)

    def _open(self, line: str, fence: re.Match[str]) -> Iterator[Block]:
        self._fence = fence[1]
        if line.startswith(fence[1][0]):  # at the margin: a listing, and no part of an item
            yield from self._finish()
            self._language = fence[2]
        else:
            self._lines.append(line)

    def _in_fence(self, line: str) -> Iterator[Block]:
        mark = line.strip()
        is_end = set(mark) == {self._fence[0]} and len(mark) >= len(self._fence)
        if self._language is None:
            self._lines.append(line)
        elif not is_end:
            self._lines.append(line)
            if len(self._lines) > MAX_OPEN_LINES:
                yield from self._part()
        if is_end:
            self._fence = ""
            if self._language is not None:
                yield from self._finish()
                self._language = None

    def _part(self) -> Iterator[Block]:
        starts = [n for n, line in enumerate(self._lines) if n and line[:1].strip()]
        cut = starts[-1] if starts else len(self._lines)
        rest = self._lines[cut:]
        self._lines = self._lines[:cut]
        yield from self._finish()
        self._lines, self._has_part = rest, True

    def _empty(self) -> Iterator[Block]:
        if self._lines and ITEM.match(self._lines[0]):
            self._is_loose = True
            return
        yield from self._finish()
        self._gap = True

    def _words(self, line: str) -> Iterator[Block]:
        if self._is_loose:
            self._is_loose = False
            if line.startswith("  "):
                self._lines.append("")
            else:
                yield from self._finish()
                self._gap = True
        elif ITEM.match(line) or HEADING.match(line):
            yield from self._finish()
        self._lines.append(line)
        if HEADING.match(line):
            yield from self._finish()

    def _finish(self) -> Iterator[Block]:
        if self._lines:
            gap = self._gap and not self._has_part
            yield Block("\n".join(self._lines), gap, self._language)
            self._gap = self._is_loose
        self._lines, self._has_part, self._is_loose = [], False, False
