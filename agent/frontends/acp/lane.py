"""Work that is done in order, in a thread of its own."""

import queue
import threading
from collections.abc import Callable

Work = Callable[[], None]


class Lane:
    """Does one thing after another; none of them may raise."""

    def __init__(self, name: str) -> None:
        self._waiting: queue.Queue[Work | None] = queue.Queue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def do(self, work: Work) -> None:
        """Have something done after what waits already."""
        self._waiting.put(work)

    def end(self, timeout_s: float | None = None) -> bool:
        """Take nothing more, and wait for what is there; return whether it was done in time."""
        self._waiting.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (work := self._waiting.get()) is not None:
            work()
