"""The terminal as a place to write to: a frame goes out in one piece, so that nothing flickers."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from prompt_toolkit.output.vt100 import Vt100_Output

BEGIN, END = "\x1b[?2026h", "\x1b[?2026l"
"""Synchronised output: a terminal that knows it shows nothing in between; others ignore it."""


class FrameOutput(Vt100_Output):
    """Keeps what is written until the frame is whole."""

    _num_held = 0
    on_lost: Callable[[], None] = staticmethod(lambda: None)
    """Called when nothing can be written any more: the terminal is gone."""

    def hold(self) -> None:
        """Begin a frame, or one more within it."""
        self._num_held += 1

    def release(self) -> None:
        """End it; the outermost is sent."""
        self._num_held = max(0, self._num_held - 1)
        self.flush()

    @contextmanager
    def frame(self) -> Iterator[None]:
        """Send what is written within as one."""
        self.hold()
        self.write_raw(BEGIN)
        try:
            yield
        finally:
            self.write_raw(END)
            self.release()

    def flush(self) -> None:
        """Send what was written, unless a frame is under way."""
        if self._num_held:
            return
        try:
            super().flush()
        except OSError:
            self._buffer = []
            self.on_lost()
