"""Where a command is carried out, as far as commands know: the screen, or plain lines.

`Repl` is one, `PlainHost` the other. A command says what is to be done, shown or asked; how that
looks is theirs.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from agent.events import Event
from agent.frontends.repl.dialogs import Picker
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.worker import Printed
from inference.messages import Memory
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.conversation import Conversation

Rows = Sequence[tuple[str, str]]
"""What can be typed, and what it does."""


class Folders(Protocol):
    """Where things are."""

    @property
    def root(self) -> Path:
        """The repository."""
        ...

    @property
    def state(self) -> Path:
        """Where sessions are kept."""
        ...


class Input(Protocol):
    """Where the person types."""

    def put(self, text: str) -> str:
        """Offer a text to be changed and sent; the result is to be printed."""
        ...

    def borrow(self, label: str, text: str, done: Callable[[str | None], None]) -> None:
        """Ask for words, with `text` to begin with; `done` gets None if the person leaves it."""
        ...


class Teller(Protocol):
    """Draws what was said earlier."""

    def said(self, text: str) -> str:
        """Draw what the person said."""
        ...

    def told(self, text: str) -> str:
        """Draw what the model said."""
        ...


class Offers(Protocol):
    """The commands that there are."""

    def rows(self) -> Rows:
        """Return those of the table."""
        ...

    def own(self) -> Mapping[str, str]:
        """Return the person's own, and the prompts that they stand for."""
        ...

    def passed_over(self) -> Sequence[str]:
        """Say which files of theirs are no commands, and why; a sentence each."""
        ...


class Gauges(Protocol):
    """What is known of the engine."""

    @property
    def memory(self) -> Memory | None:
        """Its memory after the last reply that told."""
        ...


class Host(Protocol):
    """Carries commands out."""

    talk: "Conversation | None"
    """The one that prompts go to; None until it is open."""

    @property
    def talks(self) -> "list[Conversation]":
        """All that are open in this session."""
        ...

    @property
    def launch(self) -> Folders:
        """What the session began with."""
        ...

    @property
    def prompt(self) -> Input:
        """The input."""
        ...

    @property
    def story(self) -> Teller:
        """What has been said."""
        ...

    @property
    def commands(self) -> Offers:
        """What can be typed after a slash."""
        ...

    @property
    def hints(self) -> Rows:
        """What else can be typed or pressed."""
        ...

    @property
    def activity(self) -> Gauges:
        """What goes on."""
        ...

    @property
    def is_busy(self) -> bool:
        """Whether something is being done."""
        ...

    def do(self, steps: Callable[[Cancel], Iterator[Event | Printed]], words: str = "") -> None:
        """Have something done that takes its time; `words` say what it is."""
        ...

    def do_aside(
        self, steps: Callable[[Cancel], Iterator[Event | Printed]], words: str = ""
    ) -> None:
        """Have it done now, whatever else is being done."""
        ...

    def show(self, draw: Callable[[Painter], str]) -> None:
        """Print lines."""
        ...

    def tell(self, draw: Callable[[Painter], str]) -> None:
        """Print lines, from any thread."""
        ...

    def say(self, text: str, style: str = "dim") -> None:
        """Print a sentence; `style` is a field of the theme."""
        ...

    def open_dialog(self, dialog: Picker) -> None:
        """Have the person choose."""
        ...

    def close_dialog(self) -> None:
        """End the choosing."""
        ...

    def enter(self, talk: "Conversation") -> None:
        """Be in this talk from now on."""
        ...

    def reopen(self, name: str) -> "Conversation":
        """Open an earlier talk."""
        ...

    def prompt_model(self, text: str) -> None:
        """Give a prompt to the model."""
        ...

    def leave(self) -> None:
        """End the session."""
        ...


def talk_of(host: Host) -> "Conversation":
    """Return the talk that prompts go to."""
    assert host.talk is not None, "commands wait until the talk is open"
    return host.talk
