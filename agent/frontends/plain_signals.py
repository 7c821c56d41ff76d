"""What signals mean to a talk in plain lines: Ctrl-C stops what goes on, others also end the talk.

While a line is read they cut the reading short; while a turn runs they are taken note of, and the
turn, which looks at the note, ends in good order.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from sandbox.base import Cancel

ENDING = (signal.SIGTERM, signal.SIGHUP)


class Signals:
    """Those that have come to the talk of this process."""

    def __init__(self) -> None:
        self.ended_by = 0
        """The signal that told the talk to end; 0 if none did."""
        self._is_over = False
        self._is_interrupted = False
        self._is_reading = False

    def leave(self) -> None:
        """Let the turn that runs be the last thing that is done, and stop it."""
        self._is_over = True

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Be told of them; those that are ignored, as `nohup` asks for, stay so."""
        numbers = [number for number in ENDING if signal.getsignal(number) is not signal.SIG_IGN]
        before = {number: signal.signal(number, self._note) for number in numbers}
        before[signal.SIGINT] = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextmanager
    def working(self) -> Iterator[Cancel]:
        """Give what a turn looks at to see whether it is to stop."""
        self._is_interrupted = False
        yield lambda: self._is_interrupted or self._is_over

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let a signal cut the reading of a line short.

        Raises:
            KeyboardInterrupt: it was Ctrl-C.
            EOFError: the talk is to end.
        """
        self._is_reading = True
        try:
            if self._is_over:
                raise EOFError
            yield
        finally:
            self._is_reading = False

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGINT:
            self._is_interrupted = True
        else:
            self.ended_by = self.ended_by or number
            self.leave()
        if self._is_reading:
            self._is_reading = False  # a second one must not come between the first and its end
            raise KeyboardInterrupt if number == signal.SIGINT else EOFError
