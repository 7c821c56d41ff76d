"""Seats for conversations: each has a live branch of the engine, and one client at a time.

Snapshots are shared by all seats, so a conversation that loses its seat loses no more than the way
from its last snapshot. Who of those that have a seat is served next is the engine host's business.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from agent.frontends.serve.line import Line
from inference.chat import Cancel
from inference.errors import Cancelled
from inference.local import LocalChat

POLL_S = 0.1


@dataclass
class Seat:
    """One of them."""

    chat: LocalChat
    line: Line = ()
    """The conversation that its live branch has read."""
    used_s: float = 0.0
    """When it was left."""
    is_taken: bool = False

    def goes_on_with(self, line: Line) -> bool:
        """Whether a conversation is this one, or longer."""
        return bool(self.line) and line[: len(self.line)] == self.line


class Desk:
    """Gives seats to conversations."""

    def __init__(self, first: LocalChat, more: Callable[[], LocalChat], max_seats: int) -> None:
        """Begin with one seat; others are opened by `more` when they are wanted."""
        assert max_seats > 0, "somebody must have room"
        self._seats = [Seat(first)]
        self._more = more
        self._max_seats = max_seats
        self._changed = threading.Condition()

    @contextmanager
    def seat(self, line: Line, cancel: Cancel) -> Iterator[Seat]:
        """Wait for a seat, and leave it again.

        Raises:
            Cancelled: before there was one.
            ModelUnavailable: another cannot be opened.
        """
        seat = self._take(line, cancel)
        try:
            yield seat
        finally:
            with self._changed:
                seat.is_taken, seat.used_s = False, time.monotonic()
                self._changed.notify()

    def _take(self, line: Line, cancel: Cancel) -> Seat:
        with self._changed:
            while (seat := self._best(line)) is None:
                if cancel():
                    raise Cancelled("nobody waits any more")
                self._changed.wait(POLL_S)
            seat.is_taken = True
            return seat

    def _best(self, line: Line) -> Seat | None:
        """Choose the seat that has read most of a conversation, a new one, or the least used."""
        free = [seat for seat in self._seats if not seat.is_taken]
        same = [seat for seat in free if seat.goes_on_with(line)]
        if same:
            return max(same, key=lambda seat: len(seat.line))
        unused = [seat for seat in free if not seat.line]
        if not unused and len(self._seats) < self._max_seats:
            unused = [Seat(self._more())]
            self._seats += unused
        return min(unused or free, key=lambda seat: seat.used_s, default=None)
