"""The two streams of the protocol: one JSON text a line; it knows no message and no method.

Standard output is kept for the protocol alone. What anybody else prints goes to standard error, and
whoever reads standard input finds it empty.
"""

import json
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

MAX_FRAME_BYTES = 50 * 1024 * 1024
"""Of one line; a longer one is read past and not kept."""
HEAD_BYTES = 1024
MAX_WAITING_BYTES = 8 * 1024 * 1024
"""What may wait for a client that does not read."""
ID = re.compile(rb'"id"\s*:\s*(-?\d{1,18}|"[\w-]{1,100}")\s*[,}]')


@dataclass(frozen=True)
class TooLong:
    """Stands for a line that was not kept."""

    head: bytes

    @property
    def number(self) -> int | str | None:
        """The id of the request, where it stands before the params."""
        found = ID.search(self.head.partition(b'"params"')[0])
        return json.loads(found[1]) if found else None


class Wire:
    """Lines in and lines out; lines out come from any thread, each whole and in order.

    A thread of its own writes, so that whoever reads is never held up by a client that does not.
    """

    def __init__(
        self, reader: BinaryIO, writer: BinaryIO, max_bytes: int = MAX_FRAME_BYTES
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._max_bytes = max_bytes
        self._changed = threading.Condition()
        self._waiting: deque[bytes] = deque()
        self._num_waiting = 0
        """Bytes that wait, those being written included."""
        self._reading: int | None = None
        """The thread that reads."""
        self.is_gone = False
        """Whether nobody reads what is written any more."""
        threading.Thread(target=self._write_all, name="write", daemon=True).start()

    def lines(self) -> Iterator[bytes | TooLong]:
        """Yield what comes, to the end of the stream; a last line that is not ended was cut off."""
        self._reading = threading.get_ident()
        while line := self._reader.readline(self._max_bytes + 1):
            if line.endswith(b"\n"):
                if line := line.strip():
                    yield line
            elif len(line) > self._max_bytes:
                self._skip()
                yield TooLong(line[:HEAD_BYTES])

    def write(self, line: bytes) -> None:
        """Send one line; to a reader that has gone, nothing.

        Where much waits already this waits too, but not in the thread that reads.
        """
        with self._changed:
            while self._num_waiting > MAX_WAITING_BYTES and not self.is_gone:
                if threading.get_ident() == self._reading:
                    break
                self._changed.wait()
            if self._num_waiting > 8 * MAX_WAITING_BYTES:  # it asks and asks, and never reads
                self.is_gone = True
            if not self.is_gone:
                self._waiting.append(line + b"\n")
                self._num_waiting += len(line) + 1
                self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written; return whether it is, or nobody is there to read it."""
        with self._changed:
            return self._changed.wait_for(lambda: self.is_gone or not self._num_waiting, timeout_s)

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                line = self._waiting.popleft()
            try:
                self._writer.write(line)
                self._writer.flush()
            except (OSError, ValueError):
                self.is_gone = True
            with self._changed:
                self._num_waiting -= len(line)
                if self.is_gone:
                    self._waiting.clear()
                    self._num_waiting = 0
                self._changed.notify_all()
                if self.is_gone:
                    return

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
