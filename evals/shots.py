"""Take the pictures of the interactive session for the documents: a real run with nano, as SVGs.

python -m evals.shots docs/ [--seed N]   needs pyte, which the extra `dev` brings

The program runs on a pseudo terminal; pyte draws what it prints, and what stands on that screen
becomes the picture. Nothing is drawn by hand.
"""

import argparse
import io
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pyte
from rich.console import Console
from rich.terminal_theme import DEFAULT_TERMINAL_THEME, SVG_EXPORT_THEME, TerminalTheme
from rich.text import Text

from evals.nano.corpus import generate, write

ROWS, COLUMNS = 30, 90
WAIT_S = 600.0
ANSWER_AFTER_S = 1.0
PROMPT = "The tests fail. Find the bug and repair it."
KEPT_SPACES = '<svg xml:space="preserve" '
"""Not all that draw SVGs keep the spaces at the ends of a text, even where they do not break."""
GROUNDS = {"dark": SVG_EXPORT_THEME, "light": DEFAULT_TERMINAL_THEME}


class Camera:
    """A program on a terminal, and what its screen shows."""

    def __init__(self, folder: Path, home: Path, ground: str) -> None:
        self._screen = pyte.Screen(COLUMNS, ROWS)
        self._stream = pyte.ByteStream(self._screen)
        self._terminal, inner = pty.openpty()
        ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
        colours = "0;15" if ground == "light" else "15;0"
        more = {"HOME": str(home), "TERM": "xterm", "COLORFGBG": colours}
        command = [sys.executable, "-m", "agent.cli", "--model", "nano"]
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=inner,
            stdout=inner,
            env={**os.environ, **more, "PYTHONPATH": str(Path.cwd())},
            start_new_session=True,
        )
        os.close(inner)

    def wait_for(self, *texts: str) -> str:
        """Wait until one of the texts stands on the screen; return which."""
        end_s = time.monotonic() + WAIT_S
        while time.monotonic() < end_s:
            self.read(0.1)
            for text in texts:
                if any(text in line for line in self._screen.display):
                    return text
        raise TimeoutError("\n".join(self._screen.display))

    def read(self, seconds: float) -> None:
        """Draw what comes within so many seconds."""
        end_s = time.monotonic() + seconds
        while (left_s := end_s - time.monotonic()) > 0:
            if select.select([self._terminal], [], [], left_s)[0]:
                self._stream.feed(os.read(self._terminal, 65_536))

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._terminal, text.encode())

    def take(self, path: Path, theme: TerminalTheme) -> None:
        """Write what the screen shows as a picture."""
        console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
        lines = [line.rstrip() for line in self._screen.display]
        while not lines[-1]:
            lines.pop()
        for row, shown in enumerate(lines):
            cells = [self._screen.buffer[row][column] for column in range(len(shown))]
            line = Text.assemble(*((cell.data, _style(cell)) for cell in cells))
            console.print(line, soft_wrap=True)
        picture = console.export_svg(title="qwen-agent", theme=theme)
        path.write_text(picture.replace("<svg ", KEPT_SPACES, 1), encoding="utf-8")

    def close(self) -> None:
        """End the program."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(60.0)
        os.close(self._terminal)


def _style(cell: pyte.screens.Char) -> str:
    colour = {"default": "", "brown": "yellow"}.get(cell.fg, cell.fg.replace("bright", "bright_"))
    words = [colour, "bold" * cell.bold, "italic" * cell.italics, "reverse" * cell.reverse]
    return " ".join(filter(None, words))


def shoot(folder: Path, home: Path, ground: str, pictures: Path) -> None:
    """Run one repair, and take a picture where it asks and where it has ended."""
    camera = Camera(folder, home, ground)
    try:
        camera.wait_for("Ask, or /help")
        camera.wait_for("0%")
        camera.type(f"{PROMPT}\r")
        is_first = True
        while camera.wait_for("Allow this?", "Run this command?", "● finish") != "● finish":
            camera.read(ANSWER_AFTER_S)
            if is_first:
                camera.take(pictures / f"repl-asks-{ground}.svg", GROUNDS[ground])
            is_first = False
            camera.type("y")
            camera.read(ANSWER_AFTER_S)
        camera.wait_for("Ask, or /help")
        camera.take(pictures / f"repl-done-{ground}.svg", GROUNDS[ground])
    finally:
        camera.close()


def main() -> int:
    """Take all pictures, the same repair on a dark and on a light ground."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seed", type=int, default=900_003)
    arguments = parser.parse_args()
    for ground in GROUNDS:
        with tempfile.TemporaryDirectory(prefix="qwen-agent-shots-") as name:
            repository, home = Path(name) / "project", Path(name) / "home"
            home.mkdir()
            write(generate(arguments.seed), repository)
            subprocess.run(["git", "init", "-q", str(repository)], check=True, timeout=60.0)
            shoot(repository, home, ground, arguments.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
