"""One reply of the model, asked for until it is one or the turn ends; runs no call.

What stands in the way is met once each: an engine that went away, a window that is full, a reply
that is empty, a reply that repeats itself. A reply that is not kept is dropped whole, so the next
one is drawn from the same prefix, and what it cost is not forgotten.
"""

from collections.abc import Generator
from dataclasses import replace
from enum import Enum

from agent.budget import interrupted, tokens_left
from agent.context import shorten
from agent.events import (
    CallWriting,
    Event,
    ModelLoading,
    Notice,
    PrefillProgress,
    ReplyEnded,
    StepStarted,
    StopReason,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.text_loop import TextLoop
from agent.thinking import warmer, with_effort
from agent.turn import Turn
from inference.errors import Cancelled, ContextOverflow, EngineGone
from inference.messages import (
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Restarting,
    Text,
    Thinking,
    WritingCall,
)


class Trouble(Enum):
    """Why a reply is asked for again."""

    GONE = "gone"
    FULL = "full"
    EMPTY = "empty"
    LOOP = "loop"


def ask(turn: Turn) -> Generator[Event, None, TurnEnded | None]:
    """Add the model's next reply to the session, or say why the turn ends instead."""
    yield StepStarted(turn.session.num_steps + 1)
    is_warm = turn.guard.take_warm()
    met: set[Trouble] = set()
    while True:
        options = _options(turn, met, is_warm)
        try:
            outcome = yield from _read(turn, options)
        except EngineGone as error:  # the conversation is here, and what was read is on disk
            if Trouble.GONE in met:
                raise
            yield Notice(f"{error} The reply is asked for again.")
            outcome = Trouble.GONE
        except ContextOverflow as error:
            sentence = str(error)
            if Trouble.FULL in met or not (yield from shorten(turn)):
                return TurnEnded(StopReason.MAX_TOKENS, sentence)
            outcome = Trouble.FULL
        if not isinstance(outcome, Trouble):
            turn.has_failed = False
            return outcome
        if outcome is Trouble.LOOP and outcome in met:
            return TurnEnded(StopReason.REFUSAL, "the model repeats itself in its replies")
        met.add(outcome)


def _options(turn: Turn, met: set[Trouble], is_warm: bool) -> ReplyOptions:
    """Choose how the reply is drawn, and how long it may be."""
    parts = turn.parts
    thinks = parts.options.thinking and Trouble.EMPTY not in met
    options = replace(parts.options, thinking=thinks)
    window = parts.chat.context_tokens
    options = with_effort(options, parts.config.model, window, turn.has_failed)
    if is_warm or Trouble.LOOP in met:
        options = warmer(options, turn.session.num_steps + 1)
    return replace(options, max_new_tokens=min(options.max_new_tokens, tokens_left(turn)))


def _read(turn: Turn, options: ReplyOptions) -> Generator[Event, None, TurnEnded | Trouble | None]:
    """Read one reply and keep it if it is one.

    Raises:
        EngineGone: the engine ended in mid-work.
        ContextOverflow: the conversation leaves no room for a reply.
    """
    parts, session = turn.parts, turn.session
    loop = TextLoop(parts.config.guard.text_repeats)
    end: ReplyEnd | None = None
    try:
        for piece in parts.chat.reply(
            session.messages, parts.specs, options, lambda: turn.stops() or loop.is_found
        ):
            match piece:
                case Restarting():
                    yield ModelLoading(parts.chat.name)
                case Prefill():
                    yield PrefillProgress(piece.num_done, piece.num_total, piece.elapsed_s)
                case Text():
                    loop.feed(piece.text)
                    yield TextDelta(piece.text)
                case Thinking():
                    loop.feed(piece.text)
                    yield ThinkingDelta(piece.text)
                case WritingCall():
                    yield CallWriting(piece.name, piece.num_bytes)
                case ReplyEnd():
                    end = piece
    except Cancelled:
        return interrupted(turn)
    assert end is not None, "a reply ends with a ReplyEnd"
    yield from map(Notice, end.notices)
    is_cut = end.stop_reason == "cancelled" and turn.stops()
    trouble = None if is_cut else _trouble(end, options, loop)
    # Recorded before anybody hears of it. A half reply is dropped unless somebody has read it:
    # whoever resumes asks again from the same prefix.
    is_kept = parts.talks and _is_readable(end) if is_cut else trouble is None
    if is_kept:
        session.add(end.message, end.usage)
    else:
        session.spend(end.usage)
    yield ReplyEnded(end.usage, end.message.content, end.memory)
    if is_cut:
        return interrupted(turn)
    if trouble is not None:
        yield Notice(_WORDS[trouble])
    elif end.stop_reason == "max_tokens" and not end.message.tool_calls:
        yield Notice(f"The reply ends at its limit of {options.max_new_tokens:,} tokens.")
    return trouble


def _is_readable(end: ReplyEnd) -> bool:
    """Say whether a reply that was cut short says something that a person has read."""
    return not (end.message.is_empty or end.is_thought_open or end.message.tool_calls)


def _trouble(end: ReplyEnd, options: ReplyOptions, loop: TextLoop) -> Trouble | None:
    """Say why a reply is not kept, if it is not."""
    if end.stop_reason == "cancelled" or (loop.is_found and not end.message.tool_calls):
        return Trouble.LOOP
    # Without thinking an empty reply is kept, and answered like any without a call.
    return Trouble.EMPTY if options.thinking and end.message.is_empty else None


_WORDS = {
    Trouble.EMPTY: "The reply was a thought alone; it is asked for again, without thinking.",
    Trouble.LOOP: "The reply repeated itself and was stopped; another one is asked for.",
}
