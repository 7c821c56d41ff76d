"""A run from its first task to its last, or from where a kill left it; prints a line a task.

Every task is done once: one that was solved or not is not tried again. One whose worker died, and
when a run is gone on with one that failed for its environment, is begun anew: nothing is known of
the solver by it. Who does the work is a `Crew`.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from agent.errors import UsageError
from evals.conditions import Conditions, digest_of
from evals.crew import Crew, LocalCrew
from evals.records import Head, Record, versions
from evals.report.words import line_of
from evals.run_folder import RunFolder, check_free, create, find, tasks_of
from evals.task import TaskSource
from evals.worker import Job

Say = Callable[[str], None]
MakeCrew = Callable[[Job], Crew]


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    num_done: int
    num_tasks: int
    num_solved: int
    left_s: float
    """About."""

    @property
    def words(self) -> str:
        """The same in a few words."""
        left = f", about {_minutes(self.left_s)} left" if self.num_done < self.num_tasks else ""
        return f"{self.num_done}/{self.num_tasks} done, {self.num_solved} solved{left}"


def local(num: int) -> MakeCrew:
    """Return what makes a crew of processes of this machine."""
    return lambda job: LocalCrew(job, num)


def prepared(source: TaskSource, conditions: Conditions, out: Path) -> RunFolder:
    """Begin a run in a folder, or find the same run there.

    Raises:
        UsageError: another run is there, or one made with other versions, or something else.
    """
    folder = find(out)
    if folder is None:
        check_free(out)
        tasks = source.tasks()
        if not tasks:
            raise UsageError(f"the suite {source.suite} has no task")
        return create(out, Head.of(source, len(tasks), conditions), tasks)
    if folder.head.config_sha256 != digest_of(source.spec, conditions):
        raise UsageError(f"{out} holds a run of other tasks or conditions; name another folder")
    changed = sorted(set(folder.head.versions.items()) ^ set(versions().items()))
    if changed:
        name = changed[0][0]
        raise UsageError(f"{out} was begun with another version of {name}; name another folder")
    return folder


def run(folder: RunFolder, make_crew: MakeCrew, say: Say = print) -> tuple[Record, ...]:
    """Do what is left of a run; return all of its records, in the order of the suite.

    Raises:
        UsageError: another runner has the folder.
        CrewFailed: no worker can begin.
    """
    tasks = tasks_of(folder)
    with folder.opened() as kept:
        records = {record.task: record for record in kept if record.failure != "environment"}
        left = [task for task in tasks if task.id not in records]
        if kept:
            say(f"{len(records)} of {len(tasks)} tasks are done already.")
        work = folder.work.absolute()
        crew = make_crew(Job(folder.head.source, folder.head.conditions, work))
        started = time.monotonic()
        with closing(crew.run(left)) as results:
            for number, done in enumerate(results, 1):
                folder.add(done)
                records[done.record.task] = done.record
                spent_s = time.monotonic() - started
                progress = _progress(list(records.values()), len(tasks), spent_s / number)
                say(f"{line_of(done.record)}  [{progress.words}]")
    return tuple(records[task.id] for task in tasks)


def _progress(records: Sequence[Record], num_tasks: int, seconds_a_task: float) -> Progress:
    num_left = num_tasks - len(records)
    num_solved = sum(record.is_solved for record in records)
    return Progress(len(records), num_tasks, num_solved, num_left * seconds_a_task)


def _minutes(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
