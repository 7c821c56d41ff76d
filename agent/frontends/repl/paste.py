"""Long pasted texts, folded: one character of the input stands for each until it is sent.

It is drawn as a few words, `[paste 1: 20 lines]`. Being one, it is passed and deleted as one; and
being none that can be typed, such words mean themselves.
"""

import re
from bisect import bisect_right
from itertools import accumulate

from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.layout.processors import Processor, Transformation, TransformationInput
from prompt_toolkit.layout.utils import explode_text_fragments

MAX_LINES = 8
MAX_CHARACTERS = 1_000
FIRST = 0xF0000
MARK = re.compile("[\U000f0000-\U000ffffd]")
"""A plane of characters that have no meaning of their own."""


class Pastes:
    """The texts behind the marks of one session."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._words: dict[str, str] = {}

    def fold(self, text: str) -> str:
        """Return what to insert for a pasted text: itself if it is short, else a mark."""
        text = MARK.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
        num_lines = text.strip("\n").count("\n") + 1
        if num_lines <= MAX_LINES and len(text) <= MAX_CHARACTERS:
            return text
        number = len(self._texts) + 1
        mark = chr(FIRST + number)
        size = f"{num_lines:,} lines" if num_lines > 1 else f"{len(text):,} characters"
        self._texts[mark], self._words[mark] = text, f"[paste {number}: {size}]"
        return mark

    def unfold(self, text: str) -> str:
        """Return a text with the pasted ones in the place of their marks."""
        return MARK.sub(lambda mark: self._texts.get(mark[0], mark[0]), text)

    def words(self, letter: str) -> str:
        """Return what a character is drawn as."""
        return self._words.get(letter, letter)


class DrawnPastes(Processor):
    """Draws the marks of a line as words, and tells where the cursor then is."""

    def __init__(self, pastes: Pastes) -> None:
        self._pastes = pastes

    def apply_transformation(self, transformation_input: TransformationInput) -> Transformation:
        """Draw a line."""
        fragments = transformation_input.fragments
        if not MARK.search(fragment_list_to_text(fragments)):
            return Transformation(fragments)
        letters = explode_text_fragments(fragments)
        drawn = [(one[0], self._pastes.words(one[1])) for one in letters]
        starts = [*accumulate((len(words) for _, words in drawn), initial=0)]
        last = len(letters)

        def to_display(at: int) -> int:
            return starts[min(at, last)] + max(0, at - last)

        def to_source(at: int) -> int:
            return bisect_right(starts, at) - 1 + max(0, at - starts[-1])

        return Transformation([*drawn], to_display, to_source)
