"""What takes the place of typing for a moment: a call to decide on, a list to choose from.

A dialog draws itself as lines and takes one key at a time; it knows no terminal. A key counts only
if a person can have meant it: not when it was typed before the question could be read, nor when it
came with others in one burst, as from a paste.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from rich.cells import cell_len

from agent.approval import Answer, Ask
from agent.frontends.repl.fuzzy import score
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.text import fit, harmless

ARMED_AFTER_S = 0.4
"""After it appeared, and after a key that came too early."""
BURST_S = 0.05
MAX_ROWS = 10

KEYS = (
    *(("v", "view all of it"), ("y", "yes"), ("n", "no"), ("a", "always")),
    *(("e", "edit"), ("w", "why not"), ("Esc", "stop")),
)
"""Of a question. Until all of a call was shown it can be viewed, and cannot be allowed."""
VIEW, ALLOWING = ("v",), ("y", "a", "e")


class Dialog(Protocol):
    """Takes keys until it is done."""

    def draw(self, painter: Painter) -> str:
        """Return its lines."""
        ...

    def press(self, key: str) -> bool:
        """Take a key: a character, or `enter`, `escape`, `up`, `down`; say whether it was one."""
        ...


class Guard:
    """Tells keys that answer from keys that were on their way already."""

    def __init__(self, shown_s: float) -> None:
        self._quiet_since_s = shown_s
        self._last_s = shown_s

    def lets_through(self, now_s: float, has_more: bool, is_typing: bool = False) -> bool:
        """Say whether a key counts; `has_more` is whether others came with it."""
        is_burst = has_more or is_typing or now_s - self._last_s < BURST_S
        is_early = now_s - self._quiet_since_s < ARMED_AFTER_S
        self._last_s = now_s
        if is_burst or is_early:
            self._quiet_since_s = now_s
        return not (is_burst or is_early)


@dataclass
class Approval:
    """Asks whether a call may run."""

    ask: Ask
    answer: Callable[[Answer | None], None]
    edit: Callable[[], None]
    """Lets the person change the call."""
    explain: Callable[[], None]
    """Lets the person say why not."""
    view: Callable[[], None] = lambda: None
    """Shows what was not printed."""
    num_unseen: int = 0
    """Lines that the person has not been shown yet: until then nothing of it can be allowed."""
    is_refused: bool = False
    """Whether they tried."""
    has_words: Callable[[], bool] = lambda: False
    """Whether there is text in the input, which letters go to then."""

    def draw(self, painter: Painter) -> str:
        """Ask."""
        theme = painter.theme
        what = "Run this command?" if self.ask.call.name == "bash" else "Allow this?"
        if self.num_unseen and self.is_refused:
            what = "First look at all of it."
        spans = [(theme.warn, what)]
        if self.has_words():
            return painter.line(
                *spans, (theme.dim, "   a key answers when the input is empty: Ctrl-U")
            )
        for key, words in KEYS:
            if key not in (ALLOWING if self.num_unseen else VIEW):
                spans += [("", "   "), ("bold", key), (theme.dim, f" {words}")]
        return painter.line(*spans)

    def press(self, key: str) -> bool:
        """Answer by one key."""
        if self.num_unseen and key in ALLOWING:
            self.is_refused = True
            return True
        match key:
            case "v" if self.num_unseen:
                self.view()
            case "y":
                self.answer(Answer(True))
            case "a":
                self.answer(Answer(True, always=True))
            case "n":
                self.answer(Answer(False))
            case "e":
                self.edit()
            case "w":
                self.explain()
            case "escape":
                self.answer(None)
            case _:
                return False
        return True


@dataclass(frozen=True)
class Choice:
    """One of a list."""

    words: str
    about: str = ""
    preview: str = ""
    """What is shown below the list while it is the one; several lines."""


@dataclass
class Picker:
    """A list to choose one of, which typing narrows."""

    title: str
    choices: Sequence[Choice]
    chosen: Callable[[int | None], None]
    """Called with the index of the choice; None if the person leaves."""
    at: int = 0
    typed: str = ""
    _shown: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._narrow(self.at)

    def draw(self, painter: Painter) -> str:
        """Show the part of the list around the one that is chosen."""
        theme, width = painter.theme, painter.width
        found = f"  {self.typed}" if self.typed else ""
        lines = [painter.line(("bold", self.title), (theme.accent, found))]
        first = max(0, min(self.at - MAX_ROWS // 2, len(self._shown) - MAX_ROWS))
        room = min(width // 2, max((cell_len(one.words) for one in self.choices), default=0))
        for row in range(first, min(first + MAX_ROWS, len(self._shown))):
            choice = self.choices[self._shown[row]]
            mark, style = ("▸ ", theme.accent) if row == self.at else ("  ", "")
            words = fit(harmless(choice.words), width - 4 if not choice.about else room)
            words += " " * (room - cell_len(words)) if choice.about else ""
            about = fit(harmless(choice.about), width - cell_len(words) - 6)
            lines.append(painter.line((style, mark + words), (theme.dim, f"  {about}")))
        if not self._shown:
            lines.append(painter.line((theme.dim, "  nothing fits")))
        elif shown := self.choices[self._shown[self.at]].preview:
            lines.append(painter.quoted(harmless(shown), theme.dim, indent=4))
        hint = "Enter chooses, Esc leaves, typing narrows"
        return "".join([*lines, painter.line((theme.dim, hint))])

    def press(self, key: str) -> bool:
        """Move, narrow, choose or leave."""
        if key in ("up", "down"):
            step = 1 if key == "down" else -1
            self.at = (self.at + step) % max(1, len(self._shown))
        elif key == "enter" and self._shown:
            self.chosen(self._shown[self.at])
        elif key == "escape":
            self.chosen(None)
        elif key == "backspace":
            self.typed = self.typed[:-1]
            self._narrow(0)
        elif len(key) == 1 and key.isprintable():
            self.typed += key
            self._narrow(0)
        else:
            return False
        return True

    def _narrow(self, at: int) -> None:
        rows = range(len(self.choices))
        names = [f"{choice.words} {choice.about}" for choice in self.choices]
        self._shown = [row for row in rows if score(self.typed, names[row]) is not None]
        self.at = min(at, max(0, len(self._shown) - 1))
