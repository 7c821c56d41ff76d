"""One prompt answered for whoever reads standard output: the words alone, or events as JSON lines.

Nobody is there to be asked. Everything else goes to standard error.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from agent.approval import Answer, Ask
from agent.approver import nobody_there
from agent.conversation import Conversation
from agent.errors import KNOWN_ERRORS
from agent.events import Event, ReplyEnded, StopReason, TurnEnded
from agent.frontends.console import PlainConsole, SilentConsole, on_screen
from agent.frontends.fix import interrupts
from agent.frontends.output import OutputLost, hand_out
from agent.frontends.stream import Stream
from agent.outcome import BUDGET, CANCELLED, NOTHING
from tools.mcp_form import Form

EXIT_CODES = {
    StopReason.END_TURN: 0,
    StopReason.MAX_TOKENS: BUDGET,
    StopReason.MAX_TURN_REQUESTS: BUDGET,
    StopReason.REFUSAL: NOTHING,
    StopReason.CANCELLED: CANCELLED,
}


class Nobody:
    """The person of a talk that nobody watches."""

    def __init__(self) -> None:
        self.on_asked: Callable[[Ask, Answer], None] = lambda _ask, _answer: None
        """Called with each question and its answer."""
        self.on_form: Callable[[Form], None] = lambda _form: None
        """Called with each form that a server would have had filled in."""

    def ask(self, ask: Ask) -> Answer:
        """Refuse, so that another way is found."""
        answer = nobody_there(ask)
        self.on_asked(ask, answer)
        return answer

    def fill(self, form: Form) -> None:
        """Give nothing."""
        self.on_form(form)


@dataclass(frozen=True)
class Prompt:
    """What is to be answered."""

    text: str
    pictures: tuple[Path, ...] = ()


def answer_once(talk: Conversation, person: Nobody, prompt: Prompt, is_stream: bool) -> int:
    """Run one turn and show it; return the exit code.

    Raises:
        OutputLost: the answer cannot be written; else as a turn does.
    """
    shown = Stream(talk, prompt.text) if is_stream else _Words()
    person.on_asked, person.on_form = shown.asked, shown.declined
    ended: TurnEnded | None = None
    try:
        with interrupts() as cancel:
            for event in talk.turn(prompt.text, cancel, prompt.pictures):
                shown.show(event)
                ended = event if isinstance(event, TurnEnded) else ended
    except OutputLost:
        raise
    except KNOWN_ERRORS as error:
        shown.finish(error.exit_code, str(error))
        raise
    assert ended is not None, "a turn ends with TurnEnded"
    code = EXIT_CODES[ended.reason]
    shown.finish(code)
    return code


class _Words:
    """What the model says on standard output, what it does on standard error."""

    def __init__(self) -> None:
        self._beside = SilentConsole() if sys.stderr is None else PlainConsole(sys.stderr)

    def show(self, event: Event) -> None:
        if isinstance(event, ReplyEnded):
            if event.text.strip():
                hand_out(f"{on_screen(event.text).strip()}\n".encode())
            event = replace(event, text="")
        self._beside.show(event)

    def asked(self, ask: Ask, answer: Answer) -> None:
        """Say nothing: what came of the call does."""

    def declined(self, form: Form) -> None:
        """Say nothing: the server does."""

    def finish(self, exit_code: int, sentence: str = "") -> None:
        """Say nothing more."""
