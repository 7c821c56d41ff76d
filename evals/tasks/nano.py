"""The suite `nano`: the small generated repositories that the bundled model was trained for."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.nano.corpus import HELD_OUT, Repository, generate
from evals.nano.evaluate import lay_out
from evals.numbers import seeds
from evals.task import Grade, Place, Task
from evals.tasks.cache import plain_python
from evals.tasks.grading import grade_left
from evals.tasks.repository import patch_of

SEEDS = range(HELD_OUT, HELD_OUT + 100)
"""Where nobody names others."""


@dataclass(frozen=True)
class NanoTasks:
    """One repository a seed."""

    seeds: range = SEEDS
    num_bugs: int = 1
    """Of every repository."""

    @property
    def suite(self) -> str:
        """What people call it."""
        return "nano"

    @property
    def spec(self) -> str:
        """JSON from which another process makes the same source."""
        seeds = [self.seeds.start, self.seeds.stop]
        return json.dumps({"suite": self.suite, "seeds": seeds, "num_bugs": self.num_bugs})

    @property
    def contamination(self) -> str:
        """Whether a model may have seen the tasks."""
        return (
            "Generated from seeds: nano was trained on others of the same generator, and those "
            "from 900000 on were held out. No other model has seen these repositories as a set; "
            "their functions are of the most common kind."
        )

    def tasks(self) -> Sequence[Task]:
        """Return a task a seed."""
        return [_task(generate(seed, self.num_bugs)) for seed in self.seeds]

    def lay_out(self, task: Task, folder: Path) -> Place:
        """Generate the repository of a task."""
        folder.mkdir(exist_ok=True)
        lay_out(generate(int(task.id), self.num_bugs), folder)
        return Place(folder, python=plain_python())

    def grade(self, task: Task, place: Place) -> Grade:
        """Run the tests on a clean copy."""
        return grade_left(place.folder, lambda folder: self.lay_out(task, folder))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this suite can be told."""
    parser.add_argument(
        "--seeds", type=seeds, default=SEEDS, metavar="A:B",
        help="first and one past the last; from 900000 on they are held out of training",
    )  # fmt: skip
    parser.add_argument(
        "--bugs", type=int, choices=(1, 2, 3), default=1, help="of every repository (default 1)"
    )


def from_arguments(arguments: argparse.Namespace) -> NanoTasks:
    """Open the suite for a person."""
    return NanoTasks(arguments.seeds, arguments.bugs)


def from_spec(spec: str) -> NanoTasks:
    """Open it again elsewhere."""
    values = json.loads(spec)
    return NanoTasks(range(*values["seeds"]), values["num_bugs"])


def _task(repository: Repository) -> Task:
    texts = dict(repository.files)
    for defect in repository.defects:
        repair = defect.repair
        texts[repair.path] = texts[repair.path].replace(repair.old_str, repair.new_str, 1)
    patches = [
        patch_of(path, repository.files[path], text)
        for path, text in texts.items()
        if text != repository.files[path]
    ]
    kinds = "+".join(defect.bug_kind for defect in repository.defects)
    facts = {"kind": kinds, "file": "+".join(defect.repair.path for defect in repository.defects)}
    return Task(str(repository.seed), facts=facts, secret={"patch": "".join(patches)})
