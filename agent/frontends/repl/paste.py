"""Long pasted texts, folded: a few words stand for them in the input until it is sent."""

import re

MAX_LINES = 8
MAX_CHARACTERS = 1_000
MARK = re.compile(r"\[paste (\d+): [\d,]+ (?:lines|characters)\]")


class Pastes:
    """The texts behind the marks of one session."""

    def __init__(self) -> None:
        self._texts: dict[int, str] = {}

    def fold(self, text: str) -> str:
        """Return what to insert for a pasted text: itself if it is short, else a mark."""
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        num_lines = text.strip("\n").count("\n") + 1
        if num_lines <= MAX_LINES and len(text) <= MAX_CHARACTERS:
            return text
        number = len(self._texts) + 1
        self._texts[number] = text
        size = f"{num_lines:,} lines" if num_lines > 1 else f"{len(text):,} characters"
        return f"[paste {number}: {size}]"

    def unfold(self, text: str) -> str:
        """Return a text with the pasted ones in the place of their marks."""
        return MARK.sub(lambda mark: self._texts.get(int(mark[1]), mark[0]), text)

    def mark_before(self, text: str) -> str:
        """Return the mark that a text ends in, so that it goes as one; empty if there is none."""
        for mark in MARK.finditer(text):
            if mark.end() == len(text) and int(mark[1]) in self._texts:
                return mark[0]
        return ""
