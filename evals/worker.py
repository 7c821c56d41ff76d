"""One task from its layout to its grade, alone in a folder of its own; knows no other task.

A worker opens the source and the model of a run once. It may live in this process, in another one
(`crew.py`) or on another machine (`ray_crew.py`): what goes in is a `Task`, what comes out is a
`Done`, and both travel as they are.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from evals.conditions import Conditions
from evals.failures import failure_of
from evals.records import Record
from evals.solver import Attempt, Line, Solver
from evals.solvers import open_solver
from evals.task import Grade, NoTask, Task, TaskSource
from sandbox.base import never
from sandbox.remove import remove_tree


def open_source(spec: str) -> TaskSource:
    """Make the source that has this spec."""
    from evals.tasks.registry import open_source as open_registered  # all suites: seconds

    return open_registered(spec)


@dataclass(frozen=True)
class Job:
    """What every worker of a run is told."""

    source: str
    """The spec of the tasks' source."""
    conditions: Conditions
    folder: Path | None = None
    """Where tasks are laid out; None for a temporary folder of the machine."""
    open_source: Callable[[str], TaskSource] = open_source
    open_solver: Callable[[Conditions], Solver] = open_solver


@dataclass(frozen=True)
class Done:
    """A task that needs no more work."""

    record: Record
    trajectory: tuple[Line, ...]


class Worker:
    """Does tasks one by one; whoever wants it to stop ends its process."""

    def __init__(self, job: Job) -> None:
        """Open what all tasks share.

        Raises:
            ModelUnavailable: the model cannot be had.
            UsageError: the source cannot be.
        """
        self._job = job
        self._source = job.open_source(job.source)
        self._solver = job.open_solver(job.conditions)

    def do(self, task: Task) -> Done:
        """Lay a task out, let the solver at it, and grade what it left; nothing is tried again."""
        base = Path(tempfile.mkdtemp(prefix="task-", dir=self._job.folder))
        try:
            attempt, lines, grade = self._attempt(task, base)
        finally:
            remove_tree(base)
        failure = failure_of(attempt, grade)
        record = Record(
            task=task.id, facts=dict(task.facts), grade=grade, attempt=attempt, failure=failure
        )
        return Done(record, lines)

    def _attempt(self, task: Task, base: Path) -> tuple[Attempt, tuple[Line, ...], Grade]:
        """Return what was done and what it is worth.

        The boundary of a run: a task that breaks a source or a grader costs itself alone.
        """
        attempt = Attempt(outcome="error", sentence="it was not begun")
        lines: tuple[Line, ...] = ()
        # One name for all: the path is no part of what the model reads, but it may show.
        folder = base / "project"
        folder.mkdir()
        budget = self._job.conditions.budget
        shown = task if self._solver.is_scripted else replace(task, secret={})
        try:
            place = self._source.lay_out(task, folder)
            attempt, lines = self._solver.solve(shown, place, budget, never)
            return attempt, lines, self._source.grade(task, place)
        except NoTask as error:
            return attempt, lines, Grade(False, str(error), is_broken=True)
        except Exception as error:
            return attempt, lines, Grade(False, f"{type(error).__name__}: {error}", is_broken=True)


def given_up(task: Task, num_lost: int) -> Done:
    """Say of a task that its worker died each time."""
    sentence = f"its worker died {num_lost} times"
    grade = Grade(False, sentence, is_broken=True)
    attempt = Attempt(outcome="error", sentence=sentence)
    record = Record(
        task=task.id, facts=dict(task.facts), grade=grade, attempt=attempt, failure="environment"
    )
    return Done(record, ())
