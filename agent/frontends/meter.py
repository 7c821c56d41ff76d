"""A line on a terminal that says how far something long is, and when it will be done."""

import sys
import time
from types import TracebackType
from typing import TextIO

from inference.door import LoadProgress

GB = 1e9
PAUSE_S = 0.2
"""Between two drawings."""
WARM_UP_S = 2.0
"""Before that a speed means nothing."""
WIDTH = 24
CLEAR = "\r\x1b[K"


class Meter:
    """Drawn on standard error where that is a terminal; elsewhere it is silent."""

    def __init__(self, label: str, total: int = 0, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = total
        stream = stream or sys.stderr
        self._stream = stream if stream is not None and stream.isatty() else None
        self._done = 0
        self._first: int | None = None
        self._begun_s = time.monotonic()
        self._drawn_s = 0.0

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None and self._drawn_s:
            self._stream.write(CLEAR)
            self._stream.flush()

    def add(self, num_bytes: int) -> None:
        """Count so many bytes more."""
        self._move(self._done + num_bytes, self._total)

    def to(self, progress: LoadProgress) -> None:
        """Count as a download says."""
        self._move(progress.num_bytes, progress.num_total_bytes)

    def line(self, now_s: float) -> str:
        """Write how far it is."""
        share = min(1.0, self._done / self._total) if self._total else 0.0
        bar = "#" * round(WIDTH * share)
        words = f"{self._label} [{bar:<{WIDTH}}] {self._done / GB:.1f} of {self._total / GB:.1f} GB"
        elapsed_s = now_s - self._begun_s
        moved = self._done - (self._first or 0)
        if elapsed_s < WARM_UP_S or moved <= 0:
            return words
        speed = moved / elapsed_s
        left_s = max(0, self._total - self._done) / speed
        return f"{words}, {speed / 1e6:,.0f} MB/s, {_duration(left_s)} left"

    def _move(self, done: int, total: int) -> None:
        self._done, self._total = done, total
        if self._first is None:
            self._first = done  # what was there before was not done at any speed
        now_s = time.monotonic()
        if self._stream is None or now_s - self._drawn_s < PAUSE_S:
            return
        self._drawn_s = now_s
        self._stream.write(CLEAR + self.line(now_s))
        self._stream.flush()


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02} min"
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
