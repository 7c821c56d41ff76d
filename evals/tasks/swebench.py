"""The suite `swebench`: instances in the form of SWE-bench, from a JSONL file and repositories.

The official grader runs each instance in its own container; ours runs the tests that an instance
names in the sandbox, with the interpreter it is given, and reads pytest's ids. `predictions` writes
what the official one takes. Hidden tests are applied to grade, and to see beforehand whether the
instance is a task here.
"""

import argparse
import hashlib
import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from agent.errors import UsageError
from evals.task import Grade, Place, Task
from evals.tasks.cache import plain_python
from evals.tasks.grading import Terms, check_task, grade_left
from evals.tasks.repository import apply_patch, commit_all, export, paths_in
from tools.project import PYTEST
from tools.test_report import TestCase, TestReport

CONTAMINATION = (
    "SWE-bench's repositories, issues and repairs are public, and older than most models: a repair "
    "may be memory. Instances that a person made of code that is not public are as new as that."
)
ELSEWHERE = (
    "Its tests are not named as pytest names them: the official grader has to run them, "
    "which takes predictions.jsonl."
)


def _listed(value: object) -> object:
    """The data set holds lists as text."""
    return json.loads(value) if isinstance(value, str) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Instance(BaseModel):
    """One line of the data set; fields that we do not use are left."""

    model_config = ConfigDict(frozen=True)

    instance_id: str
    repo: str = Field(pattern=r"^[\w-][\w.-]*/[\w-][\w.-]*$")
    base_commit: str
    problem_statement: str
    test_patch: str
    FAIL_TO_PASS: Names
    PASS_TO_PASS: Names
    patch: str = ""
    version: str = ""
    environment_setup_commit: str = ""
    hints_text: str = ""
    created_at: str = ""

    def to_line(self) -> str:
        """Write it in the official form."""
        values = self.model_dump()
        for key in ("FAIL_TO_PASS", "PASS_TO_PASS"):
            values[key] = json.dumps(values[key])
        return json.dumps(values)

    @property
    def report(self) -> TestReport:
        """What the tests say before a repair."""
        red = [TestCase(name, "failed") for name in self.FAIL_TO_PASS]
        green = [TestCase(name, "passed") for name in self.PASS_TO_PASS]
        return TestReport((), 1, (*red, *green), "", False, 0.0, parsed=True)

    @property
    def has_ids_of_pytest(self) -> bool:
        """Whether our own grader can tell its tests apart; else only the official one can."""
        return all("::" in name for name in (*self.FAIL_TO_PASS, *self.PASS_TO_PASS))

    @property
    def test_files(self) -> tuple[str, ...]:
        """The files of the tests that count."""
        names = (name.partition("::")[0] for name in (*self.FAIL_TO_PASS, *self.PASS_TO_PASS))
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class SwebenchTasks:
    """The instances of a file."""

    file: Path
    repositories: Path
    """A folder with a clone or a bundle of each."""
    python: str = ""
    """The interpreter for the tests; `{repo}`, `{version}` and `{instance_id}` are filled in."""
    command: tuple[str, ...] = PYTEST

    @property
    def suite(self) -> str:
        """What people call it."""
        return f"swebench {self.file.stem}"

    @property
    def spec(self) -> str:
        """JSON from which another process makes the same source, where it has the files too.

        It names the content of the file: what has changed is another source.
        """
        return json.dumps(
            {
                "suite": "swebench",
                "file": str(self.file),
                "content": hashlib.sha256(self.file.read_bytes()).hexdigest(),
                "repositories": str(self.repositories),
                "python": self.python,
                "command": self.command,
            }
        )

    @property
    def contamination(self) -> str:
        """Whether a model may have seen the tasks."""
        return CONTAMINATION

    def tasks(self) -> Sequence[Task]:
        """Return the instances, in the order of the file.

        Raises:
            UsageError: a line is no instance, or a repository is missing.
        """
        instances = read_instances(self.file)
        for instance in instances:
            self._repository(instance.repo)
        return [_task(instance) for instance in instances]

    def lay_out(self, task: Task, folder: Path) -> Place:
        """Write the repository at the base commit.

        Raises:
            NoTask: its tests do not say of that commit what the instance says.
        """
        if (instance := _instance(task)).has_ids_of_pytest:
            check_task(lambda original: self._with_tests(instance, original), instance.report)
        place = self._written(instance, folder)
        commit_all(folder)
        return place

    def grade(self, task: Task, place: Place) -> Grade:
        """Apply the hidden tests to a clean copy; what is to pass must, and what passed still."""
        instance = _instance(task)
        if not instance.has_ids_of_pytest:
            return Grade(False, ELSEWHERE, is_elsewhere=True)

        hidden = paths_in(instance.test_patch)
        terms = Terms(before=instance.report, targets=instance.FAIL_TO_PASS, hidden=hidden)
        return grade_left(
            place.folder, lambda original: self._with_tests(instance, original), terms
        )

    def _with_tests(self, instance: Instance, folder: Path) -> Place:
        """Write the original with its hidden tests."""
        original = self._written(instance, folder)
        commit_all(folder)
        apply_patch(folder, instance.test_patch)
        return Place(folder, (*self.command, *instance.test_files), original.python)

    def _written(self, instance: Instance, folder: Path) -> Place:
        folder.mkdir(exist_ok=True)
        export(self._repository(instance.repo), instance.base_commit, folder)
        return Place(folder, python=self._python(instance))

    def _repository(self, name: str) -> Path:
        """Find the clone or bundle of `owner/name`."""
        flat = name.replace("/", "__")
        names = (flat, name, name.rpartition("/")[2], f"{flat}.git", f"{flat}.bundle")
        found = [self.repositories / one for one in names if (self.repositories / one).exists()]
        if not found:
            raise UsageError(f"{self.repositories} has no {flat}, neither a clone nor a .bundle")
        return found[0]

    def _python(self, instance: Instance) -> Path:
        if not self.python:
            return plain_python()
        repo = instance.repo.replace("/", "__")
        return Path(
            self.python.format(
                repo=repo, version=instance.version, instance_id=instance.instance_id
            )
        )


