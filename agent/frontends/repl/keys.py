"""The keys, as a table: what a person reads in `/keys` and `docs/repl.md` is what is bound here.

What moves the cursor and edits the line is prompt_toolkit's, with the keys of emacs or of vi.
"""

from dataclasses import dataclass
from typing import Protocol

from prompt_toolkit.application.current import get_app
from prompt_toolkit.filters import (
    Condition,
    buffer_has_focus,
    has_completions,
    is_searching,
    vi_insert_mode,
    vi_mode,
)
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys

SHIFT_ENTER = Keys.F23
"""Stands for the sequences below, for which prompt_toolkit has no name."""
SHIFT_ENTER_SEQUENCES = ("\x1b[13;2u", "\x1b[27;2;13~")


@dataclass(frozen=True)
class Key:
    """One row of the table."""

    shown: str
    """As a person reads it; an `or` stands between two."""
    help: str
    bound: tuple[tuple[str, ...], ...] = ()
    """The sequences of keys; none where prompt_toolkit binds it."""
    action: str = ""


KEYS = (
    Key("Enter", "send; while the model works, steer it", (("enter",),), "send"),
    Key(
        *("Alt-Enter", "queue a prompt for when the turn has ended"),
        *((("escape", "enter"),), "queue"),
    ),
    Key("Ctrl-J or Shift-Enter", "new line", (("c-j",), (SHIFT_ENTER.value,)), "new_line"),
    Key("\\ Enter", "new line, in any terminal"),
    Key(
        *(
            "Esc",
            "take back what waits to be sent; else stop the call or the reply; twice, the turn",
        ),
        *((("escape",),), "escape"),
    ),
    Key("Ctrl-C", "clear the line; while it is empty, stop as Esc does", (("c-c",),), "interrupt"),
    Key("Ctrl-D", "leave, while the line is empty; at a question, with a no", (("c-d",),), "leave"),
    Key("Ctrl-Z", "go to the background", (("c-z",),), "suspend"),
    Key("Up or Down", "earlier and later prompts, at the first and last line"),
    Key("Ctrl-R", "search in earlier prompts"),
    Key("Tab", "complete a `/command`, `@file` or `@symbol`", (("tab",),), "complete"),
    Key("Shift-Tab", "next mode: plan, ask, edit, auto", (("s-tab",),), "next_mode"),
    Key("Ctrl-T", "show thinking, or fold it again", (("c-t",),), "thinking"),
    Key("Ctrl-G", "write the prompt in your editor", (("c-g",),), "editor"),
    Key("Ctrl-L", "clear the screen", (("c-l",),), "clear"),
)


class Actor(Protocol):
    """Carries out what the keys ask for."""

    def act(self, action: str, event: KeyPressEvent) -> None:
        """Carry out one action of the table, or `paste` or `backspace`."""
        ...


def bind(actor: Actor) -> KeyBindings:
    """Bind every key of the table to its action."""
    for sequence in SHIFT_ENTER_SEQUENCES:
        ANSI_SEQUENCES[sequence] = SHIFT_ENTER
    keys = KeyBindings()
    typing = buffer_has_focus & ~is_searching
    only_when = {
        "escape": typing & ~(vi_mode & vi_insert_mode) & ~has_completions,
        "leave": typing & Condition(_is_empty),
        "complete": typing,
        "send": typing,
        "queue": typing,
        "new_line": typing,
    }

    def add(sequence: tuple[str, ...], action: str) -> None:
        keys.add(*sequence, filter=only_when.get(action, ~is_searching))(
            lambda event: actor.act(action, event)
        )

    for key in KEYS:
        for bound in key.bound:
            add(bound, key.action)
    keys.add(Keys.BracketedPaste, filter=typing)(lambda event: actor.act("paste", event))
    keys.add(Keys.Vt100MouseEvent)(lambda _event: None)  # colours that were pasted look like one
    keys.add("backspace", filter=typing)(lambda event: actor.act("backspace", event))
    keys.add("escape", filter=typing & has_completions)(_close_menu)
    return keys


def _is_empty() -> bool:
    return not get_app().current_buffer.text


def _close_menu(event: KeyPressEvent) -> None:
    event.current_buffer.cancel_completion()
