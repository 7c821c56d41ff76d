"""One call of the model: whether it runs, what is added to its result, what is recorded of it.

The guard is asked first, then the settings, then whoever joined in `Parts.before_call`. What ran
passes through `Parts.after_call`. A call that was cut short is not recorded: whoever resumes runs
it again, on the files as they were.
"""

import time
from collections.abc import Generator, Sequence

from agent.approval import Denied, decide
from agent.budget import until_spent
from agent.events import CallEnded, CallStarted, Event, Steered, StopReason, TurnEnded
from agent.guard import REFUSAL, Step
from agent.parts import Parts
from agent.session import Session
from agent.steering import steered
from agent.thinking import shows_failure
from agent.turn import Turn
from inference.messages import BadToolCall, Message, ToolCall
from sandbox.base import Cancel
from tools.base import ToolResult

CallEvents = Generator[Event, None, TurnEnded | None]


def pending_calls(messages: Sequence[Message]) -> tuple[ToolCall | BadToolCall, ...]:
    """Return the calls of the last reply that have no result yet."""
    for num_results, message in enumerate(reversed(messages)):
        if message.role == "assistant":
            return message.tool_calls[num_results:]
        if message.role != "tool":
            break
    return ()


def carry_out(
    call: ToolCall | BadToolCall, session: Session, parts: Parts, turn: Turn, cancel: Cancel
) -> CallEvents:
    """Run one call and add its result to the session; say why if the turn ends with it."""
    yield CallStarted(call)
    start = time.monotonic()
    if isinstance(call, BadToolCall):
        result = ToolResult(call.reason, "a call that cannot be read", ok=False)
        return (yield from _record(call, result, session, parts, turn, start))
    ruling = turn.guard.before(call, session.checkpoint)
    if ruling.step is not Step.RUN:
        result = ToolResult(REFUSAL, "not run: the same call again", ok=False)
        yield from _record(call, result, session, parts, turn, start)
        is_over = ruling.step is Step.STOP
        return TurnEnded(StopReason.REFUSAL, ruling.reason) if is_over else None
    refusal = _refusal(call, session, parts)
    result = refusal or parts.tools.call(call.name, call.arguments, until_spent(parts, cancel))
    told = result.text
    for add in () if refusal else parts.after_call:
        result = add(call, result, until_spent(parts, cancel))
    if cancel():
        return TurnEnded(StopReason.CANCELLED, "cancelled")
    return (yield from _record(call, result, session, parts, turn, start, told))


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


def _refusal(call: ToolCall, session: Session, parts: Parts) -> ToolResult | None:
    """Say no, if the settings or somebody who was asked does."""
    decision = decide(call, parts.config.approval)
    if isinstance(decision, Denied):
        session.record("denied", tool=call.name)
        return ToolResult(decision.reason, f"denied: {call.name}", ok=False)
    for ask in parts.before_call:
        if (reason := ask(call)) is not None:
            return ToolResult(reason, f"not run: {call.name}", ok=False)
    return None


def _record(
    call: ToolCall | BadToolCall,
    result: ToolResult,
    session: Session,
    parts: Parts,
    turn: Turn,
    start: float,
    told: str | None = None,
) -> CallEvents:
    """Add a result to the session; `told` is what the tool itself said, if the call ran."""
    before = session.checkpoint
    after = parts.checkpoint(before)
    text, said = result.text, None
    if isinstance(call, ToolCall) and told is not None:
        text += turn.guard.after(call, before, after, told)
    if not result.done:
        text, said = steered(text, parts)
    session.add(Message("tool", text), None, after, finishes=result.done)
    turn.has_failed |= shows_failure(call, result)
    name = call.name if isinstance(call, ToolCall) else ""
    duration_s = time.monotonic() - start
    yield CallEnded(name, result.summary, text, result.ok, result.diff, duration_s)
    if said:
        yield Steered(said)
    if result.done:
        return TurnEnded(StopReason.END_TURN, "")
    limit = parts.config.guard.max_bad_calls
    if num_bad_in_a_row(session.messages) >= limit:
        return TurnEnded(StopReason.REFUSAL, f"{limit} unreadable calls in a row")
    return None
