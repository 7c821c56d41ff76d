"""Why a task was not solved, as far as the attempt and the grade tell; guesses nothing beyond."""

from agent.outcome import BUDGET, CANCELLED, DENIED, ERROR, NO_MODEL, USAGE, WORDS
from evals.solver import Attempt
from evals.task import FailureClass, Grade

NOT_ITS_FAULT = tuple(WORDS[code] for code in (ERROR, USAGE, DENIED, NO_MODEL, CANCELLED))
"""Outcomes after which nothing is known of what the model can do."""
LOOP_WORDS = ("the model repeats", "the model reads the same again")
"""How the sentences begin with which the agent ends a turn that goes in circles."""
MALFORMED_WORDS = "unreadable calls in a row"


def failure_of(attempt: Attempt, grade: Grade) -> FailureClass | None:
    """Return the class of a failure, the nearest to its cause first; None of a solved task."""
    if grade.is_solved:
        return None
    if grade.is_broken or attempt.outcome in NOT_ITS_FAULT:
        return "environment"
    if grade.is_elsewhere:
        return "graded elsewhere"
    if MALFORMED_WORDS in attempt.ended_by:
        return "malformed call"
    if attempt.ended_by.startswith(LOOP_WORDS):
        return "loop"
    if attempt.outcome == WORDS[BUDGET]:
        return "budget"
    return "wrong logic" if attempt.patch else "no edit"
