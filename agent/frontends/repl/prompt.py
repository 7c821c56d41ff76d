"""The input: one text of several lines, with history, completion, folded pastes and an editor.

It can be borrowed for a moment: to change a command that is asked about, or to say why not. What
was being typed comes back afterwards.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import Completer, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition

from agent.frontends.repl.completion import may_complete
from agent.frontends.repl.history import FileHistory
from agent.frontends.repl.paste import Pastes


@dataclass(frozen=True)
class Loan:
    """What the input is used for, for a moment."""

    label: str
    done: Callable[[str | None], None]
    """Called with the text; None if the person leaves it."""
    draft: Document
    """What was being typed."""


class Prompt:
    """What is being typed."""

    def __init__(self, completer: Completer, history: Path) -> None:
        self.pastes = Pastes()
        self.loan: Loan | None = None
        self.buffer = Buffer(
            completer=ThreadedCompleter(completer),
            complete_while_typing=Condition(self._may_complete),
            history=FileHistory(history, self.pastes.unfold),
            multiline=True,
            tempfile_suffix=".md",
        )

    def _may_complete(self) -> bool:
        return self.loan is None and may_complete(self.buffer.document.text_before_cursor)

    def offer(self) -> None:
        """Open the menu for what is typed already: names have come that were not there before."""
        if self.buffer.complete_state is None and self._may_complete():
            self.buffer.start_completion(select_first=False)

    @property
    def label(self) -> str:
        """What stands before the text."""
        return self.loan.label if self.loan else "> "

    def typed(self) -> str:
        """Return the text as it would be sent now."""
        return self.pastes.unfold(self.buffer.text)

    def take(self) -> str:
        """Return the text and begin a new one; what was sent is remembered."""
        whole = self.typed()
        self.buffer.reset(append_to_history=bool(whole.strip()))
        return whole

    def put(self, text: str) -> str:
        """Show a text to be changed and sent, before what is there already; print nothing."""
        rest = self.buffer.text
        text = self.pastes.fold(text) if len(text.split("\n")) > 20 else text
        whole = f"{text}\n{rest}" if rest.strip() else text
        self.buffer.document = Document(whole, len(text))
        return ""

    def paste(self, text: str) -> None:
        """Insert what was pasted, folded if it is long."""
        shown = text if self.loan else self.pastes.fold(text)
        self.buffer.insert_text(shown, fire_event=False)

    def continues(self) -> bool:
        """Say whether a backslash asks for one more line, and give it."""
        document = self.buffer.document
        if not document.text_before_cursor.endswith("\\") or document.text_after_cursor.strip():
            return False
        self.buffer.delete_before_cursor(1)
        self.buffer.insert_text("\n", fire_event=False)
        return True

    def borrow(self, label: str, text: str, done: Callable[[str | None], None]) -> None:
        """Use the input for something else until it is sent or left.

        The cursor is at the end of the first line: what is below it is changed less often.
        """
        self.loan = Loan(label, done, self.buffer.document)
        self.buffer.document = Document(text, len(text.partition("\n")[0]))

    def give_back(self, is_sent: bool) -> None:
        """End the loan."""
        assert self.loan is not None, "only what was borrowed"
        loan, text, self.loan = self.loan, self.buffer.text, None
        self.buffer.document = loan.draft
        loan.done(text if is_sent else None)
