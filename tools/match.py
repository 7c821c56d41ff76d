"""Where a text occurs in a file, or nearly does; pure functions on text with \\n endings.

Exact occurrences, and the regions that look most alike, to be shown. Nothing here decides by
likeness what is edited; the same text in other white space is found in `respace.py`.
"""

import difflib
import heapq
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tools.textfile import split_lines

_MIN_BEST_RATIO = 0.4
_MIN_OTHER_RATIO = 0.6
"""Below it, any two lines of code are alike."""
_NUM_PEAKS = 8
_NUM_COMPARED_LINES = 800
"""Lines compared character by character in one search, so that a long text stays quick."""
_LINE_CHARACTERS = 200


@dataclass(frozen=True)
class Region:
    """Lines `first` to `last`, from 1, and how alike they are to what was looked for."""

    first: int
    last: int
    ratio: float

    @property
    def percent(self) -> int:
        """The ratio for people; what was not found is never the whole."""
        return min(99, int(100 * self.ratio))


def find_all(text: str, part: str) -> list[int]:
    """Return every offset of `part`, overlapping ones too."""
    offsets = []
    offset = text.find(part)
    while offset >= 0:
        offsets.append(offset)
        offset = text.find(part, offset + 1)
    return offsets


def line_at(text: str, offset: int) -> int:
    """Return the number, from 1, of the line that holds `offset`."""
    return text.count("\n", 0, offset) + 1


def find_words(text: str, part: str) -> int | None:
    """Return where `part` stands in `text` without cutting a word.

    A lone word or sign is not looked for: it stands in many places and proves nothing.
    """
    if not re.search(r"\w", part) or len(re.findall(r"\w+|[^\w\s]+", part)) < 2:
        return None
    for offset in find_all(text, part):
        before, after = text[offset - 1 : offset], text[offset + len(part) :][:1]
        cut_first = _in_word(part[0]) and before != "" and _in_word(before)
        cut_last = _in_word(part[-1]) and after != "" and _in_word(after)
        if not cut_first and not cut_last:
            return offset
    return None


def has_line_numbers(part: str) -> bool:
    """Tell whether every line begins like a line of `view`: a number and a tab."""
    rows = [line for line in part.split("\n") if line.strip()]
    return bool(rows) and all(re.match(r" *\d+\t", row) for row in rows)


def _in_word(character: str) -> bool:
    return character.isalnum() or character == "_"


# ---- what looks most alike


def closest(text: str, part: str, count: int = 3) -> list[Region]:
    """Return up to `count` regions of `text` most like `part`, best first, none overlapping.

    Shared character triples find the places, at a cost linear in the file; difflib's ratio, on
    those alone, ranks them. Indentation does not count: it is seen, where the words are found.
    """
    wanted = [line.strip() for line in part.strip().split("\n")]
    lines = [line.strip() for line in split_lines(text)]
    if not part.strip() or not lines:
        return []
    num_lines = min(len(wanted), len(lines))
    num_peaks = max(count, min(_NUM_PEAKS, _NUM_COMPARED_LINES // num_lines))
    regions = []
    for first in _peaks(_shared_triples(lines, wanted[:num_lines]), num_lines, num_peaks):
        ratio = _alike(wanted, lines[first : first + num_lines])
        regions.append(Region(first + 1, first + num_lines, ratio))
    regions.sort(key=lambda region: (-region.ratio, region.first))
    best, others = regions[:1], regions[1:count]
    return [
        *(region for region in best if region.ratio >= _MIN_BEST_RATIO),
        *(region for region in others if region.ratio >= _MIN_OTHER_RATIO),
    ]


def _shared_triples(lines: Sequence[str], wanted: Sequence[str]) -> list[float]:
    """Score every window of `len(wanted)` lines by the share of triples it has in common."""
    need = Counter(triple for line in wanted for triple in _triples(line))
    num_need = need.total()
    per_line = [_triples(line) for line in lines]
    needed = [[triple for triple in triples if triple in need] for triples in per_line]
    have: Counter[str] = Counter()
    num_have = num_shared = 0
    scores: list[float] = []
    for last in range(len(lines)):
        first = last - len(wanted) + 1
        num_have += len(per_line[last])
        for triple in needed[last]:
            have[triple] += 1
            num_shared += have[triple] <= need[triple]
        if first < 0:
            continue
        scores.append(2 * num_shared / (num_need + num_have))
        num_have -= len(per_line[first])
        for triple in needed[first]:
            num_shared -= have[triple] <= need[triple]
            have[triple] -= 1
    return scores


def _triples(line: str) -> list[str]:
    padded = f" {line} "[:_LINE_CHARACTERS]
    return [padded[i : i + 3] for i in range(len(padded) - 2)]


def _peaks(scores: Sequence[float], num_lines: int, count: int) -> list[int]:
    """Return the starts of the best windows, none overlapping a better one."""
    peaks: list[int] = []
    for score, negative in heapq.nlargest(
        count * 2 * num_lines, ((score, -first) for first, score in enumerate(scores))
    ):
        if score == 0 or len(peaks) == count:
            break
        if all(abs(-negative - peak) >= num_lines for peak in peaks):
            peaks.append(-negative)
    return peaks


def _alike(left: Sequence[str], right: Sequence[str]) -> float:
    """Return difflib's ratio, taken over equal lines first and inside the others after."""
    num_same = 0
    matcher = difflib.SequenceMatcher(None, left, right, autojunk=False)
    for kind, first, end, other, other_end in matcher.get_opcodes():
        if kind == "equal":
            num_same += sum(len(line) + 1 for line in left[first:end])
        elif kind == "replace":
            pairs = zip(left[first:end], right[other:other_end], strict=False)
            num_same += sum(1 + _num_same_characters(a, b) for a, b in pairs)
    return 2 * num_same / sum(len(line) + 1 for line in (*left, *right))


def _num_same_characters(left: str, right: str) -> int:
    matcher = difflib.SequenceMatcher(
        None, left[:_LINE_CHARACTERS], right[:_LINE_CHARACTERS], autojunk=False
    )
    return sum(block.size for block in matcher.get_matching_blocks())
