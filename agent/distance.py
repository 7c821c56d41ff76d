"""How far an attempt is from a repair; of two, the nearer one is kept."""

import math

from agent.attempts import AttemptResult, Task
from agent.outcome import FIXED


def distance(result: AttemptResult, task: Task) -> tuple[bool, float, int]:
    """Say how far an attempt is from a repair: green first, then what is red, then its size."""
    return (result.exit_code != FIXED, num_red(result), _num_lines(result, task))


def num_red(result: AttemptResult) -> float:
    """Count the tests that are yet to become green; what was not judged is farthest."""
    verdict = result.verdict
    return len(verdict.still_red | verdict.turned_red) if verdict else math.inf


def _num_lines(result: AttemptResult, task: Task) -> int:
    """Count the lines of a patch that add or remove one."""
    patch = task.place.checkpoint.diff(task.place.base, result.final)
    lines = patch.split("\n")
    return sum(line.startswith(("+", "-")) and line[:3] not in ("+++", "---") for line in lines)
