"""What is typed and not sent yet, for the model to read while it rests."""

from typing import TYPE_CHECKING

from agent.frontends.repl.completion import COMMAND_LINE, named_plainly

if TYPE_CHECKING:
    from agent.frontends.repl.repl import Repl


class Drafts:
    """Looks at the input now and then."""

    def __init__(self, repl: "Repl") -> None:
        self._repl = repl
        self._seen = ""
        """What was typed at the last look."""

    def look(self) -> None:
        """Have the model read ahead; what is typed too, if it is the same as at the last look."""
        repl = self._repl
        if repl.talk is None or repl.is_busy or repl.is_asking:
            return
        typed = repl.prompt.typed().strip()
        is_settled, self._seen = typed == self._seen, typed
        is_prompt = not (COMMAND_LINE.match(typed) or typed.startswith("!"))
        is_draft = bool(typed) and is_settled and is_prompt
        repl.talk.read_ahead(named_plainly(typed, repl.launch.root) if is_draft else "")
