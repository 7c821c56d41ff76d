"""Which attempts are made at a repair, and which of them is kept.

Attempts are made in rounds until one is green or none is left to make: rounds of one, or of as many
as are made at once (`together.py`). One that mended a part of it is what the next round begins
with: its files, and a fresh conversation about what is still red, which costs the engine no token
of the system message or the tools. When none is green, the one that came nearest is kept for the
patch.
"""

import time
from collections.abc import Generator, Sequence
from dataclasses import replace

from agent.attempts import Attempt, AttemptResult, Start, Task
from agent.budget import tokens_spent
from agent.distance import distance, num_red
from agent.events import Event, Notice, StopReason, TurnEnded
from agent.outcome import FIXED, strongest
from agent.session import Session
from agent.together import Results, make_together, unfinished
from agent.workplace import ATTEMPTS
from inference.chat import ChatModel
from sandbox.base import Cancel
from sandbox.remove import remove_tree

Attempts = Generator[Event, None, AttemptResult]


def make_attempts(
    task: Task, session: Session, chats: Sequence[ChatModel], cancel: Cancel
) -> Attempts:
    """Make attempts until one is green or they are spent; return the one to keep.

    So many are made at once as there are `chats`, which are all the same model.

    Raises:
        RunCancelled: the person stopped it; the session can be resumed.
    """
    best = yield from _best_before(task, session, chats[0], cancel)
    numbers = unfinished(session) or _next(task, session, len(chats))
    while True:
        results = yield from _round(numbers, task, _start(task, best), session, chats, cancel)
        remove_tree(session.folder / ATTEMPTS)
        number = min(results, key=lambda number: distance(results[number], task))
        if best is None or distance(results[number], task) < distance(best, task):
            best = results[number]
            session.record("best", attempt=number, tree=best.judged)
        if best.exit_code == FIXED or _is_spent(task, session):
            return _kept(best, [*results.values()], session.facts["best"]["attempt"])
        yield Notice(_news(results, number))
        numbers = _next(task, session, len(chats))


def _next(task: Task, session: Session, num_lines: int) -> Sequence[int]:
    """Return the numbers of the attempts that come after those that were begun."""
    first = session.num_attempts + 1
    return range(first, min(first + num_lines, task.request.attempts + 1))


def _round(
    numbers: Sequence[int],
    task: Task,
    start: Start,
    session: Session,
    chats: Sequence[ChatModel],
    cancel: Cancel,
) -> Generator[Event, None, Results]:
    """Make these attempts, all from the same start."""
    if len(numbers) > 1:
        return (yield from make_together(numbers, task, start, session, chats, cancel))
    number = numbers[0]
    attempt = Attempt(number, task, start, session, chats[0], cancel)
    return {number: (yield from attempt.run())}


def _start(task: Task, best: AttemptResult | None) -> Start:
    """Begin with the best files so far if they are a part of the repair, else with the user's."""
    ground = task.ground
    if best and best.verdict and num_red(best) < len(ground.targets):
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


def _is_spent(task: Task, session: Session) -> bool:
    return (
        session.num_attempts >= task.request.attempts
        or time.monotonic() >= task.deadline_s
        or tokens_spent(session) >= task.request.config.budget.max_tokens
    )


def _news(results: Results, number: int) -> str:
    """Say that a round was in vain; attempt `number` came nearest in it."""
    sentence = results[number].sentence.rstrip(".")
    if len(results) == 1:
        return f"Attempt {number} did not mend it: {sentence}. Trying again."
    numbers = ", ".join(map(str, results))
    return f"Of attempts {numbers} none mended it, {number} came nearest: {sentence}. Trying again."


def _kept(best: AttemptResult, last: Sequence[AttemptResult], number: int) -> AttemptResult:
    """Return the best attempt, with the reason why no more were made after the `last` ones."""
    if best.exit_code == FIXED or (len(last) == 1 and last[0] is best):
        return best
    sentence = f"{best.sentence.rstrip('.')}; attempt {number} came nearest"
    code = strongest({best.exit_code, *(result.exit_code for result in last)})
    if code != best.exit_code:
        limit = next(result for result in last if result.exit_code == code)
        sentence = f"{limit.sentence.rstrip('.')}; attempt {number} came nearest: {best.sentence}"
    return replace(best, exit_code=code, sentence=sentence)
