"""Which attempts are made at a repair, and which of them is kept.

Attempts are made one after the other until one is green or none is left to make. One that mended
a part of it is what the next begins with: its files, and a fresh conversation about what is still
red, which costs the engine no token of the system message or the tools. When none is green, the
one that came nearest is kept for the patch.
"""

import math
import time
from collections.abc import Generator
from dataclasses import replace

from agent.attempts import Attempt, AttemptResult, Start, Task
from agent.budget import tokens_spent
from agent.events import Event, Notice, StopReason, TurnEnded
from agent.outcome import FIXED, strongest
from agent.session import Session
from agent.workplace import ATTEMPTS
from inference.chat import ChatModel
from sandbox.base import Cancel
from sandbox.remove import remove_tree

Attempts = Generator[Event, None, AttemptResult]


def make_attempts(task: Task, session: Session, chat: ChatModel, cancel: Cancel) -> Attempts:
    """Make attempts until one is green or they are spent; return the one to keep.

    Raises:
        RunCancelled: the person stopped it; the session can be resumed.
    """
    number = max(1, session.attempt)
    best = yield from _best_before(task, session, chat, cancel)
    while True:
        attempt = Attempt(number, task, _start(task, best), session, chat, cancel)
        last = yield from attempt.run()
        remove_tree(session.folder / ATTEMPTS)
        if best is None or distance(last, task) < distance(best, task):
            best = last
            session.record("best", attempt=number, tree=last.judged)
        if last.exit_code == FIXED or _is_spent(number, task, session):
            return _kept(best, last, session.facts["best"]["attempt"])
        yield Notice(
            f"Attempt {number} did not mend it: {last.sentence.rstrip('.')}. Trying again."
        )
        number += 1


def distance(result: AttemptResult, task: Task) -> tuple[bool, float, int]:
    """Say how far an attempt is from a repair: green first, then what is red, then its size."""
    return (result.exit_code != FIXED, _num_red(result), _num_lines(result, task))


def _num_red(result: AttemptResult) -> float:
    """Count the tests that are yet to become green; what was not judged is farthest."""
    verdict = result.verdict
    return len(verdict.still_red | verdict.turned_red) if verdict else math.inf


def _num_lines(result: AttemptResult, task: Task) -> int:
    """Count the lines of a patch that add or remove one."""
    patch = task.place.checkpoint.diff(task.place.base, result.final)
    lines = patch.split("\n")
    return sum(line.startswith(("+", "-")) and line[:3] not in ("+++", "---") for line in lines)


def _start(task: Task, best: AttemptResult | None) -> Start:
    """Begin with the best files so far if they are a part of the repair, else with the user's."""
    ground = task.ground
    if best and best.verdict and _num_red(best) < len(ground.targets):
        return Start(best.judged, best.verdict.report)
    return Start(task.place.base, ground.before)


def _best_before(
    task: Task, session: Session, chat: ChatModel, cancel: Cancel
) -> Generator[Event, None, AttemptResult | None]:
    """Judge again what an earlier process found to be the best; None if there is nothing."""
    best = session.facts.get("best", {})
    if not best.get("tree") or not task.ground.targets:
        return None
    start = Start(best["tree"], task.ground.before)
    attempt = Attempt(best["attempt"], task, start, session, chat, cancel)
    return (yield from attempt.judge_again(TurnEnded(StopReason.END_TURN, "")))


def _is_spent(number: int, task: Task, session: Session) -> bool:
    return (
        number >= task.request.attempts
        or time.monotonic() >= task.deadline_s
        or tokens_spent(session) >= task.request.config.budget.max_tokens
    )


def _kept(best: AttemptResult, last: AttemptResult, number: int) -> AttemptResult:
    """Return the best attempt, with the reason why no more were made."""
    if best is last:
        return best
    sentence = f"{best.sentence.rstrip('.')}; attempt {number} came nearest"
    code = strongest({best.exit_code, last.exit_code})
    if code != best.exit_code:
        sentence = f"{last.sentence.rstrip('.')}; attempt {number} came nearest: {best.sentence}"
    return replace(best, exit_code=code, sentence=sentence)
