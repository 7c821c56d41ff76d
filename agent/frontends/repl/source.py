"""What comes from the keyboard, read in large pieces, so that a long paste costs what it is long.

prompt_toolkit reads a kilobyte at a time and looks through all that was pasted so far for its end
each time: for megabytes that is seconds in which nothing is drawn.
"""

from typing import TextIO

from prompt_toolkit.input.vt100 import Vt100Input
from prompt_toolkit.key_binding import KeyPress

READ_BYTES = 65_536
BEGINS, ENDS = "\x1b[200~", "\x1b[201~"


class Source(Vt100Input):
    """The keys of a terminal."""

    def __init__(self, stdin: TextIO) -> None:
        super().__init__(stdin)
        self._pastes = WholePastes()

    def read_keys(self) -> list[KeyPress]:
        """Return the keys that have come since the last time."""
        self.vt100_parser.feed(self._pastes.ready(self.stdin_reader.read(READ_BYTES)))
        keys, self._buffer = self._buffer, []
        return keys


class WholePastes:
    """Holds a paste back until its end has come."""

    def __init__(self) -> None:
        self._pieces: list[str] = []
        """Of the paste that has begun."""
        self._last = ""
        """So much of what came last as may be the first part of the end's mark."""

    def ready(self, data: str) -> str:
        """Take what was read; return what can be understood now."""
        if not self._pieces:
            start = data.rfind(BEGINS)
            if start < 0 or ENDS in data[start:]:
                return data
            self._pieces, self._last = [data[start:]], data[-len(ENDS) :]
            return data[:start]
        self._pieces.append(data)
        seen = self._last + data
        self._last = seen[-len(ENDS) :]
        if ENDS not in seen:
            return ""
        whole = "".join(self._pieces)
        self._pieces.clear()
        return whole
