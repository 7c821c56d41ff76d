"""Says when a turn has used what it may; counts nothing that the session does not know."""

import time

from agent.events import StopReason, TurnEnded
from agent.session import Session
from agent.settings import Budget
from agent.turn import Turn


def tokens_spent(session: Session) -> int:
    """Return how many tokens were computed in this run: prefilled or generated."""
    return sum(usage.num_prefilled + usage.num_generated for usage in session.costs)


def tokens_left(turn: Turn) -> int:
    """Return how long a reply may still be; one token is always left to end it.

    Attempts that are made at once may all be writing, so each has a share.
    """
    left = turn.parts.config.budget.max_tokens - tokens_spent(turn.session)
    return max(1, left // max(1, len(turn.session.beside)))


def spent(turn: Turn) -> TurnEnded | None:
    """Say which budget is spent, if one is."""
    budget, session = turn.parts.config.budget, turn.session
    if time.monotonic() >= turn.parts.deadline_s:
        return _out_of_time(budget)
    if turn.num_steps >= budget.max_steps:
        return TurnEnded(
            StopReason.MAX_TURN_REQUESTS, _all_of(budget.max_steps, "reply", "replies")
        )
    if turn.num_calls >= budget.max_calls:
        return TurnEnded(StopReason.MAX_TURN_REQUESTS, _all_of(budget.max_calls, "call", "calls"))
    if tokens_spent(session) >= budget.max_tokens:
        return TurnEnded(StopReason.MAX_TOKENS, _all_of(budget.max_tokens, "token", "tokens"))
    return None


def _all_of(number: int, one: str, many: str) -> str:
    return f"1 {one} is spent" if number == 1 else f"{number} {many} are spent"


def interrupted(turn: Turn) -> TurnEnded:
    """Tell a person's stop from the end of the time."""
    if turn.cancel():
        return TurnEnded(StopReason.CANCELLED, "cancelled")
    return _out_of_time(turn.parts.config.budget)


def _out_of_time(budget: Budget) -> TurnEnded:
    sentence = f"{budget.max_time_s:g} seconds are spent"
    return TurnEnded(StopReason.MAX_TURN_REQUESTS, sentence)
