"""What the tests said at an earlier commit: for `--base`, where only what it broke is mended."""

import os
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from agent.errors import GitFailed, RunCancelled, UsageError
from agent.events import Event
from agent.session import Session
from agent.tests_ran import tests_ran
from agent.user_git import run_git
from agent.workplace import Workplace
from sandbox.base import Cancel
from sandbox.remove import temporary_folder
from sandbox.shadow_git import blob_id
from tools.errors import ProjectError
from tools.git_tree import check_out
from tools.run_tests import why_not_started
from tools.runners import run_tests_once
from tools.test_report import TestReport

MAX_NAMED = 20
"""Changed files that the model is told of."""


@dataclass(frozen=True)
class Earlier:
    """What is known of the commit that a repair is to come back to."""

    ref: str
    green: frozenset[str]
    """The ids of the tests that passed there."""
    changed: tuple[str, ...]
    """The files that are not as they were there."""

    @property
    def note(self) -> str:
        """Tell the model in a sentence where to look; nothing if no file changed."""
        if not self.changed:
            return ""
        more = len(self.changed) - MAX_NAMED
        end = f" and {more} more" if more > 0 else ""
        names = ", ".join(self.changed[:MAX_NAMED])
        return f"These tests passed at {self.ref}. Changed since then: {names}{end}."


def check_base(ref: str, repository: Path) -> None:
    """Make sure that there is such a commit, before any test is run.

    Raises:
        UsageError: there is none.
    """
    words = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")
    try:
        run_git(repository, *words)
    except GitFailed as error:
        text = f"--base: {ref} is no commit of this repository; fetch it first"
        raise UsageError(text) from error


def look_back(
    ref: str, place: Workplace, session: Session, cancel: Cancel, end_s: float
) -> Generator[Event, None, Earlier]:
    """Run the tests on the files of the commit `ref`; only once in a session.

    Raises:
        ProjectError: there is no such commit, or its tests cannot be run.
        RunCancelled: the person stopped it.
    """
    if "earlier" not in session.facts:
        report, changed = _run_at(ref, place, session.folder, cancel, end_s)
        if cancel():
            raise RunCancelled("cancelled; nothing was changed")
        yield tests_ran(f"at {ref}", report)
        session.record("earlier", green=sorted(report.green), changed=list(changed))
    fact = session.facts["earlier"]
    return Earlier(ref, frozenset(fact["green"]), tuple(fact["changed"]))


def _run_at(
    ref: str, place: Workplace, folder: Path, cancel: Cancel, end_s: float
) -> tuple[TestReport, tuple[str, ...]]:
    """Run the tests on a copy in `folder`; return also which files differ from now.

    Commands see the copy at the repository's own path, with the project's environment of today.
    """
    git = place.view.protected[0][1]
    with temporary_folder(folder, "earlier-") as here:
        copy = here / "tree"
        paths = check_out(ref, copy, place.sandbox, place.view, git, cancel)
        changed = _changed(paths, copy, place)
        view = replace(place.view, source=copy)
        limits = place.test_limits.until(end_s)
        report = run_tests_once(
            place.command, place.environment, view, place.sandbox, limits, cancel
        )
    if report.missing_command:
        raise ProjectError(f"at {ref}: {why_not_started(report)}")
    if report.timed_out:
        raise ProjectError(f"the tests did not end in time at {ref}; leave out --base")
    return report, changed


def _changed(paths: tuple[str, ...], copy: Path, place: Workplace) -> tuple[str, ...]:
    """Name the files of the commit that are other ones or gone, and those that are new."""
    now = place.checkpoint.files(place.base)
    changed = [path for path in paths if path not in now or now[path].blob != _blob(copy / path)]
    return tuple(sorted({*changed, *(now.keys() - set(paths))}))


def _blob(path: Path) -> str:
    """Name the content of a file, of a link its target, as a checkpoint names it."""
    data = os.fsencode(path.readlink()) if path.is_symlink() else path.read_bytes()
    return blob_id(data)
