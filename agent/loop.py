"""One prompt to its end: ask the model, do what it asks, until it finishes; a generator of events.

It sees no token, opens no file and prints nothing. Where the conversation stands is read from the
session each time round, so a turn that was killed goes on by calling `continue_turn` again.
"""

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from agent.approval import Denied, decide
from agent.events import (
    CallEnded,
    CallStarted,
    Event,
    Notice,
    PrefillProgress,
    ReplyEnded,
    StepStarted,
    StopReason,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.guard import REFUSAL, Guard, Step
from agent.session import Session
from agent.settings import Config
from agent.wording import prompt
from inference.chat import ChatModel
from inference.errors import Cancelled, ContextOverflow, EngineGone
from inference.messages import (
    BadToolCall,
    Message,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    Text,
    Thinking,
    ToolCall,
    ToolSpec,
)
from sandbox.base import Cancel
from tools.base import ToolResult
from tools.registry import Registry


@dataclass(frozen=True)
class Parts:
    """What a turn works with."""

    chat: ChatModel
    tools: Registry
    options: ReplyOptions
    config: Config
    checkpoint: Callable[[str], str]
    """Names the files as they are, recording them if they are no longer as the given name says:
    the same name for the same files."""
    deadline_s: float = float("inf")
    """The `time.monotonic()` at which the budget of seconds is spent."""


def run_turn(session: Session, text: str, parts: Parts, cancel: Cancel) -> Iterator[Event]:
    """Answer one prompt; the last event is a `TurnEnded`."""
    session.add(Message("user", text))
    yield from continue_turn(session, parts, cancel)


def continue_turn(session: Session, parts: Parts, cancel: Cancel) -> Iterator[Event]:
    """Go on from where the conversation stands; the last event is a `TurnEnded`."""
    guard = Guard(parts.config.guard)
    num_nudges = 0
    if session.is_finished:
        yield TurnEnded(StopReason.END_TURN, "")
        return
    while True:
        for call in pending_calls(session.messages):
            if cancel():
                yield TurnEnded(StopReason.CANCELLED, "cancelled")
                return
            ended = yield from carry_out(call, session, parts, guard, cancel)
            if ended:
                yield ended
                return
        ended = _spent(session, parts) or (yield from ask(session, parts, cancel))
        if ended:
            yield ended
            return
        if not session.messages[-1].tool_calls:
            if num_nudges >= parts.config.guard.max_nudges:
                yield TurnEnded(StopReason.END_TURN, "the model stopped without finishing")
                return
            num_nudges += 1
            session.add(Message("user", prompt("nudge")))
            yield Notice("The model called no tool; it is asked to go on.")


def pending_calls(messages: Sequence[Message]) -> tuple[ToolCall | BadToolCall, ...]:
    """Return the calls of the last reply that have no result yet."""
    for num_results, message in enumerate(reversed(messages)):
        if message.role == "assistant":
            return message.tool_calls[num_results:]
        if message.role != "tool":
            break
    return ()


def ask(session: Session, parts: Parts, cancel: Cancel) -> Generator[Event, None, TurnEnded | None]:
    """Add the model's next reply to the session, or say why the turn ends instead."""
    yield StepStarted(1 + sum(message.role == "assistant" for message in session.messages))
    left = parts.config.budget.max_tokens - tokens_spent(session)
    options = replace(parts.options, max_new_tokens=min(parts.options.max_new_tokens, left))
    try:
        return (yield from _ask(session, parts, options, cancel))
    except EngineGone as error:  # the conversation is here, and what was read is on disk
        yield Notice(f"{error} Another one goes on from what was saved.")
        return (yield from _ask(session, parts, options, cancel))


def _ask(
    session: Session, parts: Parts, options: ReplyOptions, cancel: Cancel
) -> Generator[Event, None, TurnEnded | None]:
    end: ReplyEnd | None = None
    try:
        for piece in parts.chat.reply(
            session.messages, tool_specs(parts.tools), options, _stop(parts, cancel)
        ):
            match piece:
                case Prefill():
                    yield PrefillProgress(piece.num_done, piece.num_total, piece.elapsed_s)
                case Text():
                    yield TextDelta(piece.text)
                case Thinking():
                    yield ThinkingDelta(piece.text)
                case ReplyEnd():
                    end = piece
    except Cancelled:
        return _interrupted(cancel, parts)
    except ContextOverflow as error:
        return TurnEnded(StopReason.MAX_TOKENS, str(error))
    assert end is not None, "a reply ends with a ReplyEnd"
    yield from map(Notice, end.notices)
    yield ReplyEnded(end.usage, end.message.content)
    if end.stop_reason == "cancelled":
        # The half reply is dropped: whoever resumes asks again from the same prefix.
        session.spend(end.usage)
        return _interrupted(cancel, parts)
    session.add(end.message, end.usage)
    return None


def carry_out(
    call: ToolCall | BadToolCall, session: Session, parts: Parts, guard: Guard, cancel: Cancel
) -> Generator[Event, None, TurnEnded | None]:
    """Run one call and add its result to the session; say why if the turn ends with it."""
    yield CallStarted(call)
    start, before = time.monotonic(), session.checkpoint
    ended: TurnEnded | None = None
    step = guard.before(call, before) if isinstance(call, ToolCall) else Step.RUN
    if step is Step.RUN:
        result = _run(call, session, parts, cancel)
        if cancel():
            # Not recorded, so that whoever resumes runs it again on the files as they were.
            return TurnEnded(StopReason.CANCELLED, "cancelled")
    else:
        result = ToolResult(REFUSAL, "not run: the same call again", ok=False)
    if step is Step.STOP:
        ended = TurnEnded(StopReason.REFUSAL, "the model repeats the same call without effect")
    elif result.done:
        ended = TurnEnded(StopReason.END_TURN, "")
    note = ""
    if isinstance(call, ToolCall) and step is Step.RUN:
        note = guard.after(call, before, result.text)
    text = result.text + note
    session.add(Message("tool", text), None, parts.checkpoint(before), finishes=result.done)
    name = call.name if isinstance(call, ToolCall) else ""
    duration_s = time.monotonic() - start
    yield CallEnded(name, result.summary, text, result.ok, result.diff, duration_s)
    limit = parts.config.guard.max_bad_calls
    if num_bad_in_a_row(session.messages) >= limit:
        ended = TurnEnded(StopReason.REFUSAL, f"{limit} unreadable calls in a row")
    return ended


def num_bad_in_a_row(messages: Sequence[Message]) -> int:
    """Count the unreadable calls at the end of the conversation that have been answered."""
    num_pending = len(pending_calls(messages))
    calls = [call for message in messages for call in message.tool_calls]
    count = 0
    for call in reversed(calls[: len(calls) - num_pending]):
        if not isinstance(call, BadToolCall):
            break
        count += 1
    return count


def tool_specs(tools: Registry) -> tuple[ToolSpec, ...]:
    """Tell the model of the tools, in the words of its own room."""
    return tuple(ToolSpec(spec.name, spec.description, spec.parameters) for spec in tools.specs())


def tokens_spent(session: Session) -> int:
    """Return how many tokens were computed in this run: prefilled or generated."""
    return sum(usage.num_prefilled + usage.num_generated for usage in session.usages)


def _run(
    call: ToolCall | BadToolCall, session: Session, parts: Parts, cancel: Cancel
) -> ToolResult:
    if isinstance(call, BadToolCall):
        return ToolResult(call.reason, "a call that cannot be read", ok=False)
    decision = decide(call, parts.config.approval)
    if isinstance(decision, Denied):
        session.record("denied", tool=call.name)
        return ToolResult(decision.reason, f"denied: {call.name}", ok=False)
    return parts.tools.call(call.name, call.arguments, _stop(parts, cancel))


def _spent(session: Session, parts: Parts) -> TurnEnded | None:
    """Say which budget is spent, if one is."""
    budget = parts.config.budget
    if time.monotonic() >= parts.deadline_s:
        return _out_of_time(parts)
    if sum(message.role == "assistant" for message in session.messages) >= budget.max_steps:
        return TurnEnded(StopReason.MAX_TURN_REQUESTS, f"{budget.max_steps} replies are spent")
    if sum(message.role == "tool" for message in session.messages) >= budget.max_calls:
        return TurnEnded(StopReason.MAX_TURN_REQUESTS, f"{budget.max_calls} calls are spent")
    if tokens_spent(session) >= budget.max_tokens:
        return TurnEnded(StopReason.MAX_TOKENS, f"{budget.max_tokens} tokens are spent")
    return None


def _stop(parts: Parts, cancel: Cancel) -> Cancel:
    """Stop for the person, and when the time is spent."""
    return lambda: cancel() or time.monotonic() >= parts.deadline_s


def _interrupted(cancel: Cancel, parts: Parts) -> TurnEnded:
    """Tell a person's stop from the end of the time."""
    return TurnEnded(StopReason.CANCELLED, "cancelled") if cancel() else _out_of_time(parts)


def _out_of_time(parts: Parts) -> TurnEnded:
    seconds = parts.config.budget.max_time_s
    return TurnEnded(StopReason.MAX_TURN_REQUESTS, f"{seconds:g} seconds are spent")
