"""The picture that lies on the person's clipboard, as a file; `/paste` puts it into the input.

The tools of the desktop are asked for it.
"""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.worker import Job, Printed
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

FOLDER = "pasted"
"""Of a session: the pictures that came from the clipboard."""
PATIENCE_S = 5.0
MAX_BYTES = 20_000_000
TOOLS = "wl-paste (package wl-clipboard), xclip or, on a Mac, pngpaste"


def paste(repl: "Repl", _words: str) -> None:
    """Put the clipboard's picture into the input, by a name that shows it."""
    if repl.talk is None:
        repl.say("The session is not open yet.", "warn")
        return
    folder = repl.talk.session.folder / FOLDER

    def steps(_cancel: Cancel) -> Iterator[Printed]:
        folder.mkdir(mode=0o700, exist_ok=True)
        path = picture_on_clipboard(folder)

        def insert(_painter: Painter) -> str:
            repl.prompt.buffer.insert_text(f'@"{path}" ', fire_event=False)
            return ""

        yield Printed(insert)

    repl.aside.do(Job(steps, is_aside=True))


def picture_on_clipboard(folder: Path) -> Path:
    """Write the clipboard's picture into a folder that is the caller's own; return the file.

    Raises:
        UsageError: there is none, or nothing here can ask for it.
    """
    asked = False
    for words in _ways():
        asked = True
        if picture := _output_of(words):
            path = folder / f"clipboard-{time.time_ns()}.png"
            path.write_bytes(picture)
            return path
    if not asked:
        raise UsageError(f"the clipboard cannot be read here: install {TOOLS}; or name a file: @x")
    raise UsageError("there is no picture on the clipboard; name a file instead: @shot.png")


def _ways() -> Iterator[list[str]]:
    """Yield the commands that print the picture as PNG, of those that are here."""
    ways = (
        ("WAYLAND_DISPLAY", ["wl-paste", "--no-newline", "--type", "image/png"]),
        ("DISPLAY", ["xclip", "-selection", "clipboard", "-target", "image/png", "-out"]),
        ("", ["pngpaste", "-"]),
    )
    for variable, (program, *words) in ways:
        is_ours = os.environ.get(variable) if variable else sys.platform == "darwin"
        if is_ours and (path := shutil.which(program)):
            yield [path, *words]


def _output_of(words: list[str]) -> bytes:
    """Return what a command prints if it is a picture of a bearable size; else nothing."""
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return b""
    is_picture = done.returncode == 0 and done.stdout.startswith(b"\x89PNG")
    return done.stdout if is_picture and len(done.stdout) <= MAX_BYTES else b""
