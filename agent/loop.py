"""One prompt to its end: ask the model, do what it asks, until it finishes; a generator of events.

It sees no token, opens no file and prints nothing. Where the conversation stands is read from the
session each time round, so a turn that was killed goes on by calling `continue_turn` again.
"""

from collections.abc import Generator, Iterator

from agent.ask import ask
from agent.budget import spent
from agent.carry_out import carry_out, pending_calls
from agent.context import shorten_if_long
from agent.events import Event, Notice, Steered, StopReason, TurnEnded
from agent.parts import Parts
from agent.session import Session
from agent.shown import told_of
from agent.steering import typed
from agent.turn import Turn
from agent.wording import prompt
from inference.messages import Message, Picture
from sandbox.base import Cancel

Step = Generator[Event, None, TurnEnded | None]


def run_turn(
    session: Session,
    text: str,
    parts: Parts,
    cancel: Cancel,
    pictures: tuple[Picture, ...] = (),
) -> Iterator[Event]:
    """Answer one prompt; the last event is a `TurnEnded`."""
    is_first = all(message.role == "system" for message in session.messages)
    opening = parts.opening() if is_first else ""
    words = f"{opening}\n\n{text}" if opening else text
    session.add(Message("user", words, pictures=pictures))
    yield from told_of(pictures)
    yield from continue_turn(session, parts, cancel)


def continue_turn(session: Session, parts: Parts, cancel: Cancel) -> Iterator[Event]:
    """Go on from where the conversation stands; the last event is a `TurnEnded`."""
    turn = Turn(session, parts, cancel)
    ended = TurnEnded(StopReason.END_TURN, "") if session.is_finished else None
    while ended is None:
        ended = yield from _step(turn)
    yield ended


def _step(turn: Turn) -> Step:
    """Carry out what was asked for, and ask for more; say why if the turn ends."""
    for call in pending_calls(turn.session.messages):
        if turn.cancel():
            return TurnEnded(StopReason.CANCELLED, "cancelled")
        if ended := (yield from carry_out(call, turn)):
            return ended
    if ended := spent(turn):
        return ended
    yield from shorten_if_long(turn)
    if ended := (yield from ask(turn)):
        return ended
    return None if turn.session.messages[-1].tool_calls else (yield from _go_on(turn))


def _go_on(turn: Turn) -> Step:
    """Answer a reply that called no tool: by what the person typed, or by asking for a call."""
    if said := typed(turn.parts):
        turn.session.add(Message("user", said))
        yield Steered(said)
        return None
    if turn.parts.talks and not turn.session.messages[-1].is_empty:
        return TurnEnded(StopReason.END_TURN, "")
    if turn.num_nudges >= turn.parts.config.guard.max_nudges:
        if turn.session.messages[-1].is_empty:
            return TurnEnded(StopReason.REFUSAL, "the model's replies are empty")
        return TurnEnded(StopReason.END_TURN, "the model stopped without finishing")
    turn.num_nudges += 1
    turn.session.add(Message("user", prompt("nudge")))
    yield Notice("The model called no tool; it is asked to go on.")
    return None
