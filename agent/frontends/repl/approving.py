"""Asking a person about a call: the preview above, one key for the answer, the input for words."""

from typing import TYPE_CHECKING

from agent.approval import Answer
from agent.frontends.repl.dialogs import Approval, preview
from agent.frontends.repl.worker import Question
from agent.preview import is_cut
from inference.messages import ToolCall

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

EDITABLE = ("new_str", "file_text", "command")
"""The argument of a call that a person would change; the first that a call has."""


class Approving:
    """The question that is open, if one is."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._question: Question | None = None
        self.dialog: Approval | None = None

    def begin(self, question: Question) -> str:
        """Ask; return the preview."""
        self._question = question
        view = self._view if is_cut(question.ask.preview) else None
        self.dialog = Approval(question.ask, self._answer, self._edit, self._explain, view)
        self._repl.open_dialog(self.dialog)
        return self._repl.story.apart("call", preview(question.ask, self._repl.painter))

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
            self._repl.story.previewed = question.ask.call
            self._repl.say(_words(answer))
            question.decide(answer)

    def _close(self) -> None:
        self._question = self.dialog = None
        self._repl.close_dialog()

    def _view(self) -> None:
        """Show all of it, and ask again."""
        if self._question is not None:
            ask = self._question.ask
            self._repl.show(lambda painter: preview(ask, painter, ask.exact))
            self._ask_again()

    def _explain(self) -> None:
        self._repl.close_dialog()
        self._repl.prompt.borrow("why not? ", "", self._explained)

    def _explained(self, reason: str | None) -> None:
        if reason and reason.strip():
            self._answer(Answer(False, reason=reason.strip()))
        else:
            self._ask_again()

    def _edit(self) -> None:
        if self._question is None:
            return
        name = _editable(self._question.ask.call)
        text = str(self._question.ask.call.arguments.get(name, ""))
        self._repl.close_dialog()
        self._repl.prompt.borrow(f"{name}: ", text, self._edited)

    def _edited(self, text: str | None) -> None:
        if text is None or self._question is None:
            self._ask_again()
            return
        call = self._question.ask.call
        self._answer(Answer(True, arguments={**call.arguments, _editable(call): text}))

    def _ask_again(self) -> None:
        if self.dialog is not None:
            self._repl.open_dialog(self.dialog)


def _editable(call: ToolCall) -> str:
    return next((name for name in EDITABLE if name in call.arguments), "command")


def _words(answer: Answer | None) -> str:
    if answer is None:
        return "The turn stops."
    if not answer.allowed:
        return f"Not allowed. {answer.reason}".strip()
    if answer.arguments is not None:
        return "Allowed as changed."
    return "Allowed, here and from now on." if answer.always else "Allowed."
