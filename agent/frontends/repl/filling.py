"""Filling in what an MCP server asks for: its fields one after the other, in the input."""

from typing import TYPE_CHECKING

from agent.frontends.repl.text import harmless
from agent.frontends.repl.worker import Blank
from tools.mcp_form import YES, Value

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl

AGREE = "Agree? yes or no: "
DECLINED, GIVEN = "Nothing is given to the server.", "Given to the server."


class Filling:
    """The form that is open, if one is."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._blank: Blank | None = None
        self._given: dict[str, Value] = {}

    def begin(self, blank: Blank) -> str:
        """Ask for the first field; return who asks, and for what."""
        self._blank, self._given = blank, {}
        self._ask(0)
        painter, form = self._repl.painter, blank.form
        who = f"The MCP server {form.server} asks you: "
        hint = "What you write goes to it. Esc declines."
        return painter.line(
            (painter.theme.warn, "? "), ("bold", who), ("", harmless(form.text))
        ) + painter.line((painter.theme.dim, f"  {hint}"))

    def leave(self) -> None:
        """Ask no longer: what was asked for is not needed any more."""
        if self._blank is not None and self._repl.prompt.loan:
            self._repl.prompt.give_back(is_sent=False)

    def _ask(self, number: int) -> None:
        assert self._blank is not None, "a form is open"
        fields = self._blank.form.fields
        label = f"{harmless(fields[number].label)}: " if fields else AGREE
        self._repl.prompt.borrow(label, "", lambda text: self._take(number, text))

    def _take(self, number: int, text: str | None) -> None:
        """Take what was written into a field, and ask for the next."""
        assert self._blank is not None, "a form is open"
        fields = self._blank.form.fields
        if text is None or (not fields and text.strip().lower() not in YES):
            self._end(is_given=False)
            return
        if fields and (text.strip() or fields[number].is_required):
            try:
                self._given[fields[number].name] = fields[number].read(text)
            except ValueError as error:
                self._repl.say(f"{error}.", "warn")
                self._ask(number)
                return
        if number + 1 < len(fields):
            self._ask(number + 1)
        else:
            self._end(is_given=True)

    def _end(self, is_given: bool) -> None:
        blank, self._blank = self._blank, None
        assert blank is not None, "a form is open"
        self._repl.say(GIVEN if is_given else DECLINED)
        blank.decide(self._given if is_given else None)
