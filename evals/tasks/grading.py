"""Grades a folder that an agent has left, by the project's tests on a clean copy of ours.

The verdict is the one that `fix` gives (`agent/verdict.py`): the tests and what decides them are
those of a task laid out anew, the tests run in the sandbox, and what came of each is read from a
result file. What the agent says of its work is not heard, nor is its git history.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from agent.clean_copy import put_back
from agent.settings import SandboxConfig
from agent.verdict import judge
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


def grade_left(
    left: Path,
    lay_out: LayOut,
    *,
    before: TestReport | None = None,
    targets: Collection[str] = (),
    hidden: Collection[str] = (),
    limits: Limits = LIMITS,
) -> Grade:
    """Say whether the files in `left` solve the task.

    Args:
        left: what the agent left.
        lay_out: writes the original.
        before: what the tests say of the original; None to run them.
        targets: ids that must become green; all that were red if there are none.
        hidden: files of the original that the agent was not given; its own in their places go.
        limits: what each run of the tests may use.
    """
    try:
        with temporary_folder(None, "grade-") as folder:
            here = folder.resolve()
            original = lay_out(here / "original")
            return _graded(here, left, original, before, targets, hidden, limits)
    except (SandboxError, ProjectError) as error:
        return Grade(False, str(error), is_broken=True)


def _graded(
    here: Path,
    left: Path,
    original: Place,
    before: TestReport | None,
    targets: Collection[str],
    hidden: Collection[str],
    limits: Limits,
) -> Grade:
    root, tree, shadow = original.folder, here / "left", here / "checkpoints"
    sandbox = choose("bubblewrap")
    environment = detect_environment(root, original.python)
    command = original.test_command or detect_test_command(root)
    check_environment(command, environment)
    base = Checkpoint.create(shadow, root).save("as it was given")
    packages = copy_tree(root, here / "clean")

    def seen(source: Path) -> View:
        workspace = source if sandbox.level in IN_PLACE else root
        return View(source, workspace, read_only=_shown(packages))

    if before is None:
        before = run_tests_once(command, environment, seen(here / "clean"), sandbox, limits)
    if not before.parsed or not before.red:
        return Grade(False, f"The task is none: {_why_no_task(before)}.", is_broken=True)
    copy_tree(left, tree, is_ours=True)
    checkpoint = Checkpoint.open(shadow, tree)
    put_back(tree, checkpoint, base, hidden)
    verdict = judge(
        command, environment, seen(tree), sandbox, limits, checkpoint, base, before, here, targets
    )
    num_red = len(verdict.still_red | verdict.turned_red)
    return Grade(verdict.fixed, verdict.reason, num_red)


def _shown(paths: Collection[Path]) -> tuple[Path, ...]:
    """Installed packages beside the original; never its `.git`."""
    return tuple(path for path in paths if path.name != ".git")


def _why_no_task(before: TestReport) -> str:
    if before.parsed:
        return "no test is red before the repair"
    return f"its tests cannot be run (exit code {before.exit_code})"
