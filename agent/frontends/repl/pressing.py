"""Keys for a dialog: which of them a person can have meant as an answer to a question.

One that came too early or with others is typing, and goes to the input; while there is text in it,
all letters do, and Ctrl-U empties it. One that could be an answer is held for a moment: a sentence
begins with a letter, too.
"""

import asyncio
import time
from typing import TYPE_CHECKING

from agent.frontends.repl.approving import Approving
from agent.frontends.repl.dialogs import Dialog, Guard

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

HELD_S = 0.35
"""Within which another key shows that the first began a word."""
AT_ONCE = ("v", "w")
"""They decide nothing, and after `w` a sentence follows."""


class Pressing:
    """Takes the keys while a dialog is open."""

    def __init__(self, repl: "Repl", approving: Approving) -> None:
        self._repl = repl
        self._approving = approving
        self._guard = Guard(0.0)
        self._held = ""
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """A dialog appears: what is on its way was not meant for it."""
        self._release()
        self._guard = Guard(time.monotonic())

    def press(self, key: str, has_more: bool) -> bool:
        """Give a key to the dialog, or to the input; say whether there is a dialog."""
        dialog = self._repl.dialog
        if dialog is None:
            return False
        if key == "c-d" and not has_more:
            self._repl.leave()
            return True
        is_question = dialog is self._approving.dialog
        if not is_question:
            return dialog.press(key)
        held, now_s = self._release(), time.monotonic()
        if not held and self._types(key):
            self._guard.lets_through(now_s, has_more)
            return True
        is_meant = self._guard.lets_through(now_s, has_more, is_typing=bool(held))
        is_letter = len(key) == 1 and key.isprintable()
        if not is_meant:
            if is_letter and (held or has_more):
                self._repl.prompt.buffer.insert_text(held + key)
        elif is_letter and key not in AT_ONCE:
            self._hold(key, dialog)
        else:
            dialog.press(key)
        return True

    def _types(self, key: str) -> bool:
        """Let a sentence that is there already go on: in its midst no letter is an answer."""
        buffer = self._repl.prompt.buffer
        if not buffer.text:
            return False
        if len(key) == 1 and key.isprintable():
            buffer.insert_text(key)
        elif key == "backspace":
            buffer.delete_before_cursor()
        elif key == "c-u":
            buffer.reset()
        else:
            return False
        return True

    def _hold(self, key: str, dialog: Dialog) -> None:
        def answer() -> None:
            self._release()
            if self._repl.dialog is dialog:
                dialog.press(key)
                self._repl.screen.redraw()

        self._held = key
        self._timer = asyncio.get_running_loop().call_later(HELD_S, answer)

    def _release(self) -> str:
        """Return the key that was held, and hold none."""
        if self._timer is not None:
            self._timer.cancel()
        held, self._held, self._timer = self._held, "", None
        return held
