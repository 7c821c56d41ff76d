"""What a command printed, in constant memory: its beginning, its end, and how much lies between."""


class HeadAndTail:
    """Keeps the first and the last half of a budget of bytes of a stream of any length."""

    def __init__(self, budget_bytes: int) -> None:
        self._head = bytearray()
        self._head_bytes = (budget_bytes + 1) // 2
        self._tail = bytearray()
        self._tail_bytes = budget_bytes // 2
        self.num_bytes = 0
        """All that was fed, kept or not."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self.num_bytes += len(data)
        room = self._head_bytes - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        if len(self._tail) > 2 * self._tail_bytes:  # not each time: cutting moves what stays
            del self._tail[: len(self._tail) - self._tail_bytes]

    def text(self) -> str:
        """Give what is kept, with `[... N bytes cut here]` where something is missing."""
        head = bytes(self._head)
        tail = bytes(self._tail[max(0, len(self._tail) - self._tail_bytes) :])
        if len(head) + len(tail) < self.num_bytes:
            head, tail = _without_half_character(head), _without_continuation(tail)
            num_cut = self.num_bytes - len(head) - len(tail)
            return f"{_decode(head)}\n[... {num_cut} bytes cut here]\n{_decode(tail)}"
        return _decode(head + tail)


def _decode(data: bytes) -> str:
    return data.decode("utf-8", errors="replace")


def _without_half_character(data: bytes) -> bytes:
    """Drop a UTF-8 character whose last bytes were cut off."""
    for length in range(1, min(4, len(data)) + 1):
        byte = data[-length]
        if byte & 0xC0 != 0x80:  # the first byte of a character, or ASCII
            wanted = 1 if byte < 0xC0 else 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return data[:-length] if length < wanted else data
    return data


def _without_continuation(data: bytes) -> bytes:
    """Drop the last bytes of a UTF-8 character whose first byte was cut off."""
    start = 0
    while start < min(3, len(data)) and data[start] & 0xC0 == 0x80:
        start += 1
    return data[start:]
