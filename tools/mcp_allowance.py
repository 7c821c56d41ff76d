"""How much an MCP server may say: what it can make us read and hold has a limit."""

from collections.abc import Callable
from typing import NoReturn

from sandbox.limits import MIB

MAX_MESSAGE_BYTES = 4 * MIB
MAX_BYTES = 8 * MIB
"""Of all that a server says between two of our requests."""


class SaidTooMuch(Exception):
    """A server was cut off; the text says at what."""


class Allowance:
    """How many bytes a server may still send; renewed with every request of ours."""

    def __init__(self, on_cut_off: Callable[[], object], num_bytes: int = MAX_BYTES) -> None:
        """Call `on_cut_off` when it is used up."""
        self._on_cut_off = on_cut_off
        self._num_bytes = num_bytes
        self._left = num_bytes
        self.fault = ""
        """Why the server was cut off, once it was."""

    def renew(self) -> None:
        """Begin to count anew."""
        self._left = self._num_bytes

    def spend(self, num_bytes: int) -> None:
        """Count what was received.

        Raises:
            SaidTooMuch: it is more than was allowed.
        """
        self._left -= num_bytes
        if self._left < 0:
            self.cut_off(f"it sent more than {self._num_bytes // MIB} MiB for one request")

    def cut_off(self, fault: str) -> NoReturn:
        """Keep why nothing more is taken, and say so.

        Raises:
            SaidTooMuch: always.
        """
        self.fault = fault
        self._on_cut_off()
        raise SaidTooMuch(fault)
