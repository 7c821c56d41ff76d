"""Whether lines that are read together are read sooner than one after the other, as seen so far.

It depends on the machine and on how the weights are kept: where products of one row wait for
memory, more rows cost little; where one row has a way of its own that is much faster, they may not
pay. Only the fastest of the last few times counts: whatever else runs makes a step slower, never
faster. It runs nothing.
"""

from collections import defaultdict, deque

NUM_KEPT = 8
NUM_TRIALS = 3
"""Times that both ways are seen before one of them is given up ..."""
NUM_REFUSED = 256
"""... and so often it is, before it is tried again: contexts grow, other work comes and goes."""


class Gain:
    """Learns what reading a token costs, by how many lines do so at once."""

    def __init__(self, is_wanted: bool = True) -> None:
        """Begin knowing nothing; where it is not wanted, nothing pays."""
        self._is_wanted = is_wanted
        self._seconds: dict[int, deque[float]] = defaultdict(lambda: deque(maxlen=NUM_KEPT))
        self._num_refused = 0

    def learn(self, num_lines: int, seconds: float) -> None:
        """Take note of one forward."""
        self._seconds[num_lines].append(seconds)

    def pays(self, num_lines: int) -> bool:
        """Say whether so many lines are to be read together now."""
        if not self._is_wanted:
            return False
        alone, joined = self._seconds[1], self._seconds[num_lines]
        if min(len(alone), len(joined)) < NUM_TRIALS or min(joined) < num_lines * min(alone):
            return True
        self._num_refused += 1
        if self._num_refused % NUM_REFUSED == 0:
            joined.clear()
        return False
