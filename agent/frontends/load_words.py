"""How far a model is that loads, in words: how much is there, how fast it comes, how long it takes.

`downloading 1.2 of 8.7 GB, 31.0 MB/s, 4 min left`
"""

import time
from collections.abc import Mapping

from agent.events import Event, ModelProgress
from inference.door import LoadStage

GB, MB = 1e9, 1e6
TELL_S = 10.0
"""Between two lines about it, where lines stay."""
STAGES: Mapping[LoadStage, str] = {
    "download": "downloading",
    "read": "reading weights",
    "quantize": "quantizing",
}


def sizes_words(event: ModelProgress) -> str:
    """Say how many bytes are there, at which speed, and how long the rest takes."""
    words = f"{event.num_bytes / GB:.1f} of {event.num_total_bytes / GB:.1f} GB"
    if event.num_total_bytes < GB:
        words = f"{event.num_bytes / MB:.0f} of {event.num_total_bytes / MB:.0f} MB"
    if event.bytes_per_s <= 0:
        return words
    left_s = (event.num_total_bytes - event.num_bytes) / event.bytes_per_s
    return f"{words}, {event.bytes_per_s / MB:,.1f} MB/s, {_time(left_s)} left"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


class NowAndThen:
    """Tells how far a model is, where a line every second would be too many."""

    def __init__(self) -> None:
        self._told_s = -TELL_S

    def line(self, event: Event) -> str:
        """Return a line to print for an event; empty if there is none now."""
        now_s = time.monotonic()
        if not isinstance(event, ModelProgress) or now_s - self._told_s < TELL_S:
            return ""
        self._told_s = now_s
        return f"{STAGES[event.stage].capitalize()}: {sizes_words(event)}"
