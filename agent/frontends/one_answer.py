"""One prompt answered for whoever reads standard output: the words alone, or events as JSON lines.

Nobody is there to be asked. Everything else goes to standard error.
"""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

from agent.approval import Answer, Ask
from agent.approver import nobody_there
from agent.conversation import Conversation
from agent.events import Event, ReplyEnded, StopReason, TurnEnded
from agent.frontends.console import PlainConsole, SilentConsole, on_screen
from agent.frontends.fix import as_json, event_line, interrupts
from agent.frontends.output import hand_out
from agent.outcome import BUDGET, CANCELLED, NOTHING
from inference.messages import Usage
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

    def ask(self, ask: Ask) -> Answer:
        """Refuse, so that another way is found."""
        return nobody_there(ask)

    def fill(self, form: Form) -> None:
        """Give nothing."""


@dataclass(frozen=True)
class Prompt:
    """What is to be answered."""

    text: str
    pictures: tuple[Path, ...] = ()


def answer_once(talk: Conversation, prompt: Prompt, is_stream: bool) -> int:
    """Run one turn and show it; return the exit code.

    Raises:
        OutputLost: the answer cannot be written.
    """
    shown = _Stream(talk) if is_stream else _Words()
    ended: TurnEnded | None = None
    with interrupts() as cancel:
        for event in talk.turn(prompt.text, cancel, prompt.pictures):
            shown.show(event)
            ended = event if isinstance(event, TurnEnded) else ended
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

    def finish(self, exit_code: int) -> None:
        """Say nothing more."""


class _Stream:
    """Every event as a JSON line, between one about the talk and one about its end."""

    def __init__(self, talk: Conversation) -> None:
        self._talk = talk
        self._before: Usage | None = None
        self._line(type="TalkStarted", session_id=talk.id, mode=talk.mode)

    def show(self, event: Event) -> None:
        hand_out(f"{event_line(event, self._before)}\n".encode())
        self._before = event.usage if isinstance(event, ReplyEnded) else self._before

    def finish(self, exit_code: int) -> None:
        patch = self._talk.diff()
        self._line(type="TalkEnded", session_id=self._talk.id, exit_code=exit_code, patch=patch)

    def _line(self, **values: object) -> None:
        hand_out(f"{as_json(values)}\n".encode())
