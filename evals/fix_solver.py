"""The agent as a solver: `fix` itself on the folder of a task, with a model that is loaded once.

Nothing of the user's own settings, skills or saved states takes part: only what a run's conditions
say may change what comes of it.
"""

import os
from collections.abc import Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.compose import load_chat
from agent.errors import UsageError
from agent.events import Event
from agent.fix import run_fix
from agent.journal import read
from agent.models import NANO
from agent.outcome import FixOutcome
from agent.request import FixRequest
from agent.session import JOURNAL
from agent.settings import (
    ApprovalConfig,
    Budget,
    CacheConfig,
    Config,
    ModelConfig,
    VerifyConfig,
)
from evals.conditions import Conditions
from evals.nano.evaluate import MAX_NEW_TOKENS
from evals.solver import Attempt, Line
from evals.task import Place, Task
from evals.tasks.repository import run_git
from evals.trajectory import (
    digest_of_replies,
    ended_by,
    lines_of,
    longest,
    num_bad_calls,
    spent_of,
)
from inference.chat import Cancel, ChatModel

EDITOR = "str_replace_editor"


class FixSolver:
    """Runs `fix` with one model under one set of conditions."""

    is_scripted = False

    def __init__(self, chat: ChatModel, conditions: Conditions) -> None:
        self.name = chat.name
        self._chat = chat
        self._conditions = conditions

    def solve(
        self, task: Task, place: Place, budget: Budget, cancel: Cancel
    ) -> tuple[Attempt, tuple[Line, ...]]:
        """Repair the folder; what the agent left is there afterwards, judged good by it or not."""
        with TemporaryDirectory(prefix="state-", dir=place.folder.parent) as folder:
            state = Path(folder)
            events = run_fix(
                request_for(task, place, self._conditions, budget),
                cancel,
                chat_factory=lambda _request: self._chat,
                state=state,
            )
            outcome = _to_the_end(events)
            kept = state / "sessions" / outcome.session_id
            lines = tuple(lines_of(read(kept / JOURNAL))) if outcome.session_id else ()
            if outcome.patch_file and not outcome.applied:
                _apply(Path(outcome.patch_file), place.folder)
        return _attempt(outcome, lines), lines


def open_fix_solver(conditions: Conditions) -> FixSolver:
    """Load the model of a run; whoever asks for a large one again shares the weights of the first.

    The process is a worker's own from here on: the user's skills are out of its reach.

    Raises:
        ModelUnavailable: it cannot be had.
    """
    os.environ["XDG_CONFIG_HOME"] = os.devnull
    request = FixRequest(
        Path(), model=conditions.model, reuse=conditions.reuse, config=config_for(conditions)
    )
    chat = load_chat(request)
    if conditions.model == NANO:
        import torch

        # It is loaded in every worker; sums in another order would be another result.
        torch.set_num_threads(1)
    return FixSolver(chat, conditions)


def request_for(task: Task, place: Place, conditions: Conditions, budget: Budget) -> FixRequest:
    """Ask for the repair of a task as a person would."""
    return FixRequest(
        path=place.folder,
        issue=task.issue,
        test_command=place.test_command,
        model=conditions.model,
        attempts=conditions.attempts,
        temperature=conditions.temperature,
        seed=conditions.seed,
        python=place.python,
        reuse=conditions.reuse,
        config=replace(config_for(conditions), budget=budget),
    )


def config_for(conditions: Conditions) -> Config:
    """Return the agent's settings under the conditions of a run; all others are defaults."""
    is_on = conditions.verify
    model = ModelConfig(
        name=conditions.model,
        thinking=conditions.thinking,
        thinking_tokens=conditions.thinking_tokens,
        thinking_tokens_after_failure=4 * conditions.thinking_tokens,
        editor="plain" if conditions.editor == "plain" else "full",
    )
    if conditions.model == NANO:
        model = replace(model, max_new_tokens=MAX_NEW_TOKENS)
    return Config(
        model=model,
        approval=ApprovalConfig(denied_tools=(EDITOR,) if conditions.editor == "none" else ()),
        verify=VerifyConfig(syntax=is_on, tests=is_on, finish_tests=is_on, finish_todo=is_on),
        cache=CacheConfig(disk_gib=0),  # what an earlier run read must not shorten this one
    )


def _apply(patch: Path, folder: Path) -> None:
    """Bring what the agent left into the folder, though it did not itself judge it good.

    git refuses a patch that leads out of the folder or into `.git`; what it refuses is not graded.
    """
    with suppress(UsageError):
        run_git(folder, "apply", "--binary", "--whitespace=nowarn", str(patch))


def _to_the_end(events: Generator[Event, None, FixOutcome]) -> FixOutcome:
    while True:
        try:
            next(events)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome


def _attempt(outcome: FixOutcome, lines: tuple[Line, ...]) -> Attempt:
    return Attempt(
        outcome=outcome.word,
        sentence=outcome.sentence,
        num_attempts=outcome.num_attempts,
        num_turns=outcome.num_steps,
        num_calls=outcome.num_calls,
        num_bad_calls=num_bad_calls(lines),
        context_tokens=longest(lines),
        spent=spent_of(lines),
        seconds=round(outcome.duration_s, 3),
        changed_files=outcome.changed_files,
        patch=outcome.patch,
        ended_by=ended_by(lines),
        replies_sha256=digest_of_replies(lines),
    )
