"""One call of the model: whether it runs, what is added to its result, what is recorded of it.

The guard is asked first, then the settings, then whoever joined in `Parts.before_call`. What ran
passes through `Parts.after_call`. Where a person stops the call alone, the model is told so. That a
call begins is recorded before it runs, and its result after the files are saved. Whoever resumes
runs a call that was begun again only if it looks and does no more, or is an edit that has not
happened; any other is answered as interrupted.
"""

import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import replace

from agent.approval import READING_TOOLS, Denied
from agent.call_words import answer_to_bad, kind_of_bad
from agent.errors import RunCancelled
from agent.events import CallEnded, CallStarted, Event, Steered, StopReason, TurnEnded
from agent.guard import REFUSAL, Ruling, Step
from agent.rules import EDITOR, changes_file
from agent.session import Session
from agent.steering import steered
from agent.thinking import shows_failure
from agent.turn import Turn
from agent.wording import prompt
from inference.messages import BadToolCall, Message, ToolCall
from tools.base import ToolResult

Call = ToolCall | BadToolCall
TESTS = "run_tests"
"""Run at every start, so that running them again is nothing new."""


def pending_calls(messages: Sequence[Message]) -> tuple[Call, ...]:
    """Return the calls of the last reply that have no result yet."""
    for num_results, message in enumerate(reversed(messages)):
        if message.role == "assistant":
            return message.tool_calls[num_results:]
        if message.role != "tool":
            break
    return ()


def answer_pending(session: Session, save: Callable[[], str]) -> tuple[Call, ...]:
    """Answer the calls that were left open, if there are any, and return them.

    `save` makes a checkpoint of the files, as one of the calls may have changed them.
    """
    pending = pending_calls(session.messages)
    if pending:
        now = save()
        for _ in pending:
            session.add(Message("tool", prompt("stopped"), failed=True), checkpoint=now)
    return pending


def carry_out(call: Call, turn: Turn) -> Generator[Event, None, TurnEnded | None]:
    """Run one call and add its result to the session; say why if the turn ends with it."""
    yield CallStarted(call)
    start = time.monotonic()
    ruling, told = Ruling(Step.RUN), None
    if isinstance(call, BadToolCall):
        text = answer_to_bad(call, turn.parts.chat)
        result = ToolResult(text, kind_of_bad(call), ok=False)
    elif turn.session.is_call_begun and not _is_repeatable(call, turn):
        result = ToolResult(prompt("interrupted"), "interrupted, not run again", ok=False)
    else:
        ruling = turn.guard.before(call, turn.session.checkpoint)
        if ruling.step is Step.RUN:
            try:
                approved = _approved(call, turn)
                start = time.monotonic()  # how long a person thought is not the call's time
                result, told = _run(approved, turn)
            except RunCancelled:
                return TurnEnded(StopReason.CANCELLED, "cancelled")
            if turn.cancel() and isinstance(approved, ToolCall):  # a refusal is kept as it is
                return TurnEnded(StopReason.CANCELLED, "cancelled")
        else:
            result = ToolResult(REFUSAL, "not run: the same call again", ok=False)
    text, said = _record(call, result, told, turn)
    name = call.name if isinstance(call, ToolCall) else ""
    duration_s = time.monotonic() - start
    yield CallEnded(name, result.summary, text, result.ok, result.diff, duration_s)
    if said:
        yield Steered(said)
    return _ended(turn, ruling, result)


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


def _is_repeatable(call: ToolCall, turn: Turn) -> bool:
    """Say whether a call that was begun can be run again unasked: nothing would happen twice."""
    if changes_file(call):
        before = turn.session.checkpoint
        return turn.parts.checkpoint(before) == before
    return call.name in (TESTS, EDITOR) or call.name in READING_TOOLS


def _run(call: ToolCall | ToolResult, turn: Turn) -> tuple[ToolResult, str]:
    """Return the result of a call, and what the tool or whoever refused it said of it alone."""
    if isinstance(call, ToolResult):
        return call, call.text
    turn.session.begin_call(call.name)
    with turn.parts.in_hand.hold(turn.stops) as stops:
        result = turn.parts.tools.call(call.name, call.arguments, stops)
        told, done = result.text, result.summary if result.ok else ""
        for add in turn.parts.after_call:
            result = add(call, result, stops)
        if stops() and not turn.stops():
            text = f"{result.text}\n{prompt('stopped_call')}"
            result = replace(result, text=text, summary=_stopped(done), ok=False)
    return result, told


def _stopped(done: str) -> str:
    """Say that a call was stopped; `done` is what its tool had done by then, all of it."""
    return f"{done}; what follows it was stopped by you" if done else "stopped by you"


def _approved(call: ToolCall, turn: Turn) -> ToolCall | ToolResult:
    """Return the call to run, or no, if the settings or somebody who was asked says so."""
    if not turn.parts.tools.takes(call.name, call.arguments):
        return call  # it fails without doing anything, and nobody is asked about it
    approved = turn.parts.approve(call)
    if isinstance(approved, Denied):
        turn.session.record("denied", tool=call.name, unanswered=approved.unanswered)
        return ToolResult(approved.reason, f"denied: {call.name}", ok=False)
    for ask in turn.parts.before_call:
        if (reason := ask(approved, turn.stops)) is not None:
            return ToolResult(reason, f"not run: {call.name}", ok=False)
    return approved


def _record(call: Call, result: ToolResult, told: str | None, turn: Turn) -> tuple[str, str | None]:
    """Add a result to the session; return what the model is told, and what the person said.

    `told` is what the tool itself said: what others added to it does not make a call a new one.
    """
    session, text, said = turn.session, result.text, None
    before, after = session.checkpoint, turn.parts.checkpoint(session.checkpoint)
    if isinstance(call, ToolCall) and told is not None:
        note = turn.guard.after(call, before, after, told)
        text += "" if result.done else note
    if not result.done:
        text, said = steered(text, turn.parts)
    message = Message("tool", text, failed=not result.ok)
    session.add(message, None, after, finishes=result.done)
    turn.has_failed |= shows_failure(call, result)
    return text, said


def _ended(turn: Turn, ruling: Ruling, result: ToolResult) -> TurnEnded | None:
    """Say why the turn ends with a call, if it does."""
    if ruling.step is Step.STOP:
        return TurnEnded(StopReason.REFUSAL, ruling.reason)
    if result.done:
        return TurnEnded(StopReason.END_TURN, "")
    limit = turn.parts.config.guard.max_bad_calls
    if num_bad_in_a_row(turn.session.messages) >= limit:
        return TurnEnded(StopReason.REFUSAL, f"{limit} unreadable calls in a row")
    return TurnEnded(StopReason.CANCELLED, "cancelled") if turn.cancel() else None
