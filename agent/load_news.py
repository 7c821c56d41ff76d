"""What is told of a model while it loads: how far it is, and how it is run in the end."""

import time
from collections import deque
from collections.abc import Callable

from agent.events import ModelProgress
from inference.door import LoadProgress

RATE_S = 20.0
"""The speed is that of so many seconds: it changes."""
SAMPLE_S = 0.5


class LoadNews:
    """Written by the thread that loads, read by any."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.plan = ""
        """How the model is run, in a few words, as `bf16, 8K`; empty until that is known."""
        self.progress: ModelProgress | None = None
        """How far it is; None while nothing is known, and when all bytes are there."""
        self._clock = clock
        self._samples: deque[tuple[float, int]] = deque()
        """When how many bytes were there, the oldest first."""

    def note(self, seen: LoadProgress) -> None:
        """Take note of how far it is."""
        now_s, samples = self._clock(), self._samples
        if samples and seen.num_bytes < samples[-1][1]:
            samples.clear()  # something else is counted now
        if not samples or now_s - samples[-1][0] >= SAMPLE_S:
            samples.append((now_s, seen.num_bytes))
        while now_s - samples[0][0] > RATE_S and len(samples) > 2:
            samples.popleft()
        (first_s, first), (last_s, last) = samples[0], samples[-1]
        speed = (last - first) / (last_s - first_s) if last_s > first_s else 0.0
        progress = ModelProgress(seen.stage, seen.num_bytes, seen.num_total_bytes, speed)
        self.progress = progress if seen.num_bytes < seen.num_total_bytes else None


def window_words(num_tokens: int) -> str:
    """Write a window as people call it: `8K`, `256K`."""
    return f"{num_tokens / 1024:.0f}K" if num_tokens >= 1024 else str(num_tokens)
