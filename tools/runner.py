"""What a test runner is to us: a kind of command, and how it is made to leave its results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sandbox.base import View
from tools.command_words import PYTHON, Argv
from tools.project import Environment
from tools.test_report import TestCase


@dataclass(frozen=True)
class Prepared:
    """A command made ready to leave a result file."""

    argv: Argv
    result: Path | None
    """Where the runner will write, in the scratch folder."""
    token: str = ""
    """What only a whole result holds."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for the runner, on top of the project's environment."""


class Runner(Protocol):
    """One kind of test command."""

    def recognises(self, command: Argv, folder: Path) -> bool:
        """Whether `command`, run in `folder`, is of this kind."""
        ...

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Change `command` so that it leaves its results in `scratch`; restrict it to `only`."""
        ...

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the result file; None if there is none, or it is not whole."""
        ...

    def told(self, output: str) -> tuple[TestCase, ...]:
        """Read what was printed of each test, where that is all there is: never for a verdict."""
        ...


def with_python(word: str, environment: Environment) -> str:
    """A bare `python` means the project's; a path means what it says."""
    if environment.interpreter is not None and PYTHON.fullmatch(word):
        return str(environment.interpreter)
    return word
