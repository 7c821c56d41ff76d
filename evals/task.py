"""What an eval is made of: a task, where it comes from, and how what was done is graded.

A `TaskSource` is a suite. It knows the tasks, lays one out as a repository for the agent, and
grades that folder afterwards; it never sees the agent. Who runs it is `runner.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

FailureClass = Literal[
    "wrong logic", "no edit", "loop", "budget", "malformed call", "environment", "graded elsewhere"
]
"""Why a task was not solved, as far as that can be told from the run."""
NOT_COUNTED: frozenset[FailureClass] = frozenset({"environment", "graded elsewhere"})
"""What says nothing of the solver."""


@dataclass(frozen=True)
class Task:
    """One thing to repair. It can be written as JSON and read again elsewhere."""

    id: str
    """Unique in its suite; letters, digits, `.`, `_` and `-` only."""
    issue: str = ""
    """What the agent is told besides that tests fail; may be empty."""
    facts: Mapping[str, str] = field(default_factory=dict)
    """What a report may group by: the file, the kind of bug."""
    secret: Mapping[str, str] = field(default_factory=dict)
    """What only the grader and a scripted oracle may see: the true patch, hidden tests."""


@dataclass(frozen=True)
class Place:
    """A task laid out: what the agent is given."""

    folder: Path
    """A git repository with one commit, nothing uncommitted."""
    test_command: tuple[str, ...] = ()
    """Empty where the agent is to find it itself."""
    python: Path | None = None
    """What runs the tests of a Python project."""


@dataclass(frozen=True)
class Grade:
    """What a folder is worth after the agent has left it."""

    is_solved: bool
    sentence: str
    """Why, to a person."""
    num_red: int = 0
    """Tests that fail still."""
    is_broken: bool = False
    """Whether the grader could not be run: the environment's fault, not the agent's."""
    is_elsewhere: bool = False
    """Whether only another grader can tell."""


class NoTask(Exception):
    """What a suite calls a task is none here: nobody could solve it. Why, in a sentence."""


class TaskSource(Protocol):
    """A suite."""

    @property
    def suite(self) -> str:
        """What people call it."""
        ...

    @property
    def spec(self) -> str:
        """JSON from which another process makes the same source."""
        ...

    @property
    def contamination(self) -> str:
        """A sentence: may a model have seen these tasks while it was trained?"""
        ...

    def tasks(self) -> Sequence[Task]:
        """Return all tasks, always in the same order."""
        ...

    def lay_out(self, task: Task, folder: Path) -> Place:
        """Write the repository of a task into a new folder.

        Raises:
            NoTask: a repair of it could not be told here.
        """
        ...

    def grade(self, task: Task, place: Place) -> Grade:
        """Put the tests back as they were, run them, and say whether the task is solved."""
        ...
