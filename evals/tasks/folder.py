"""The suite `folder`: tasks of a person's own, each a folder with a repository and an issue.

task.toml        what follows, all of it optional
issue.md         what the agent is told
repo/            the repository, or what `repository` names
hidden/          tests that the agent is not given, laid over the repository to grade
solution.patch   what the scripted oracle applies
"""

import argparse
import json
import re
import shlex
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from agent.errors import UsageError
from evals.task import Grade, NoTask, Place, Task
from evals.tasks.grading import Terms, grade_left, why_none
from evals.tasks.repository import commit_all, digest_of, export
from sandbox.tree import copy_tree, is_environment

NAME = re.compile(r"[A-Za-z0-9._-]+")


class Settings(BaseModel):
    """What `task.toml` can say; paths begin at the folder of the task."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    repository: str = Field(default="repo", description="A folder or, with `commit`, a bundle.")
    commit: str = Field(default="", description="Take the files of this commit, not those there.")
    test_command: str = Field(default="", description="Found out where it is empty.")
    python: str = Field(default="", description="The interpreter for the tests.")

    @field_validator("test_command")
    @classmethod
    def _check(cls, command: str) -> str:
        shlex.split(command)  # raises ValueError: a quote is open
        return command


@dataclass(frozen=True)
class FolderTasks:
    """One task, if the folder is one, or those in it."""

    folder: Path

    @property
    def suite(self) -> str:
        """What people call it."""
        return f"folder {self.folder.name}"

    @property
    def spec(self) -> str:
        """JSON from which another process makes the same source, where it has the folder too.

        It names the content: what has changed is another source.
        """
        content = digest_of(self.folder)
        return json.dumps({"suite": "folder", "folder": str(self.folder), "content": content})

    @property
    def contamination(self) -> str:
        """Whether a model may have seen the tasks."""
        return (
            "A person's own tasks: what of them was public before a model was trained, they know."
        )

    def tasks(self) -> Sequence[Task]:
        """Return the tasks, by name."""
        found = [_task(folder) for folder in _task_folders(self.folder)]
        if not found:
            raise UsageError(f"{self.folder} holds no task: a folder with issue.md or task.toml")
        return found

    def lay_out(self, task: Task, folder: Path) -> Place:
        """Write the repository, without what is hidden.

        Raises:
            NoTask: no test is red; or none that the agent is given, and nothing says what is wrong.
        """
        why = why_none(lambda original: self._with_hidden(task, original))
        if not why and not task.issue and self._hidden(task):
            without = why_none(lambda original: self._written(task, original))
            why = without and f"no issue.md, and without the hidden tests {without}"
        if why:
            raise NoTask(f"The task is none: {why}.")
        place = self._written(task, folder)
        commit_all(folder)
        return place

    def grade(self, task: Task, place: Place) -> Grade:
        """Run the tests on a clean copy, with the hidden ones over it."""
        terms = Terms(hidden=self._hidden(task))
        return grade_left(place.folder, lambda original: self._with_hidden(task, original), terms)

    def _hidden(self, task: Task) -> list[str]:
        """Name the tests that the agent is not given."""
        hidden = self._home(task) / "hidden"
        return [path.relative_to(hidden).as_posix() for path in hidden.rglob("*") if path.is_file()]

    def _with_hidden(self, task: Task, folder: Path) -> Place:
        """Write the repository, with them over it."""
        original = self._written(task, folder)
        for path in self._hidden(task):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self._home(task) / "hidden" / path, folder / path)
        return original

    def _home(self, task: Task) -> Path:
        return self.folder if _is_task(self.folder) else self.folder / task.id

    def _written(self, task: Task, folder: Path) -> Place:
        home = self._home(task)
        settings = _settings(home)
        repository = home / settings.repository
        folder.mkdir(exist_ok=True)
        if settings.commit:
            export(repository, settings.commit, folder)
        else:
            copy_tree(repository, folder, skip=_is_virtual_environment)
        python = home / settings.python if settings.python else None
        return Place(folder, tuple(shlex.split(settings.test_command)), python)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this suite can be told."""
    parser.add_argument(
        "folder",
        type=Path,
        metavar="FOLDER",
        help="a task, or a folder of tasks: docs/evals/tasks.md",
    )


def from_arguments(arguments: argparse.Namespace) -> FolderTasks:
    """Open the suite for a person.

    Raises:
        UsageError: there is no such folder.
    """
    folder: Path = arguments.folder.expanduser().resolve()
    if not folder.is_dir():
        raise UsageError(f"{arguments.folder} is no folder")
    return FolderTasks(folder)


def from_spec(spec: str) -> FolderTasks:
    """Open it again elsewhere."""
    return FolderTasks(Path(json.loads(spec)["folder"]))


def _task_folders(folder: Path) -> list[Path]:
    if _is_task(folder):
        return [folder]
    return [inside for inside in sorted(folder.iterdir()) if _is_task(inside)]


def _is_task(folder: Path) -> bool:
    return (folder / "issue.md").is_file() or (folder / "task.toml").is_file()


def _task(home: Path) -> Task:
    """Read a task.

    Raises:
        UsageError: its name or its settings cannot be used.
    """
    if not NAME.fullmatch(home.name):
        raise UsageError(f"{home} is named with more than letters, digits, `.`, `_` and `-`")
    repository = _settings(home).repository
    if not (home / repository).exists():
        raise UsageError(f"{home}: there is no repository at {repository}")
    secret = {"patch": _text_of(home / "solution.patch")}
    return Task(home.name, issue=_text_of(home / "issue.md").strip(), secret=secret)


def _settings(home: Path) -> Settings:
    try:
        return Settings.model_validate(tomllib.loads(_text_of(home / "task.toml")))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{home / 'task.toml'} is no TOML: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{home / 'task.toml'}: {where}: {first['msg']}") from error


def _text_of(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8") if file.is_file() else ""
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not in UTF-8") from error


def _is_virtual_environment(folder: Path) -> bool:
    return is_environment(folder) and folder.name != "node_modules"
