"""Generated repositories as tasks, one a seed: what the other suites are for real code."""

import atexit
import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from evals.nano.corpus import Repository, generate
from evals.nano.evaluate import lay_out
from evals.nano.plain_python import make_plain_python
from evals.task import Grade, Place, Task
from sandbox.base import View
from sandbox.choose import choose
from sandbox.limits import Limits
from sandbox.remove import temporary_folder
from tools.file_kinds import is_test
from tools.project import PYTEST, detect_environment
from tools.runners import run_tests_once
from tools.test_report import TestReport

TRAINED_BELOW = 900_000
TESTS_S = 120.0


class NanoSource:
    """The repositories of a range of seeds."""

    suite = "nano"

    def __init__(self, first: int, last: int, num_bugs: int = 1) -> None:
        """Take the seeds from `first` on, `last` not included."""
        self._seeds = range(first, last)
        self._num_bugs = num_bugs

    @classmethod
    def from_spec(cls, values: Mapping[str, Any]) -> "NanoSource":
        """Undo `spec`, once it was read as JSON."""
        return cls(values["first"], values["last"], values["bugs"])

    @property
    def spec(self) -> str:
        """JSON from which another process makes the same source."""
        seeds = self._seeds
        values = {"first": seeds.start, "last": seeds.stop, "bugs": self._num_bugs}
        return json.dumps({"suite": self.suite, **values})

    @property
    def contamination(self) -> str:
        """Say whether nano was trained on these seeds."""
        if self._seeds.start < TRAINED_BELOW:
            return (
                f"nano may have been trained on them: seeds below {TRAINED_BELOW} are not held out."
            )
        return (
            "Held out of nano's training by their seeds, but of the same generator: this measures "
            "toy bugs of the kinds nano was trained on. No other model can have seen them."
        )

    def tasks(self) -> Sequence[Task]:
        """Return one task a seed."""
        return [self._task(seed) for seed in self._seeds]

    def lay_out(self, task: Task, folder: Path) -> Place:
        """Write and commit the repository of a task."""
        folder.mkdir(exist_ok=True)
        lay_out(self._repository(task), folder)
        return Place(folder, python=_python())

    def grade(self, task: Task, place: Place) -> Grade:
        """Run the tests as they were, over the sources as they are: nothing else of it counts."""
        with temporary_folder(place.folder.parent, "grade-") as base:
            clean = base / "project"
            clean.mkdir()
            repository = self._repository(task)
            lay_out(repository, clean)
            for name in filter(_is_source, repository.files):
                _take_over(place.folder / name, clean / name)
            report = _run_tests(clean)
        if not report.parsed:
            return Grade(False, "the tests did not come to a result")
        num_red = len(report.red)
        words = "1 test fails" if num_red == 1 else f"{num_red} tests fail"
        return Grade(report.ok, "all tests pass" if report.ok else words, num_red)

    def _task(self, seed: int) -> Task:
        defects = generate(seed, self._num_bugs).defects
        return Task(
            str(seed), facts={"bug": "+".join(sorted(defect.bug_kind for defect in defects))}
        )

    def _repository(self, task: Task) -> Repository:
        return generate(int(task.id), self._num_bugs)


def _is_source(name: str) -> bool:
    return name.endswith(".py") and not is_test(name)


def _take_over(file: Path, target: Path) -> None:
    """Let the file of the agent stand in for ours; a link or nothing at all is an empty file."""
    if file.is_file() and not file.is_symlink():
        shutil.copyfile(file, target)
    else:
        target.write_text("")


def _run_tests(folder: Path) -> TestReport:
    environment = detect_environment(folder, _python())
    with temporary_folder(folder.parent, "scratch-") as scratch:
        view = View(folder, folder, scratch=scratch)
        return run_tests_once(
            PYTEST, environment, view, choose("bubblewrap"), Limits(wall_s=TESTS_S)
        )


@cache
def _python() -> Path:
    """Make a Python with pytest alone; it is gone when the process is."""
    folder = tempfile.TemporaryDirectory(prefix="plain-python-")
    atexit.register(folder.cleanup)
    return make_plain_python(Path(folder.name))
