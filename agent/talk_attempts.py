"""Attempts of `fix` in the middle of a talk: its events, but for the ends of turns, which are not
the talk's.
"""

from collections.abc import Generator
from pathlib import Path

from agent.events import Event, TurnEnded
from agent.fix import run_fix
from agent.outcome import FixOutcome
from agent.request import FixRequest
from inference.chat import ChatModel
from sandbox.base import Cancel


def attempted(
    request: FixRequest, cancel: Cancel, chat: ChatModel, state: Path
) -> Generator[Event, None, FixOutcome]:
    """Make them with a model that is there already; return what they came to."""
    run = run_fix(request, cancel, lambda _request: chat, state)
    while True:
        try:
            event = next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome
        if not isinstance(event, TurnEnded):
            yield event
