"""A suite, a solver and a crew so small that only the runner around them is tested.

A task is to write its own id into a file. What else happens is said by its `does`: the worker may
die once or always, the grader may break, the solver may fail or wait, the task may be none. Every
attempt is noted in a log.
"""

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from agent.settings import Budget
from evals.conditions import Conditions
from evals.crew import LocalCrew, Results
from evals.run_folder import RunFolder, records_of
from evals.runner import MakeCrew, prepared
from evals.solver import Attempt, Line, Spent
from evals.task import Grade, NoTask, Place, Task
from evals.worker import Job, Worker
from inference.chat import Cancel


class Toys:
    """The suite: `does` lists what happens in each task."""

    suite = "toys"
    contamination = "Nobody was trained on these."

    def __init__(self, does: Sequence[str], log: Path) -> None:
        self.does = tuple(does)
        self.log = log

    @property
    def spec(self) -> str:
        return json.dumps({"suite": self.suite, "does": self.does, "log": str(self.log)})

    def tasks(self) -> Sequence[Task]:
        return [
            Task(f"toy-{n}", facts={"does": does, "log": str(self.log)}, secret={"answer": "42"})
            for n, does in enumerate(self.does)
        ]

    def lay_out(self, task: Task, folder: Path) -> Place:
        if task.facts["does"] == "none":
            raise NoTask("there is nothing to write")
        folder.mkdir(exist_ok=True)
        return Place(folder)

    def grade(self, task: Task, place: Place) -> Grade:
        if task.facts["does"] == "break":
            raise RuntimeError("the grader is broken")
        is_solved = (place.folder / "answer").read_text() == task.id
        return Grade(is_solved, "as it should be" if is_solved else "something else")


class ToySolver:
    """Does what a task says."""

    name = "toy"
    is_scripted = False

    def solve(
        self, task: Task, place: Place, budget: Budget, cancel: Cancel
    ) -> tuple[Attempt, tuple[Line, ...]]:
        does, log = task.facts["does"], Path(task.facts["log"])
        num_before = attempts(log).count(task.id)
        with log.open("a") as file:
            file.write(f"{task.id} {os.getpid()}\n")
        assert not task.secret, "only a script may see it"
        if does == "die" or (does == "die once" and num_before == 0):
            os.kill(os.getpid(), signal.SIGKILL)
        if does == "slow":
            time.sleep(0.2)
        while does == "wait" and not log.with_name("go").exists():
            time.sleep(0.02)
        (place.folder / "answer").write_text("nonsense" if does == "fail" else task.id)
        spent = Spent(num_prompt=9, num_reused=4, num_prefilled=5, num_generated=3)
        said = f"<b>I am {task.id}</b>"
        usage = spent.model_dump()
        reply = {"type": "message", "role": "assistant", "content": said, "usage": usage}
        outcome = Attempt(outcome="fixed", patch="+", spent=spent, replies_sha256=task.id)
        return outcome, (reply,)


def attempts(log: Path) -> list[str]:
    """The tasks that were begun, in order."""
    return [line.split()[0] for line in log.read_text().splitlines()] if log.exists() else []


def workers_of(log: Path) -> list[int]:
    """The process of each attempt."""
    return [int(line.split()[1]) for line in log.read_text().splitlines()]


def open_toys(spec: str) -> Toys:
    values = json.loads(spec)
    return Toys(values["does"], Path(values["log"]))


def open_toy_solver(conditions: Conditions) -> ToySolver:
    return ToySolver()


def toy_job(job: Job) -> Job:
    return Job(job.source, job.conditions, job.folder, open_toys, open_toy_solver)


class Here:
    """A crew of this process."""

    def __init__(self, job: Job) -> None:
        self._job = toy_job(job)

    def run(self, tasks: Sequence[Task]) -> Results:
        worker = Worker(self._job)
        for task in tasks:
            yield worker.do(task)


def processes(num: int) -> MakeCrew:
    return lambda job: LocalCrew(toy_job(job), num)


def toy_run(folder: Path, does: Sequence[str], seed: int = 0) -> RunFolder:
    folder.mkdir(exist_ok=True)
    return prepared(Toys(does, folder / "log"), Conditions(seed=seed), folder / "run")


def outcomes(folder: RunFolder) -> dict[str, tuple[bool, str | None, str]]:
    return {record.task: record.outcome for record in records_of(folder)}
