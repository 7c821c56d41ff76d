"""The call that runs, which a person can stop without ending the turn; from any thread."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.base import Cancel


class InHand:
    """Holds at most one call."""

    def __init__(self) -> None:
        self._stop: threading.Event | None = None

    @contextmanager
    def hold(self, stops: Cancel) -> Iterator[Cancel]:
        """Hold a call, and give what it is to look at: `stops`, or that it alone is stopped."""
        self._stop = stop = threading.Event()
        try:
            yield lambda: stop.is_set() or stops()
        finally:
            self._stop = None

    def stop(self) -> bool:
        """Stop the call; say whether there is one, and nobody had stopped it before."""
        stop = self._stop
        if stop is None or stop.is_set():
            return False
        stop.set()
        return True
