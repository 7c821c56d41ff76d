"""Says when a turn has used what it may; counts nothing that the session does not know."""

import time

from agent.events import StopReason, TurnEnded
from agent.parts import Parts
from agent.session import Session
from sandbox.base import Cancel


def tokens_spent(session: Session) -> int:
    """Return how many tokens were computed in this run: prefilled or generated."""
    return sum(usage.num_prefilled + usage.num_generated for usage in session.usages)


def spent(session: Session, parts: Parts) -> TurnEnded | None:
    """Say which budget is spent, if one is."""
    budget = parts.config.budget
    if time.monotonic() >= parts.deadline_s:
        return _out_of_time(parts)
    if session.num_steps >= budget.max_steps:
        return TurnEnded(StopReason.MAX_TURN_REQUESTS, f"{budget.max_steps} replies are spent")
    if session.num_calls >= budget.max_calls:
        return TurnEnded(StopReason.MAX_TURN_REQUESTS, f"{budget.max_calls} calls are spent")
    if tokens_spent(session) >= budget.max_tokens:
        return TurnEnded(StopReason.MAX_TOKENS, f"{budget.max_tokens} tokens are spent")
    return None


def until_spent(parts: Parts, cancel: Cancel) -> Cancel:
    """Stop for the person, and when the time is spent."""
    return lambda: cancel() or time.monotonic() >= parts.deadline_s


def interrupted(parts: Parts, cancel: Cancel) -> TurnEnded:
    """Tell a person's stop from the end of the time."""
    return TurnEnded(StopReason.CANCELLED, "cancelled") if cancel() else _out_of_time(parts)


def _out_of_time(parts: Parts) -> TurnEnded:
    seconds = parts.config.budget.max_time_s
    return TurnEnded(StopReason.MAX_TURN_REQUESTS, f"{seconds:g} seconds are spent")
