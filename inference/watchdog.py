"""When an engine counts as hung, and when as out of memory.

A step is one chunk of a prompt or one token. How long one takes depends on the machine, so what
the engine has shown so far is the measure; before it has shown anything, there is much patience.
No torch: a front end reads this too.
"""

import errno
import time

FIRST_FACTOR = 8.0
"""The first step may take so many times `stall_s`: pages are loaded, kernels are built."""
SLOWEST_FACTOR = 10.0
"""A later one so many times the slowest so far; a chunk grows dearer as the context grows."""


class Watchdog:
    """Told by one thread when steps begin and end, asked by another."""

    def __init__(self, stall_s: float) -> None:
        self._stall_s = stall_s
        self._begun_s: float | None = None
        self._slowest_s = 0.0

    def begin(self) -> None:
        """A step begins."""
        self._begun_s = time.monotonic()

    def end(self, is_progress: bool) -> None:
        """The step has ended; only what made progress is a measure for others."""
        assert self._begun_s is not None, "a step ends that has begun"
        if is_progress:
            self._slowest_s = max(self._slowest_s, time.monotonic() - self._begun_s)
        self._begun_s = None

    @property
    def limit_s(self) -> float:
        """How long the next step may take."""
        if not self._slowest_s:
            return FIRST_FACTOR * self._stall_s
        return max(self._stall_s, SLOWEST_FACTOR * self._slowest_s)

    @property
    def is_stalled(self) -> bool:
        """Whether the step under way takes too long."""
        begun_s = self._begun_s
        return begun_s is not None and time.monotonic() - begun_s > self.limit_s


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is a lack of memory, of the machine or of the GPU."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return True
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return True  # a file that cannot be mapped
    return isinstance(error, RuntimeError) and "allocate memory" in str(error)
