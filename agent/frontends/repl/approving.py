"""Asking a person about a call: the preview above, one key for the answer, the input for words."""

import json
from typing import TYPE_CHECKING, Any

from agent.approval import Answer
from agent.frontends.repl.dialogs import Approval, Choice, Picker
from agent.frontends.repl.preview import page, preview, printed
from agent.frontends.repl.worker import Question
from agent.rules import EDITOR
from inference.messages import ToolCall

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

LIKELY = ("new_str", "file_text", "command")
"""The arguments of a call that a person would change before others."""


class Approving:
    """The question that is open, if one is."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._question: Question | None = None
        self.dialog: Approval | None = None

    def begin(self, question: Question) -> str:
        """Ask; return the preview."""
        self._question = question
        repl, drawn = self._repl, preview(question.ask, self._repl.painter)
        self.dialog = dialog = Approval(question.ask, self._answer, self._edit, self._explain)
        dialog.has_words = lambda: bool(repl.prompt.buffer.text) and repl.prompt.loan is None
        shown, dialog.num_unseen = printed(drawn, repl.painter, repl.screen.rows)
        dialog.view = lambda: page(repl.screen, drawn, lambda: self._has_seen(dialog))
        repl.open_dialog(dialog)
        return repl.story.apart("call", shown)

    def _has_seen(self, dialog: Approval) -> None:
        """Let a call be allowed now that all of it was shown; keys typed meanwhile are late."""
        dialog.num_unseen = 0
        if self.dialog is dialog:
            self._repl.open_dialog(dialog)

    def leave(self) -> None:
        """Ask no longer: what was asked about is over."""
        if self._question is None:
            return
        if self._repl.prompt.loan:
            self._repl.prompt.give_back(is_sent=False)
        self._close()

    def refuse(self) -> None:
        """Take the end of the session for a no."""
        if self._question is not None:
            self._question.decide(Answer(False))

    def _answer(self, answer: Answer | None) -> None:
        question = self._question
        self._close()
        if question is not None:
            self._repl.story.has_seen(question.ask.call)
            self._repl.say(_words(answer))
            question.decide(answer)

    def _close(self) -> None:
        self._question = self.dialog = None
        self._repl.close_dialog()

    def _explain(self) -> None:
        self._repl.close_dialog()
        self._repl.prompt.borrow("why not? ", "", self._explained)

    def _explained(self, reason: str | None) -> None:
        if reason and reason.strip():
            self._answer(Answer(False, reason=reason.strip()))
        else:
            self._ask_again()

    def _edit(self) -> None:
        """Have one of the arguments changed; which, is asked where there are several."""
        if self._question is None:
            return
        call = self._question.ask.call
        names = editable(call)
        if len(names) == 1:
            self._change(call, names[0])
            return

        def chosen(index: int | None) -> None:
            if index is None:
                self._ask_again()
            else:
                self._change(call, names[index])

        choices = [Choice(name, as_text(call.arguments[name])) for name in names]
        self._repl.open_dialog(Picker("Which of it?", choices, chosen))

    def _change(self, call: ToolCall, name: str) -> None:
        def edited(text: str | None) -> None:
            try:
                value = None if text is None else value_like(call.arguments[name], text)
            except ValueError:
                self._repl.say(f"{name} has to stay a value of JSON.", "warn")
                value = None
            if value is None:
                self._ask_again()
            else:
                self._answer(Answer(True, arguments={**call.arguments, name: value}))

        self._repl.close_dialog()
        self._repl.prompt.borrow(f"{name}: ", as_text(call.arguments[name]), edited)

    def _ask_again(self) -> None:
        if self.dialog is not None:
            self._repl.open_dialog(self.dialog)


def editable(call: ToolCall) -> list[str]:
    """Name the arguments that a person can change, the likely one first."""
    names = [name for name in call.arguments if (call.name, name) != (EDITOR, "command")]
    return sorted(names, key=lambda name: name not in LIKELY)


def as_text(value: object) -> str:
    """Write an argument for a person to change."""
    return value if isinstance(value, str) else json.dumps(value)


def value_like(before: object, text: str) -> Any:
    """Read a changed argument as what it was before.

    Raises:
        ValueError: it was none of text, and is no JSON now.
    """
    return text if isinstance(before, str) else json.loads(text)


def _words(answer: Answer | None) -> str:
    if answer is None:
        return "The turn stops."
    if not answer.allowed:
        return f"Not allowed: {answer.reason}" if answer.reason else "Not allowed."
    if answer.arguments is not None:
        return "Changed; this is what would be done now."
    return "Allowed, here and from now on." if answer.always else "Allowed."
