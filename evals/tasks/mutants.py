"""The suite `mutants`: a library with one small mistake in it that its own tests notice.

`mutations.py` says what a mistake is, `bed.py` what the tests say of one, `breeding.py` finds them.
"""

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent.errors import UsageError
from evals import numbers
from evals.task import Grade, Place, Task
from evals.tasks.bed import measured_limits
from evals.tasks.breeding import Mutant, Tell, breed, open_bed
from evals.tasks.cache import plain_python
from evals.tasks.grading import Terms, grade_left
from evals.tasks.library import Library, open_library
from evals.tasks.mutations import Mutation
from evals.tasks.repository import commit_all, patch_of
from sandbox.tree import copy_tree, is_environment
from tools.project import PYTEST, detect_test_command

COUNT = 50
MAX_NAMED = 5
"""Failing tests that an issue names."""


def _silent(text: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class MutantTasks:
    """Mutants of one library; the tasks carry what laying one out needs beside the library."""

    library: Library
    source: str
    """As a person named the library."""
    python: Path
    command: tuple[str, ...]
    count: int = COUNT
    seed: int = 0
    tell: Tell = _silent

    @property
    def suite(self) -> str:
        """What people call it."""
        return f"mutants of {self.library.name}"

    @property
    def spec(self) -> str:
        """JSON from which another process makes the same source."""
        return json.dumps(
            {
                "suite": "mutants",
                "source": self.source,
                "digest": self.library.digest,
                "python": "" if self.python == plain_python() else str(self.python),
                "command": self.command,
                "count": self.count,
                "seed": self.seed,
            }
        )

    @property
    def contamination(self) -> str:
        """Whether a model may have seen the tasks."""
        return (
            f"If the code of {self.library.name} is public, it was most likely read in training, "
            "and with it every right line; the mistakes are new. A repair may be memory: compare "
            "models or settings on it, and take no figure for what happens on unseen code."
        )

    def tasks(self) -> Sequence[Task]:
        """Return the mutants, looked for now if they are not known."""
        bed, mutants = breed(
            self.library, self.python, self.command, self.seed, self.count, self.tell
        )
        return [self._task(mutant, bed.command) for mutant in mutants]

    def lay_out(self, task: Task, folder: Path) -> Place:
        """Write the library with the mistake."""
        copy_tree(self.library.folder, folder, skip=_is_virtual_environment)
        mutation = Mutation(**json.loads(task.secret["mutation"]))
        file = folder / mutation.path
        file.write_bytes(mutation.applied(file.read_bytes()))
        commit_all(folder)
        return Place(folder, tuple(json.loads(task.secret["command"])), self.python)

    def grade(self, task: Task, place: Place) -> Grade:
        """Run the library's tests on a clean copy: all that were green must be."""
        bed = open_bed(self.library, self.python, self.command, self.tell)
        red = json.loads(task.secret["red"])
        first = red if bed.covering else ()
        terms = Terms(before=bed.broken(red), first=first, limits=measured_limits(bed))
        return grade_left(place.folder, lambda folder: self.lay_out(task, folder), terms)

    def _task(self, mutant: Mutant, command: tuple[str, ...]) -> Task:
        mutation = mutant.mutation
        right = (self.library.folder / mutation.path).read_bytes()
        wrong = mutation.applied(right)
        return Task(
            id=f"{self.library.name}-{mutant.number:05}",
            issue=_issue(mutant),
            facts={"kind": mutation.operator, "file": mutation.path},
            secret={
                "patch": patch_of(mutation.path, _text(wrong), _text(right)),
                "mutation": json.dumps(asdict(mutation)),
                "red": json.dumps(mutant.red),
                "command": json.dumps(command),
            },
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what this suite can be told."""
    parser.add_argument(
        "source", metavar="SOURCE",
        help="a folder with Python, JavaScript or Go and green tests, or a release to be fetched, "
        "such as toolz==1.2.0",
    )  # fmt: skip
    parser.add_argument(
        "--count", type=numbers.count, default=COUNT, metavar="N", help=f"mutants (default {COUNT})"
    )
    parser.add_argument(
        "--mutants-seed", type=int, default=0, metavar="N", help="of the choice (default 0)"
    )
    parser.add_argument(
        "--test-cmd", type=shlex.split, default=[], metavar="COMMAND", help="how tests are run"
    )
    parser.add_argument(
        "--python", type=Path, metavar="FILE",
        help="the interpreter for the tests; one with pytest alone if none is named",
    )  # fmt: skip


def from_arguments(arguments: argparse.Namespace) -> MutantTasks:
    """Open the suite for a person.

    Raises:
        UsageError: there is no such library.
        ProjectError: nothing says how its tests are run.
    """
    return _opened(
        arguments.source,
        arguments.python,
        tuple(arguments.test_cmd),
        arguments.count,
        arguments.mutants_seed,
        _to_a_person,
    )


def from_spec(spec: str) -> MutantTasks:
    """Open it again elsewhere.

    Raises:
        UsageError: the library is not there, or is not the same.
    """
    values = json.loads(spec)
    python = Path(values["python"]) if values["python"] else None
    command = tuple(values["command"])
    found = _opened(values["source"], python, command, values["count"], values["seed"], _silent)
    if found.library.digest != values["digest"]:
        raise UsageError(f"{values['source']} is not what it was when its mutants were made")
    return found


def _opened(
    source: str, python: Path | None, command: tuple[str, ...], count: int, seed: int, tell: Tell
) -> MutantTasks:
    library = open_library(source)
    command = command or detect_test_command(library.folder)
    if command[:3] == ("python", "-m", "unittest"):
        command = PYTEST  # which runs these too, and can be asked which test runs which line
    return MutantTasks(library, source, python or plain_python(), command, count, seed, tell)


def _to_a_person(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _issue(mutant: Mutant) -> str:
    """Say what fails, and not where the mistake is."""
    tests = [name for name in mutant.red if "::" in name]
    if not tests:
        return f"A test fails that passed before: {mutant.failure}"
    named = "\n".join(f"- {name}" for name in tests[:MAX_NAMED])
    return f"Tests fail that passed before, among them:\n{named}\n\n{mutant.failure}"


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _is_virtual_environment(folder: Path) -> bool:
    return is_environment(folder) and folder.name != "node_modules"
