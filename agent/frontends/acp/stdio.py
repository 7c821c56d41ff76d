"""The two streams of the protocol: one JSON text a line; it knows no message and no method.

Standard output is kept for the protocol alone. What anybody else prints goes to standard error, and
whoever reads standard input finds it empty.
"""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

MAX_FRAME_BYTES = 50 * 1024 * 1024
"""Of one line; a longer one is read past and not kept."""


class TooLong:
    """Stands for a line that was not kept."""


class Wire:
    """Lines in and lines out; lines out come from any thread, each whole."""

    def __init__(
        self, reader: BinaryIO, writer: BinaryIO, max_bytes: int = MAX_FRAME_BYTES
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self.is_gone = False
        """Whether nobody reads what is written any more."""

    def lines(self) -> Iterator[bytes | TooLong]:
        """Yield what comes, to the end of the stream; a last line that is not ended was cut off."""
        while line := self._reader.readline(self._max_bytes + 1):
            if line.endswith(b"\n"):
                if line := line.strip():
                    yield line
            elif len(line) > self._max_bytes:
                self._skip()
                yield TooLong()

    def write(self, line: bytes) -> None:
        """Send one line; to a reader that has gone, nothing."""
        with self._lock:
            if self.is_gone:
                return
            try:
                self._writer.write(line + b"\n")
                self._writer.flush()
            except (OSError, ValueError):
                self.is_gone = True

    def _skip(self) -> None:
        """Read to the end of the line, a piece at a time."""
        while (piece := self._reader.readline(1 << 20)) and not piece.endswith(b"\n"):
            pass


def take_standard_streams() -> Wire:
    """Return the streams of the process, and put harmless ones in their place."""
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    with suppress(AttributeError):  # there is none where it was closed
        sys.stdout.flush()
    os.dup2(2, 1)
    return Wire(reader, writer)
