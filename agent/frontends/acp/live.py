"""What a command prints, shown while it runs: the last of it, a few times a second.

What comes of the call is told when it ends, and takes the place of what was shown.
"""

import time
from collections.abc import Callable, Sequence

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits

PERIOD_S = 0.2
"""From one look to the next; a command that takes no longer is not looked at."""
TAIL_BYTES = 8 * 1024
Show = Callable[[str], None]


class Live:
    """A sandbox each of whose commands is shown; itself a sandbox."""

    def __init__(self, sandbox: Sandbox, show: Show) -> None:
        self._sandbox = sandbox
        self._show = show

    @property
    def level(self) -> str:
        """Say what isolation is in force."""
        return self._sandbox.level

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv`; see `Sandbox.run`."""
        screen = Screen(self._show)

        def take(data: bytes) -> None:
            screen(data)
            if on_output:
                on_output(data)

        def looked() -> bool:
            screen.refresh()  # asked often, also while nothing is printed
            return cancel()

        return self._sandbox.run(argv, view, limits, looked, take if on_output else screen)


class Screen:
    """The end of an output, shown anew when there is more of it and the last time is long ago."""

    def __init__(self, show: Show, clock: Callable[[], float] = time.monotonic) -> None:
        self._show = show
        self._clock = clock
        self._next_s = clock() + PERIOD_S
        self._tail = bytearray()
        self._num_bytes = 0
        self._num_shown = 0

    def __call__(self, data: bytes) -> None:
        """Take the next bytes."""
        self._num_bytes += len(data)
        self._tail += data
        del self._tail[:-TAIL_BYTES]

    def refresh(self) -> None:
        """Show what there is, if it is time and there is more."""
        now = self._clock()
        if self._num_shown == self._num_bytes or now < self._next_s:
            return
        self._next_s, self._num_shown = now + PERIOD_S, self._num_bytes
        self._show(self._text())

    def _text(self) -> str:
        """Return the end of the output, from the beginning of a line if something is missing."""
        tail = bytes(self._tail)
        if len(tail) == self._num_bytes:
            return tail.decode(errors="replace")
        tail = tail[tail.find(b"\n") + 1 :]
        num_before = self._num_bytes - len(tail)
        return f"[{num_before:,} bytes before this]\n{tail.decode(errors='replace')}"
