"""Grades a folder that an agent has left, by the project's tests on a clean copy of ours.

Before that it can see whether a task is one: whether its tests say of the original what they must.

The verdict is the one that `fix` gives (`agent/verdict.py`): the tests and what decides them are
those of a task laid out anew, the tests run in the sandbox, and what came of each is read from a
result file. What the agent says of its work is not heard, nor is its git history.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from agent.clean_copy import put_back
from agent.settings import SandboxConfig
from agent.verdict import MAX_NAMED, judge
from evals.task import Grade, NoTask, Place
from sandbox.base import Sandbox, View
from sandbox.checkpoint import Checkpoint
from sandbox.choose import IN_PLACE, choose
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.remove import temporary_folder
from sandbox.tree import copy_tree
from tools.errors import ProjectError
from tools.project import (
    Environment,
    check_environment,
    detect_environment,
    detect_test_command,
)
from tools.run_tests import why_no_tests, why_not_started
from tools.runners import run_tests_once
from tools.test_report import TestReport

LayOut = Callable[[Path], Place]
"""Writes the task as it was given, with its hidden tests, into a new folder."""
LIMITS = Limits(wall_s=SandboxConfig.tests_s)


@dataclass(frozen=True)
class Terms:
    """What a grade goes by, beside the original."""

    before: TestReport | None = None
    """What the tests say of the original; None to run them."""
    targets: Collection[str] = ()
    """Ids that must become green; all that were red if there are none."""
    first: Collection[str] = ()
    """Red ids that pytest runs alone first: while they are red, no other test matters."""
    hidden: Collection[str] = ()
    """Files of the original that the agent was not given; what it has in their places goes."""
    limits: Limits = LIMITS
    """What each run of the tests may use."""


@dataclass(frozen=True)
class _Original:
    """A task as it was given, and what runs its tests."""

    folder: Path
    copy: Path
    """The same, for a run of its tests."""
    command: tuple[str, ...]
    environment: Environment
    sandbox: Sandbox
    shown: tuple[Path, ...]
    """Installed packages beside the original; never its `.git`."""
    limits: Limits

    @classmethod
    def of(cls, place: Place, copy: Path, limits: Limits) -> "_Original":
        """Find out how the tests are run, and make the copy.

        Raises:
            ProjectError: they cannot be.
            SandboxError: there is no sandbox.
        """
        folder, sandbox = place.folder, choose("bubblewrap")
        environment = detect_environment(folder, place.python)
        command = place.test_command or _found_out(folder)
        check_environment(command, environment)
        packages = copy_tree(folder, copy)
        shown = tuple(path for path in packages if path.name != ".git")
        return cls(folder, copy, command, environment, sandbox, shown, limits)

    def view(self, source: Path) -> View:
        """Show a folder in the place of the original."""
        workspace = source if self.sandbox.level in IN_PLACE else self.folder
        return View(source, workspace, read_only=self.shown)

    def run(self) -> TestReport:
        """Run its tests once."""
        view = self.view(self.copy)
        return run_tests_once(self.command, self.environment, view, self.sandbox, self.limits)


def _found_out(folder: Path) -> tuple[str, ...]:
    """Find out how the tests are run; whoever asks knows the task by its name, not by a folder."""
    try:
        return detect_test_command(folder)
    except ProjectError as error:
        raise ProjectError("nothing says how its tests are run") from error


def check_task(lay_out: LayOut, expected: TestReport) -> None:
    """See that the tests of the original that `lay_out` writes say what is expected.

    Raises:
        NoTask: they do not, so a repair could not be told by them.
        ProjectError: they cannot be run.
        SandboxError: there is no sandbox.
    """
    found = _first_run(lay_out)
    if not found.parsed:
        raise NoTask(f"The task is none: {_why_no_task(found)}.")
    if done := expected.red & found.green:
        raise NoTask(f"The task is none: green before any repair {_named(done, expected.red)}.")
    if lost := expected.green - found.green:
        what = "said to pass before a repair, and do not here"
        raise NoTask(f"The task is none: {what} {_named(lost, expected.green)}.")


def why_none(lay_out: LayOut) -> str:
    """Say why no repair could be told by the tests of the original; nothing if one of them is red.

    Raises:
        SandboxError: there is no sandbox.
    """
    try:
        found = _first_run(lay_out)
    except ProjectError as error:
        return str(error).rstrip(".")
    return "" if found.parsed and found.red else _why_no_task(found)


def _first_run(lay_out: LayOut) -> TestReport:
    """Run the tests of the original that `lay_out` writes."""
    with temporary_folder(None, "check-") as folder:
        here = folder.resolve()
        return _Original.of(lay_out(here / "original"), here / "copy", LIMITS).run()


def grade_left(left: Path, lay_out: LayOut, terms: Terms = Terms()) -> Grade:
    """Say whether the files that an agent left solve the task that `lay_out` writes."""
    try:
        with temporary_folder(None, "grade-") as folder:
            here = folder.resolve()
            return _graded(here, left, lay_out(here / "original"), terms)
    except (SandboxError, ProjectError) as error:
        return Grade(False, str(error), is_broken=True)


def _graded(here: Path, left: Path, place: Place, terms: Terms) -> Grade:
    tree, shadow = here / "left", here / "checkpoints"
    original = _Original.of(place, here / "clean", terms.limits)
    base = Checkpoint.create(shadow, original.folder).save("as it was given")
    before = original.run() if terms.before is None else terms.before
    if not before.parsed or not before.red:
        return Grade(False, f"The task is none: {_why_no_task(before)}.", is_broken=True)
    copy_tree(left, tree, is_ours=True)
    checkpoint = Checkpoint.open(shadow, tree)
    put_back(tree, checkpoint, base, terms.hidden)

    def graded(command: tuple[str, ...], before: TestReport) -> Grade:
        verdict = judge(
            command,
            original.environment,
            original.view(tree),
            original.sandbox,
            original.limits,
            checkpoint,
            base,
            before,
            here,
            terms.targets,
        )
        return Grade(verdict.fixed, verdict.reason, len(verdict.still_red | verdict.turned_red))

    if terms.first:
        some = tuple(case for case in before.cases if case.id in terms.first)
        early = graded((*original.command, *terms.first), replace(before, cases=some))
        if not early.is_solved:
            return early
    return graded(original.command, before)


def _why_no_task(before: TestReport) -> str:
    if before.timed_out:
        return f"its tests did not end within {before.duration_s:g} s"
    if before.missing_command:
        return why_not_started(before)
    if before.no_tests:
        return f"no tests ran ({why_no_tests(before)})"
    if before.parsed:
        return "no test is red before the repair"
    return f"its tests cannot be run (exit code {before.exit_code})"


def _named(ids: Collection[str], of: Collection[str]) -> str:
    """Say how many, and name some."""
    names = ", ".join(sorted(ids)[:MAX_NAMED])
    return f"({len(ids)} of {len(of)}): {names}{', ...' if len(ids) > MAX_NAMED else ''}"
