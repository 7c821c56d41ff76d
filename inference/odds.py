"""What guessing is worth on this machine: how often guesses come true, and what forwards cost.

Both are learnt while replies are written and never asked for beforehand. Who decides by them is
`speculate.py`.
"""

import operator
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import accumulate
from statistics import median

from inference.linear_state import MAX_ROLLBACK

MAX_GUESSES = MAX_ROLLBACK - 1
"""At a time: all that is read with them can be taken back."""
LONG_MEMORY = 128
"""Guesses that a record remembers, about."""
SHORT_MEMORY = 16
"""Looks after which hopes and what came of them are forgotten, about."""
NUM_TIMES = 9
"""Of the last times the middle one counts; a busy machine makes single ones long."""
OPTIMISM = 1.3
"""What twice as many tokens are believed to cost before that was measured."""
FORGET_AFTER = 512
"""Forwards after which a width that was not used since is tried again, if guesses are good."""


class Record:
    """How often guesses of one kind came true, the later ones counting more."""

    def __init__(self, chance: float, weight: float = 8.0) -> None:
        """Begin with a belief, worth `weight` guesses."""
        self._num_right, self._num = chance * weight, weight

    @property
    def chance(self) -> float:
        """That the next one is right."""
        return self._num_right / self._num

    def note(self, is_right: bool) -> None:
        """See one more."""
        self._num_right, self._num = self._num_right + is_right, self._num + 1
        if self._num > LONG_MEMORY:
            self._num_right, self._num = self._num_right / 2, self._num / 2


class Hopes:
    """How many guesses in a row are likely to come true, and whether such hopes were kept of late.

    Chances that are right on the average hope for too much together: where the text is of a kind
    that guesses are bad at, all of them are worse than their records.
    """

    def __init__(self) -> None:
        self._num_kept = self._num_hoped = 4.0

    def of(self, chances: Sequence[float]) -> list[float]:
        """Return for each number of guesses how many of them to hope for.

        Args:
            chances: of each guess, if those before it are right.
        """
        share = min(1.0, self._num_kept / self._num_hoped)
        return [share * num for num in _expected(chances)]

    def note(self, chances: Sequence[float], num_right: int) -> None:
        """See how many of some guesses came true."""
        fade = 1 - 1 / SHORT_MEMORY
        self._num_kept = fade * self._num_kept + num_right
        self._num_hoped = fade * self._num_hoped + [*_expected(chances)][-1]


def _expected(chances: Sequence[float]) -> Iterator[float]:
    return accumulate(accumulate(chances, operator.mul))


class Costs:
    """Seconds of a forward by how many tokens it reads, in widths of 1, 2, 4 and so on."""

    def __init__(self) -> None:
        self._times: dict[int, deque[float]] = {}
        self._last_used: dict[int, int] = {}
        self._num_noted = 0

    def note(self, num_tokens: int, seconds: float) -> None:
        """Remember a time; the first of a width is not one to go by: memory and kernels are new."""
        width = _width(num_tokens)
        self._num_noted += 1
        if self._is_fresh(width):
            self._times[width].append(seconds)
        else:
            self._times[width] = deque(maxlen=NUM_TIMES)
        self._last_used[width] = self._num_noted

    def of(self, num_tokens: int) -> float | None:
        """Return what to expect; None while nothing is known."""
        width = exact = _width(num_tokens)
        while width and not (self._is_fresh(width) and self._times[width]):
            width //= 2
        if not width:
            return None
        factor = OPTIMISM ** (exact.bit_length() - width.bit_length())
        return factor * float(median(self._times[width]))

    def _is_fresh(self, width: int) -> bool:
        """Whether a width was used lately; one token is what all else is measured against."""
        num_since = self._num_noted - self._last_used.get(width, 0)
        return width in self._times and (width == 1 or num_since < FORGET_AFTER)


def _width(num_tokens: int) -> int:
    return 1 << (num_tokens - 1).bit_length()