def read_instances(file: Path) -> list[Instance]:
    """Read a JSONL file.

    Raises:
        UsageError: a line is no instance.
    """
    found = []
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not in UTF-8") from error
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                found.append(Instance.model_validate_json(line))
            except ValidationError as error:
                first = error.errors()[0]
                where = ".".join(map(str, first["loc"]))
                raise UsageError(f"{file}:{number}: {where}: {first['msg']}") from error
    return found


def predictions(patches: Iterable[tuple[str, str]], model: str) -> str:
    """Return the JSONL that the official grader takes, of instance ids and patches."""
    lines = (
        {"instance_id": name, "model_name_or_path": model, "model_patch": patch}
        for name, patch in patches
    )
    return "".join(f"{json.dumps(line)}\n" for line in lines)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this suite can be told."""
    parser.add_argument("file", type=Path, metavar="FILE", help="instances, JSONL")
    parser.add_argument(
        "--repositories", type=Path, required=True, metavar="FOLDER",
        help="clones or bundles, called owner__name, name or owner__name.bundle",
    )  # fmt: skip
    parser.add_argument(
        "--python", default="", metavar="FILE",
        help="the interpreter for the tests; may hold {repo}, {version} and {instance_id}",
    )  # fmt: skip
    parser.add_argument(
        "--test-cmd", type=shlex.split, default=list(PYTEST), metavar="COMMAND",
        help="what the names of test files are added to (default: python -m pytest)",
    )  # fmt: skip


def from_arguments(arguments: argparse.Namespace) -> SwebenchTasks:
    """Open the suite for a person.

    Raises:
        UsageError: the file or the folder is not there, or `--python` cannot be filled in.
    """
    file, repositories = arguments.file.resolve(), arguments.repositories.resolve()
    if not file.is_file() or not repositories.is_dir():
        raise UsageError(f"{file} must be a file and {repositories} a folder")
    try:
        arguments.python.format(repo="", version="", instance_id="")
    except (LookupError, ValueError) as error:
        raise UsageError("--python: only {repo}, {version}, {instance_id} are known") from error
    return SwebenchTasks(file, repositories, arguments.python, tuple(arguments.test_cmd))


def from_spec(spec: str) -> SwebenchTasks:
    """Open it again elsewhere."""
    values = json.loads(spec)
    command = tuple(values["command"])
    return SwebenchTasks(
        Path(values["file"]), Path(values["repositories"]), values["python"], command
    )


def _task(instance: Instance) -> Task:
    return Task(
        instance.instance_id,
        issue=instance.problem_statement,
        facts={"repo": instance.repo, "version": instance.version},
        secret={"patch": instance.patch, "instance": instance.to_line()},
    )


def _instance(task: Task) -> Instance:
    return Instance.model_validate_json(task.secret["instance"])
