"""Attempts of `fix` in the middle of a talk: its events, and what they came to as a reply."""

from collections.abc import Generator
from pathlib import Path

from agent.events import Event, StopReason, TurnEnded
from agent.fix import run_fix
from agent.going_on import going_on
from agent.outcome import FixOutcome
from agent.request import FixRequest
from agent.turn import Turn
from agent.wording import prompt
from inference.messages import Message


def attempted(turn: Turn, request: FixRequest, state: Path) -> Generator[Event, None, None]:
    """Make them where the talk stands, with its model; the last event is a `TurnEnded`."""
    session, parts = turn.session, turn.parts
    chat = going_on(turn)
    run = run_fix(request, turn.cancel, lambda _request: chat, state)
    outcome = yield from _without_turn_ends(run)
    words = prompt("attempted", sentence=outcome.sentence, effect=outcome.effect)
    session.add(Message("assistant", words), checkpoint=parts.checkpoint(session.checkpoint))
    reason = StopReason.CANCELLED if turn.cancel() else StopReason.END_TURN
    yield TurnEnded(reason, outcome.sentence)


def _without_turn_ends(
    run: Generator[Event, None, FixOutcome],
) -> Generator[Event, None, FixOutcome]:
    """Pass the events of a run on, but for the ends of turns that are not the talk's."""
    while True:
        try:
            event = next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome
        if not isinstance(event, TurnEnded):
            yield event
