"""A terminal to test in: the program runs on a pseudo terminal, and pyte draws what it prints."""

import os
import re
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pexpect
import pyte

ROOT = Path(__file__).parents[3]
KEYS = {
    "enter": "\r",
    "escape": "\x1b",
    "alt-enter": "\x1b\r",
    "ctrl-c": "\x03",
    "ctrl-d": "\x04",
    "ctrl-g": "\x07",
    "ctrl-j": "\n",
    "ctrl-t": "\x14",
    "shift-tab": "\x1b[Z",
    "backspace": "\x7f",
    "up": "\x1b[A",
    "down": "\x1b[B",
    "left": "\x1b[D",
    "tab": "\t",
}
WAIT_S = 60.0
"""More than a busy machine takes for anything here: it is passed by what hangs."""
QUIET_S = 0.5
"""Longer than a question wants the keys to be quiet before one answers."""


class Terminal:
    """The screen of one program."""

    def __init__(
        self,
        words: Sequence[str],
        folder: Path,
        environment: Mapping[str, str],
        columns: int = 80,
        rows: int = 24,
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, rows, history=20_000, ratio=0.5)
        self._stream = pyte.ByteStream(self.screen)
        self.raw = b""
        self.process = pexpect.spawn(
            words[0],
            list(words[1:]),
            cwd=str(folder),
            env={"PATH": os.environ["PATH"], "TERM": "xterm-256color", **environment},
            dimensions=(rows, columns),
            timeout=WAIT_S,
        )
        self.process.delaybeforesend = None

    def read(self, seconds: float = 0.05) -> None:
        """Draw what comes within so many seconds."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0 and self._draw(left_s):
            pass

    def _draw(self, seconds: float) -> bool:
        """Draw what has come or comes soon; say whether anything did."""
        try:
            data = self.process.read_nonblocking(65_536, timeout=seconds)
        except pexpect.TIMEOUT:
            return False
        except pexpect.EOF:
            time.sleep(0.02)  # for whoever waits for something else than the screen
            return False
        self.raw += data
        # pyte draws what is between `CSI >` and its letter; real terminals do not.
        self._stream.feed(re.sub(rb"\x1b\[>[\d;]*[a-zA-Z]", b"", data))
        return True

    def wait_until(self, is_true: Callable[[], bool], what: str, seconds: float = WAIT_S) -> None:
        """Wait until something is true."""
        end_s = time.monotonic() + seconds
        while not is_true():
            assert time.monotonic() < end_s, f"never {what}:\n{self.text}"
            self.read()

    def wait_for(self, text: str, seconds: float = WAIT_S) -> None:
        """Wait until a text stands on the screen."""
        self.wait_until(lambda: text in self.text, f"shown: {text!r}", seconds)

    def wait_until_gone(self, text: str, seconds: float = WAIT_S) -> None:
        """Wait until a text stands on the screen no more."""
        self.wait_until(lambda: text not in self.text, f"gone: {text!r}", seconds)

    def type(self, text: str) -> None:
        """Send characters as they are."""
        self.process.send(text)
        self.read()

    def press(self, *keys: str) -> None:
        """Press keys, each by itself."""
        for key in keys:
            self.type(KEYS.get(key, key))

    def enter(self, text: str) -> None:
        """Type a line and send it."""
        self.type(text)
        self.press("enter")

    def answer(self, key: str) -> None:
        """Press a key after the quiet moment that a question waits for."""
        self.read(QUIET_S)
        self.press(key)

    def paste(self, text: str) -> None:
        """Paste as a terminal does."""
        self.type(f"\x1b[200~{text}\x1b[201~")

    def resize(self, columns: int, rows: int) -> None:
        """Change the size of the window."""
        self.process.setwinsize(rows, columns)
        self.screen.resize(rows, columns)

    def kill(self) -> None:
        """Kill the program, which can do nothing about it."""
        if self.process.isalive():
            self.process.kill(signal.SIGKILL)
            self.process.wait()

    def close(self) -> None:
        """End the program in any case, and let its terminal go."""
        self.kill()
        self.process.close()

    def hang_up(self) -> None:
        """Take the terminal away from the program, and wait until it has ended by that."""
        nothing = os.open(os.devnull, os.O_RDWR)
        os.dup2(nothing, self.process.child_fd)
        os.close(nothing)
        self._wait_until_dead()

    def wait_for_end(self) -> int:
        """Wait until the program has ended, and draw all that it said; return its exit code."""
        self._wait_until_dead()
        while self._draw(WAIT_S):
            pass
        return self.process.exitstatus if self.process.exitstatus is not None else -1

    def _wait_until_dead(self) -> None:
        self.wait_until(lambda: not self.process.isalive(), "ended")

    @property
    def text(self) -> str:
        """What the screen shows, without spaces at the ends of lines."""
        return "\n".join(line.rstrip() for line in self.screen.display).rstrip()

    @property
    def scrolled(self) -> str:
        """What has scrolled off the screen, and what it shows."""
        above = [
            "".join(line[column].data for column in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]
        return "\n".join([*above, self.text])
