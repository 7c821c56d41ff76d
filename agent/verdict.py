"""Says whether a repair is one: by the project's own tests on a clean copy, never by its maker.

The copy holds the patched files, and over them the original of every file that decides what a test
run says. It is seen at the repository's own path. Outcomes are compared test by test with those
from before the repair, so a test that was skipped, deselected or lost on the way counts against it.

What this cannot see: code under test shares a process with its runner, and a repair that reaches
into the runner at import can forge the result of every test. It would have to be written to do so.
Of a command that has nothing but an exit code even less is seen, so there a repair is refused that
newly ends the program, that has fewer tests run than before, or that touches tests in its source.
"""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from agent.chance import green_by_chance
from agent.clean_copy import restore_deciding_files
from agent.deciding_files import decides_tests
from agent.early_exits import added_exit
from agent.inline_tests import keeps_doctests, keeps_rust_tests
from agent.originals import SOURCE_SUFFIXES, Originals, originals_at
from agent.support_files import FAILED_LOAD, HOLDER, Deciding, find_deciding, named_by_tests
from sandbox.base import Cancel, Sandbox, View, never
from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.remove import temporary_folder
from sandbox.tree import copy_tree
from sandbox.workspace import Workspace
from tools.project import Environment
from tools.runners import run_tests_once
from tools.test_report import TestReport

MAX_NAMED = 3
"""Ids or paths spelled out in a reason."""
MAX_RUN_AGAIN = 100
"""More red tests than that are no accident, and too many for one command line."""


@dataclass(frozen=True)
class Verdict:
    """What the tests say about a repair."""

    fixed: bool
    targets: frozenset[str]
    """What had to become green."""
    still_red: frozenset[str]
    """Targets that did not."""
    turned_red: frozenset[str]
    """Green before, now red, skipped or gone."""
    unrelated_red: frozenset[str]
    """Red before and now, and not asked for."""
    left_out: tuple[str, ...]
    """Changed paths that the clean copy has in their original form."""
    reason: str
    """For a person, in a sentence or two."""
    report: TestReport
    deciding: Deciding | None = None
    """The originals that the clean copy had; None of a comparison alone."""


def judge(
    command: Sequence[str],
    environment: Environment,
    view: View,
    sandbox: Sandbox,
    limits: Limits,
    checkpoint: Checkpoint,
    base: str,
    before: TestReport,
    folder: Path,
    targets: Collection[str] = (),
    cancel: Cancel = never,
    end_s: float = math.inf,
) -> Verdict:
    """Judge the tree of `view` against its state at `base`, whose tests said `before`.

    Args:
        folder: where the clean copy is made; it is gone afterwards.
        targets: ids that must become green; all that were red if there are none.
        end_s: when every run must have ended, on the monotonic clock.
    """
    files = originals_at(checkpoint, base, view.source)
    ids = [case.id for case in before.cases]
    deciding = find_deciding(command, ids, str(view.folder), files)
    repair = _Repair(Workspace(view.source, view.workspace), checkpoint.changed(base), files)
    spoiled = repair.with_changed_tests(deciding, before.by_exit_code)
    deciding = replace(deciding, paths=deciding.paths | spoiled)
    with temporary_folder(folder, "verdict-") as here:
        copy = here / "tree"
        copy_tree(view.source, copy, is_ours=True)
        left_out = restore_deciding_files(copy, checkpoint, base, deciding)
        clean = replace(view, source=copy, writable=True)

        def run(only: Sequence[str] = ()) -> TestReport:
            some = limits.until(end_s)
            return run_tests_once(command, environment, clean, sandbox, some, cancel, only)

        report = run()
        suspects = sorted(before.green & report.red)
        again = run(suspects).green if 0 < len(suspects) <= MAX_RUN_AGAIN else frozenset()
        wanted, by_chance = frozenset(targets) or before.red, frozenset[str]()
        if any(is_green(test, report) for test in wanted):
            Checkpoint.open(checkpoint.git_dir, copy).restore(base)
            by_chance = green_by_chance(wanted, run)
    kept = [path for path in repair.paths if path not in left_out]
    refusal = repair.ends_early(kept) if before.by_exit_code else ""
    data = [
        path
        for path in kept
        if repair.is_data(path) and named_by_tests(path, deciding.paths, files)
    ]
    flaky = frozenset(suspects) & again
    verdict = compare(before, report, frozenset(targets), left_out, flaky, refusal, data, by_chance)
    return replace(verdict, deciding=deciding)


@dataclass(frozen=True)
class _Repair:
    """What was changed, to be read: as it is now, through no link that leads out, and as it was."""

    workspace: Workspace
    paths: tuple[str, ...]
    files: Originals

    def now(self, path: str) -> str:
        """The text of a file as the repair has it."""
        try:
            return self.workspace.read(path).decode("utf-8", "replace")
        except (OSError, SandboxError):
            return ""

    def with_changed_tests(self, deciding: Deciding, by_exit_code: bool) -> frozenset[str]:
        """The source files whose own tests are not what they were."""
        return frozenset(
            path
            for path in self.paths
            if (
                path in deciding.doctested
                and not keeps_doctests(self.files.read(path), self.now(path))
            )
            or (
                by_exit_code
                and path.endswith(".rs")
                and not keeps_rust_tests(self.files.read(path), self.now(path))
            )
        )

    def ends_early(self, paths: Collection[str]) -> str:
        """The sentence on the first of `paths` that newly ends the program; nothing without one."""
        for path in paths:
            found = "" if decides_tests(path) else added_exit(self.files.read(path), self.now(path))
            if found:
                return (
                    f"{path} newly ends the program ({found}); a command known by its exit code "
                    "alone cannot tell that from tests that pass."
                )
        return ""

    def is_data(self, path: str) -> bool:
        """Whether it is a file from before that is no source."""
        is_source = PurePosixPath(path).suffix.lower() in SOURCE_SUFFIXES
        return path in self.files.paths and not is_source


