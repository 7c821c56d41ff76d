"""What came next the last time: guesses from the line itself, which copies itself when it edits.

Prompt lookup (Saxena 2023, github.com/apoorvumang/prompt-lookup-decoding): the place before which
the line reads as it does at its end, as far back as can be, tells how it may go on. Places are
found as LZ77 finds them: by their last tokens, the latest first, each with a link to the one
before; a token more costs one step, and so does a look, however long the line is. What is copied
with changes goes on, after a change, a little behind where it stopped: such a place comes first,
and is more often right than another that reads as much alike. No model.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from inference.odds import MAX_GUESSES, Hopes, Record
from inference.prefix import num_common

NUM_KEY = 3
"""Tokens by which a place is found; fewer are often a chance meeting."""
MAX_MATCH = 32
"""No difference is made between longer matches."""
MAX_PLACES = 32
"""So many places are compared, the latest."""
NUM_AHEAD = 128
"""Tokens that a change may leave out of what is being copied."""
NUM_COPIED = 4
"""Tokens that must come true in a row before a line is believed to copy from there."""


class Match(NamedTuple):
    """Where a line reads as it does at its end."""

    start: int
    """How many tokens lie before it, of which `num_match` are the same; 0 where there is none."""
    num_match: int
    is_ahead: bool = False
    """Whether it lies where what was copied last would go on."""


NO_MATCH = Match(0, 0)
Records = tuple[tuple[Record, ...], tuple[Record, ...]]
"""How often places were right: any, and those where copying would go on."""


class Ngrams:
    """Where every run of `NUM_KEY` tokens of a line ends, by what they are."""

    def __init__(self) -> None:
        self._latest: dict[int, int] = {}
        self._before = array("i")
        """For the place after each token, the place before it with the same tokens; 0 is none."""
        self.copied = 0
        """Where what was copied last has ended; 0 where nothing was."""

    def __len__(self) -> int:
        return len(self._before)

    def follow(self, line: Sequence[int]) -> None:
        """Take in what is new of a line, of which all that was taken in before is the beginning."""
        for place in range(len(self) + 1, len(line) + 1):
            key = _key(line[max(0, place - NUM_KEY) : place])
            self._before.append(self._latest.get(key, 0) if place >= NUM_KEY else 0)
            if place >= NUM_KEY:
                self._latest[key] = place

    def find(self, line: Sequence[int], unread: Sequence[int]) -> Match:
        """Return the place that reads most like the end of `line` and then `unread`."""
        end = [*line[max(0, len(line) - MAX_MATCH) :], *unread][-MAX_MATCH:]
        ahead = range(self.copied, min(self.copied + NUM_AHEAD, len(line))) if self.copied else ()
        best = _best(line, ahead, end)
        if best.num_match >= NUM_KEY:
            return best._replace(is_ahead=True)
        return _best(line, self._links(end), end)

    def _links(self, end: Sequence[int]) -> Iterator[int]:
        """Yield the latest places before which the last tokens are the same."""
        place = self._latest.get(_key(end[-NUM_KEY:]), 0)
        for _ in range(MAX_PLACES):
            if not place:
                return
            yield place
            place = self._before[place - 1]


def _best(line: Sequence[int], starts: Iterable[int], end: Sequence[int]) -> Match:
    """Return the first of the places before which most is the same."""
    best = NO_MATCH
    for start in starts:
        if line[start - 1] == end[-1]:
            num_match = _num_match(line[max(0, start - MAX_MATCH) : start], end)
            if num_match > best.num_match:
                best = Match(start, num_match)
    return best


def _key(tokens: Sequence[int]) -> int:
    key = 0
    for token in tokens:
        key = key << 20 | token
    return key


def _num_match(before: Sequence[int], end: Sequence[int]) -> int:
    """How many tokens are the same, from the last one backwards."""
    num = 0
    for one, other in zip(reversed(before), reversed(end), strict=False):
        if one != other:
            break
        num += 1
    return num


def new_records() -> Records:
    """Return how often a place was right, by the bits of how many tokens matched before it.

    Before anything is known, the rule of succession: what went well n times goes well again with
    a chance of (n + 1) / (n + 2).
    """
    every, ahead = (
        tuple(Record(1 - 1 / (2**bits + 2)) for bits in range(MAX_MATCH.bit_length()))
        for _ in range(2)
    )
    return every, ahead


@dataclass
class NgramSource:
    """The guesses of one reply: a `Source` (speculate.py)."""

    line: list[int]
    """What the branch has read; it grows."""
    ngrams: Ngrams
    """Of the branch; they outlive the reply."""
    records: Records
    kept: Hopes
    guess_s: float = 0.0
    """A look is nothing beside a forward."""
    _next: list[int] = field(default_factory=list)
    _match: Match = NO_MATCH
    _num_asked: int = 0

    def hopes(self, unread: Sequence[int]) -> Sequence[float]:
        """Look for a place; a longer match is better, and each guess that comes true makes one."""
        self.ngrams.follow(self.line)
        self._match = self.ngrams.find(self.line, unread)
        start = self._match.start
        self._next = _going_on(self.line, unread, start) if start else []
        self._num_asked = 0
        return self.kept.of(self._chances(len(self._next)))

    def guess(self, num_guesses: int) -> list[int]:
        """Return what came next there."""
        self._num_asked = num_guesses
        return self._next[:num_guesses]

    def learn(self, came: Sequence[int]) -> None:
        """Compare, even where it was not asked: to be wrong in silence costs nothing."""
        if not self._next:
            return
        num_judged = max(1, self._num_asked)
        num_right = num_common(self._next[:num_judged], came)
        self.kept.note(self._chances(num_judged), num_right)
        for number in range(min(num_right + 1, num_judged, len(came))):
            self._record(number).note(number < num_right)
        if num_right >= (1 if self._match.is_ahead else NUM_COPIED):
            self.ngrams.copied = self._match.start + num_right

    def _chances(self, num_guesses: int) -> list[float]:
        return [self._record(number).chance for number in range(num_guesses)]

    def _record(self, number: int) -> Record:
        """Return the record of guess `number`, whose match is so much longer."""
        num_match = min(MAX_MATCH, self._match.num_match + number)
        return self.records[self._match.is_ahead][num_match.bit_length() - 1]


def _going_on(line: Sequence[int], unread: Sequence[int], place: int) -> list[int]:
    """Return what follows a place; at the end of the line, which repeats itself, from there on."""
    seen = [*line[place : place + MAX_GUESSES], *unread]
    return [seen[number % len(seen)] for number in range(MAX_GUESSES)]
