"""One front end's connection as the host has it: frames in, frames out, and neither thread waits.

The thread of the sockets reads; both threads write, and what the socket does not take at once is
kept until it does. It knows no request.
"""

import socket
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from inference import wire

if TYPE_CHECKING:  # torch
    from inference.host_worker import Seat

MAX_UNREAD_BYTES = 2**20
"""What a front end may leave unread before its work waits."""


class Connection:
    """One connection, written to by both threads and read by one."""

    def __init__(self, sock: socket.socket, wake: Callable[[], None]) -> None:
        self.sock = sock
        self.frames = wire.Frames()
        self.is_client = False
        self.seat: Seat | None = None
        self._wake = wake
        self._lock = threading.Lock()
        self._unsent = bytearray()
        self._is_open = True
        sock.setblocking(False)

    def send(self, reply: wire.Reply) -> None:
        """Send what the socket takes now, and leave the rest to `flush`."""
        frame = wire.pack_reply(reply)
        with self._lock:
            if not self._is_open:
                return
            is_first = not self._unsent
            self._unsent += frame
            if is_first:
                self._push()
            is_late = bool(self._unsent)
        if is_late:
            self._wake()

    def flush(self) -> None:
        """Send more of what is waiting."""
        with self._lock:
            if self._is_open:
                self._push()

    def close(self) -> None:
        """Hang up."""
        with self._lock:
            self._is_open = False
            self._unsent.clear()
            self.sock.close()

    @property
    def num_unsent(self) -> int:
        """Bytes that are waiting."""
        return len(self._unsent)

    def has_room(self) -> bool:
        """Whether the other end reads what it is sent."""
        return self.num_unsent < MAX_UNREAD_BYTES

    def _push(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: self.sock.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError:  # it is gone; reading will tell the loop so
            self._unsent.clear()