def compare(
    before: TestReport,
    report: TestReport,
    targets: frozenset[str] = frozenset(),
    left_out: tuple[str, ...] = (),
    flaky: frozenset[str] = frozenset(),
    refusal: str = "",
    data: Sequence[str] = (),
    by_chance: frozenset[str] = frozenset(),
) -> Verdict:
    """Compare two runs.

    Args:
        flaky: tests that were red in the second run and green when run again.
        refusal: what speaks against the repair whatever the tests say.
        data: files that the repair changes and the tests name.
        by_chance: red tests that were green too with nothing changed; they are no targets.
    """
    wanted = (targets or before.red) - by_chance
    flaky = flaky | by_chance
    still_red = frozenset(test for test in wanted if not is_green(test, report))
    turned_red = before.green - report.green - flaky
    left_red = report.red - flaky - wanted
    fault = (
        _unfinished(report)
        or refusal
        or (by_chance and not wanted and "No red test is one that stays red.")
        or _fewer(before, report)
        or _still_red(wanted, still_red)
        or (turned_red and f"Green before, and now red, skipped or gone: {_names(turned_red)}.")
        or (not targets and left_red and f"Red now: {_names(left_red)}.")
        or _failed_otherwise(report)
    )
    notes = [fault or _success(wanted)]
    if flaky - by_chance:
        notes.append(f"Red once and green when run again: {_names(flaky - by_chance)}.")
    if by_chance:
        notes.append(f"Red or green by chance, with nothing changed: {_names(by_chance)}.")
    if not fault and left_red:
        notes.append(f"Red as before and not asked for: {_names(left_red)}.")
    if data and not fault:
        notes.append(f"The tests name {_names(data)}, which the repair changes.")
    if left_out:
        notes.append(f"Judged without the changes to {_names(left_out)}.")
    return Verdict(
        fixed=not fault,
        targets=wanted,
        still_red=still_red,
        turned_red=turned_red,
        unrelated_red=left_red - turned_red,
        left_out=left_out,
        reason=" ".join(notes),
        report=report,
    )


def is_green(test: str, report: TestReport) -> bool:
    """Whether a test passed; of a file or class that could not be loaded, all that is in it."""
    if test in report.green:
        return True
    if test in report.red | report.skipped:
        return False
    inside = [case for case in report.cases if case.id.startswith(_beginnings(test))]
    return any(case.outcome == "passed" for case in inside) and not any(
        case.id in report.red for case in inside
    )


def _beginnings(test: str) -> tuple[str, ...]:
    """How the ids of the tests inside begin, in the words of pytest and of unittest."""
    folder, slash, name = ("", "", test)
    if "unittest." in test or "(" in test:
        folder, slash, name = test.rpartition("/")
    holder = HOLDER.fullmatch(name)
    name = holder[1] if holder else name.removeprefix(FAILED_LOAD)
    name = folder + slash + name
    return tuple(name + separator for separator in ("::", "[", "/", "."))


def _unfinished(report: TestReport) -> str:
    if report.timed_out:
        return f"The tests did not end within {report.duration_s:g} s."
    if report.exit_code is None:
        return "The tests were stopped before their end."
    if not report.parsed:
        return f"The test run broke off (exit code {report.exit_code})."
    return ""


def _fewer(before: TestReport, report: TestReport) -> str:
    """A runner that counts its tests aloud has not run those that are missing."""
    if before.num_ran is None or (report.num_ran is not None and report.num_ran >= before.num_ran):
        return ""
    return f"Tests are missing: {before.num_ran} ran before the repair, {report.num_ran or 0} now."


def _still_red(wanted: frozenset[str], still_red: frozenset[str]) -> str:
    if not still_red:
        return ""
    return f"Still not green, {len(still_red)} of {len(wanted)}: {_names(still_red)}."


def _failed_otherwise(report: TestReport) -> str:
    """Red tests that are accounted for explain an exit code of 1, and nothing else."""
    if not report.green:
        return "No test passed."
    if report.exit_code == 0 or (report.red and report.exit_code == 1):
        return ""
    return f"The tests passed, but the test run failed (exit code {report.exit_code})."


def _success(wanted: frozenset[str]) -> str:
    if not wanted:
        return "All tests pass on a clean copy."
    if len(wanted) == 1:
        return f"{next(iter(wanted))} passes on a clean copy."
    return f"All {len(wanted)} red tests pass on a clean copy."


def _names(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:MAX_NAMED])
    more = len(names) - MAX_NAMED
    return f"{shown} and {more} more" if more > 0 else shown
