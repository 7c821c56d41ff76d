"""What a person is asked about, drawn whole: nothing that would run is left out or hidden.

The screen scrolls, so even a long call is printed in full. Only one that would push itself out of
the terminal's memory is not: of it the beginning is printed, and a pager shows all.
"""

import os
import shlex
import subprocess
from collections.abc import Callable

from prompt_toolkit.application import run_in_terminal

from agent.approval import Ask
from agent.call_words import words_of
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.screen import Screen
from agent.frontends.repl.text import fit
from agent.preview import spelled, whole
from agent.rules import changes_file
from inference.remote_server import KEY_NAMES

MAX_HEAD = 1_000
"""Cells of what stands over a question; the name of a file is not cut."""
MAX_PRINTED = 2_000
"""Lines; terminals keep about as many."""
NUM_BEGINNING = 100
"""Lines that are printed of a call that is longer."""
ROWS_BELOW = 5
"""Those of a question, of the input and of the status."""


def preview(ask: Ask, painter: Painter) -> str:
    """Draw exactly what a call would do; all of it, since it is what a person answers for."""
    text = whole(ask.exact, is_diff=changes_file(ask.call)).rstrip("\n")
    if ask.call.name == "bash":
        head = painter.line((painter.theme.warn, "? "), ("bold", "bash"))
        return head + painter.code(text, "bash")
    words = fit(spelled(words_of(ask.call)), MAX_HEAD)
    head = painter.line((painter.theme.warn, "? "), ("bold", words))
    return head + painter.diff(text, max_lines=1 + text.count("\n"))


def printed(drawn: str, painter: Painter, rows: int) -> tuple[str, int]:
    """Return what is printed of a preview on so many rows, and how many lines of it are not."""
    num_lines = drawn.count("\n")
    if num_lines <= rows - ROWS_BELOW:
        return drawn, 0
    if num_lines <= MAX_PRINTED:
        words = "(more than the screen holds: scroll up to read it from its beginning)"
        return drawn + painter.line((painter.theme.warn, words)), 0
    beginning = "\n".join([*drawn.split("\n")[:NUM_BEGINNING], ""])
    num_left = num_lines - NUM_BEGINNING
    words = f"({num_left:,} more lines, which would run, too)"
    return beginning + painter.line((painter.theme.warn, words)), num_left


def page(screen: Screen, drawn: str, done: Callable[[], None]) -> None:
    """Show a text in the pager of the person, or print it if there is none; then call `done`."""
    screen.is_away = True
    command = shlex.split(os.environ.get("PAGER", "")) or ["less"]
    theirs = {name: value for name, value in os.environ.items() if name not in KEY_NAMES}
    environment = {"LESS": "-R", **theirs}

    def run() -> bool:
        try:
            return subprocess.run(command, input=drawn.encode(), env=environment).returncode == 0
        except OSError:
            return False

    async def shown() -> None:
        is_paged = await run_in_terminal(run, in_executor=True)
        screen.come_back()
        if not is_paged:
            screen.print(drawn)
        done()

    screen.app.create_background_task(shown())
