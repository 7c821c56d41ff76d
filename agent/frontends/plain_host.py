"""Carries out commands in plain lines: lists are numbered, nothing is drawn over.

The commands are those of `repl/commands.py`. What one asks of the person is asked as soon as the
lines before it are printed.
"""

import re
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent.events import CallStarted, Event, ReplyEnded, TestsStarted, TextDelta
from agent.frontends.console import call_line, lines_of, on_screen
from agent.frontends.load_words import NowAndThen
from agent.frontends.plain_signals import Signals
from agent.frontends.repl.activity import Activity
from agent.frontends.repl.commands import EVERYWHERE, Commands
from agent.frontends.repl.dialogs import Picker
from agent.frontends.repl.host import Host
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.theme import THEMES
from agent.frontends.repl.worker import Printed
from agent.frontends.usage import LastReplies
from agent.shown import mentioned
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation

COLOURS = re.compile(r"\x1b\[[\d;]*m")
"""All that a painter adds to text: what it is given holds no escapes."""
MAX_CHOICES = 40
HINTS = (
    ("!COMMAND", "run a command in the sandbox; the model is told with the next prompt"),
    ("\\ at the end", "the prompt goes on in the next line"),
    ("Ctrl-C", "stop what goes on"),
    ("Ctrl-D", "leave"),
)
AGAIN = "An empty line sends this; anything else takes its place."


@dataclass(frozen=True)
class PlainLaunch:
    """What a talk in plain lines begins with."""

    root: Path
    state: Path
    commands: Path
    """The folder of the person's own commands."""
    resume: Callable[[str], "Conversation"]


class PlainHost:
    """A talk and its terminal, for commands."""

    def __init__(self, launch: PlainLaunch, signals: Signals) -> None:
        self.launch = launch
        self.talk: Conversation | None = None
        self.talks: list[Conversation] = []
        self.commands = Commands[Host](launch.commands, EVERYWHERE)
        self.hints = HINTS
        self.activity = Activity()
        self.is_busy = False
        """Never: a line is read when the one before it is done with."""
        self.is_left = False
        """Whether the talk is over."""
        self.draft = ""
        """What an empty line sends."""
        self._signals = signals
        self._asks: deque[Callable[[], None]] = deque()
        self._replies = LastReplies()
        self._is_line_open = False
        self._loads = NowAndThen()

    @property
    def prompt(self) -> "PlainHost":
        """What is asked for words."""
        return self

    @property
    def story(self) -> "PlainHost":
        """What draws earlier words."""
        return self

    # ---- what commands do

    def do(self, steps: Callable[[Cancel], Iterator[Event | Printed]], words: str = "") -> None:
        """Do it now, and print what comes of it."""
        if words:
            print(f"({on_screen(words)})", flush=True)
        try:
            with self._signals.working() as cancel:
                for item in steps(cancel):
                    self._print(item)
                    self.catch_up()
        finally:
            self._end_line()

    do_aside = do

    def enter(self, talk: "Conversation") -> None:
        """Be in this talk from now on."""
        if talk not in self.talks:
            self.talks.append(talk)
        self.talk = talk

    def reopen(self, name: str) -> "Conversation":
        """Open an earlier talk."""
        return self.launch.resume(name)

    def prompt_model(self, text: str) -> None:
        """Run a turn."""
        talk = self.talk
        assert talk is not None, "it was opened first"
        shown = mentioned(text, self.launch.root)
        self.do(lambda cancel: talk.turn(text, cancel, shown))

    def leave(self) -> None:
        """End the talk with this line."""
        self.is_left = True

    def catch_up(self) -> None:
        """Ask what commands want to know."""
        while self._asks:
            self._asks.popleft()()

    # ---- what commands show

    def show(self, draw: Callable[[Painter], str]) -> None:
        """Print lines, without colours."""
        width = shutil.get_terminal_size().columns
        print(COLOURS.sub("", draw(Painter(THEMES["mono"], width))), end="", flush=True)

    tell = show

    def say(self, text: str, style: str = "") -> None:
        """Print a sentence; all look the same here."""
        print(on_screen(text), flush=True)

    def said(self, text: str) -> str:
        """Return what the person said."""
        return f"You said: {on_screen(text)}\n"

    def told(self, text: str) -> str:
        """Return what the model said."""
        return f"{on_screen(text).strip()}\n"

    def _print(self, item: Event | Printed) -> None:
        """Print an event; the words of a reply as they come."""
        if isinstance(item, TextDelta):
            print(on_screen(item.text), end="", flush=True)
            self._is_line_open = True
            return
        self._end_line()
        if isinstance(item, Printed):
            self.show(item.draw)
            return
        self.activity.note(item, time.monotonic())
        for line in self._lines(item):
            print(line, flush=True)

    def _end_line(self) -> None:
        if self._is_line_open:
            print()
            self._is_line_open = False

    def _lines(self, event: Event) -> list[str]:
        """Say an event in lines; a reply was printed as it came, and its figures are left."""
        if isinstance(event, CallStarted):
            return [f"call: {call_line(event)}"]  # `> ` stands before what the person types
        if isinstance(event, TestsStarted):
            return ["(running the tests)"]
        lines = list(lines_of(event, self._replies.before(event)))
        if isinstance(event, ReplyEnded):
            lines = [line for line in lines if line[0]]
        return [line for line in (self._loads.line(event), *(text for _, text in lines)) if line]

    # ---- what commands ask

    def put(self, text: str) -> str:
        """Offer a text to be sent."""
        self.draft = text
        return f"{on_screen(text)}\n({AGAIN})\n"

    def borrow(self, label: str, text: str, done: Callable[[str | None], None]) -> None:
        """Ask for words, soon."""
        self._asks.append(lambda: done(self._words(label, text)))

    def open_dialog(self, dialog: Picker) -> None:
        """Ask for one of a list, soon."""
        self._asks.append(lambda: dialog.chosen(self._number(dialog)))

    def close_dialog(self) -> None:
        """Do nothing: a line that was read is over."""

    def read(self, label: str) -> str | None:
        """Read a line; None when the input has ended, or Ctrl-C was pressed."""
        try:
            with self._signals.reading():
                return input(label)
        except (EOFError, KeyboardInterrupt):
            print()
            return None

    def _words(self, label: str, text: str) -> str | None:
        if not text:
            return self.read(label)
        print(f"{label}{on_screen(text)}")
        while (word := self.read("y takes it, n leaves it, other words take its place: ")) == "":
            pass
        return text if word in ("y", "yes") else None if word in ("n", "no") else word

    def _number(self, picker: Picker) -> int | None:
        """Have one chosen by its number; None if an empty line leaves."""
        num = len(picker.choices)
        first = max(0, min(picker.at - MAX_CHOICES // 2, num - MAX_CHOICES))
        print(on_screen(picker.title))
        for number, choice in enumerate(picker.choices[first : first + MAX_CHOICES], first + 1):
            about = f"  {choice.about}" if choice.about else ""
            print(on_screen(f"{number}. {choice.words.strip()}{about}"))
        while word := (self.read(f"1 to {num}, or empty to leave: ") or "").strip():
            if word.isdecimal() and 1 <= int(word) <= num:
                return int(word) - 1
            print(f"There is no {on_screen(word)} in this list.")
        return None
