"""Writes nodes to the store in a thread of its own, so that no turn waits for a disk.

What waits is bounded; when more comes than the disk takes, the oldest is left out, since the
newest is what a restart would want. What a node holds is made in the thread too.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable
from contextlib import suppress

from inference.packed import Packed
from inference.store import Store

MAX_WAITING = 16
CLOSE_TIMEOUT_S = 30.0
NICENESS = 10
"""On Linux that of the thread alone: where every core is busy, the model goes first."""


class Writer:
    """Use it from any thread; `close` it, or what still waits may be lost."""

    def __init__(self, store: Store, max_waiting: int = MAX_WAITING) -> None:
        self._store = store
        self._waiting: dict[Hashable, Callable[[], Packed]] = {}
        self._max_waiting = max_waiting
        self._changed = threading.Condition()
        self._is_writing = False
        self._is_closed = False
        self.num_left_out = 0
        self._thread = threading.Thread(target=self._run, name="state-writer", daemon=True)
        self._thread.start()

    def write_later(self, what: Hashable, make: Callable[[], Packed]) -> None:
        """Have a node made and stored soon.

        Args:
            what: names it; while it waits it is not taken a second time.
            make: packs it.
        """
        with self._changed:
            assert not self._is_closed, "nothing is written after close"
            if what in self._waiting:
                return
            if len(self._waiting) == self._max_waiting:
                self.num_left_out += 1
                del self._waiting[next(iter(self._waiting))]
            self._waiting[what] = make
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all that was handed over is on disk; False if it took too long."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._waiting and not self._is_writing, deadline - time.monotonic()
            )

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> bool:
        """Write what waits, then stop; False if that took too long and something is lost."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            return True
        with self._changed:
            self._waiting.clear()
        self._store.on_notice("Not all states were stored before the end; they are read again.")
        return False

    def _run(self) -> None:
        with suppress(OSError):  # where that is not allowed, it is only less polite
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        while (make := self._next()) is not None:
            try:
                self._store.put(make())
            except Exception as error:  # whatever it is, the turn goes on without the disk
                self._store.on_notice(
                    f"A state was not stored: {type(error).__name__}: {str(error) or 'no reason'}."
                )
            finally:
                make = None  # what it holds is large
                with self._changed:
                    self._is_writing = False
                    self._changed.notify_all()

    def _next(self) -> Callable[[], Packed] | None:
        """Wait for something to write; None after `close`."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting) or self._is_closed)
            if not self._waiting:
                return None
            self._is_writing = True
            return self._waiting.pop(next(iter(self._waiting)))
