"""Grades a folder that an agent has left, by the project's tests on a clean copy of ours.

The verdict is the one that `fix` gives (`agent/verdict.py`): the tests and what decides them are
those of a task laid out anew, the tests run in the sandbox, and what came of each is read from a
result file. What the agent says of its work is not heard, nor is its git history.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path

from agent.clean_copy import put_back
from agent.settings import SandboxConfig
from agent.verdict import Verdict, judge
from evals.task import Grade, Place
from sandbox.base import View
from sandbox.checkpoint import Checkpoint
from sandbox.choose import IN_PLACE, choose
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.remove import temporary_folder
from sandbox.tree import copy_tree
from tools.errors import ProjectError
from tools.project import check_environment, detect_environment, detect_test_command
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


def grade_left(left: Path, lay_out: LayOut, terms: Terms = Terms()) -> Grade:
    """Say whether the files that an agent left solve the task that `lay_out` writes."""
    try:
        with temporary_folder(None, "grade-") as folder:
            here = folder.resolve()
            return _graded(here, left, lay_out(here / "original"), terms)
    except (SandboxError, ProjectError) as error:
        return Grade(False, str(error), is_broken=True)


def _graded(here: Path, left: Path, original: Place, terms: Terms) -> Grade:
    root, tree, shadow = original.folder, here / "left", here / "checkpoints"
    sandbox, limits = choose("bubblewrap"), terms.limits
    environment = detect_environment(root, original.python)
    command = original.test_command or detect_test_command(root)
    check_environment(command, environment)
    base = Checkpoint.create(shadow, root).save("as it was given")
    packages = copy_tree(root, here / "clean")

    def seen(source: Path) -> View:
        workspace = source if sandbox.level in IN_PLACE else root
        return View(source, workspace, read_only=_shown(packages))

    before = terms.before
    if before is None:
        before = run_tests_once(command, environment, seen(here / "clean"), sandbox, limits)
    if not before.parsed or not before.red:
        return Grade(False, f"The task is none: {_why_no_task(before)}.", is_broken=True)
    copy_tree(left, tree, is_ours=True)
    checkpoint = Checkpoint.open(shadow, tree)
    put_back(tree, checkpoint, base, terms.hidden)

    def graded(command: tuple[str, ...], before: TestReport) -> Grade:
        view, targets = seen(tree), terms.targets
        return _grade(
            judge(
                command, environment, view, sandbox, limits, checkpoint, base, before, here, targets
            )
        )

    if terms.first:
        some = tuple(case for case in before.cases if case.id in terms.first)
        early = graded((*command, *terms.first), replace(before, cases=some))
        if not early.is_solved:
            return early
    return graded(command, before)


def _grade(verdict: Verdict) -> Grade:
    num_red = len(verdict.still_red | verdict.turned_red)
    return Grade(verdict.fixed, verdict.reason, num_red)


def _shown(paths: Collection[Path]) -> tuple[Path, ...]:
    """Installed packages beside the original; never its `.git`."""
    return tuple(path for path in paths if path.name != ".git")


def _why_no_task(before: TestReport) -> str:
    if before.parsed:
        return "no test is red before the repair"
    return f"its tests cannot be run (exit code {before.exit_code})"
