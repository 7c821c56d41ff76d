"""Says whether a repair is one: by the project's own tests on a clean copy, never by its maker.

The copy holds the patched files, and over them the original of every file that decides what a test
run says. It is seen at the repository's own path. Outcomes are compared test by test with those
from before the repair, so a test that was skipped, deselected or lost on the way counts against it.

What this cannot see: code under test shares a process with its runner, and a repair that reaches
into the runner at import can forge the result of every test. It would have to be written to do so.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.clean_copy import restore_deciding_files
from agent.deciding_files import named_in
from sandbox.base import Cancel, Sandbox, View, never
from sandbox.checkpoint import Checkpoint
from sandbox.limits import Limits
from sandbox.tree import copy_tree
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
    added_tests: Collection[str] = (),
    cancel: Cancel = never,
) -> Verdict:
    """Judge the tree of `view` against its state at `base`, whose tests said `before`.

    Args:
        folder: where the clean copy is made; it is gone afterwards.
        targets: ids that must become green; all that were red if there are none.
        added_tests: new test files, relative paths, that were asked for and stay.
    """
    with TemporaryDirectory(prefix="verdict-", dir=folder, ignore_cleanup_errors=True) as name:
        copy = Path(name) / "tree"
        copy_tree(view.source, copy)
        left_out = restore_deciding_files(copy, checkpoint, base, named_in(command), added_tests)
        clean = replace(view, source=copy, writable=True)

        def run(only: Sequence[str] = ()) -> TestReport:
            return run_tests_once(command, environment, clean, sandbox, limits, cancel, only)

        report = run()
        suspects = sorted(before.green & report.red)
        again = run(suspects).green if 0 < len(suspects) <= MAX_RUN_AGAIN else frozenset()
    return compare(before, report, frozenset(targets), left_out, frozenset(suspects) & again)


def compare(
    before: TestReport,
    report: TestReport,
    targets: frozenset[str] = frozenset(),
    left_out: tuple[str, ...] = (),
    flaky: frozenset[str] = frozenset(),
) -> Verdict:
    """Compare two runs; `flaky` are tests that were red in the second and green when run again."""
    wanted = targets or before.red
    still_red = frozenset(test for test in wanted if not is_green(test, report))
    turned_red = before.green - report.green - flaky
    left_red = report.red - flaky - wanted
    fault = (
        _unfinished(report)
        or _still_red(wanted, still_red)
        or (turned_red and f"Green before, and now red, skipped or gone: {_names(turned_red)}.")
        or (not targets and left_red and f"Red now: {_names(left_red)}.")
        or _failed_otherwise(report)
    )
    notes = [fault or _success(wanted)]
    if flaky:
        notes.append(f"Red once and green when run again: {_names(flaky)}.")
    if not fault and left_red:
        notes.append(f"Red as before and not asked for: {_names(left_red)}.")
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
    holder = re.fullmatch(r"(?:setUp|tearDown)(?:Class|Module) \((.+)\)", test)
    name = holder[1] if holder else test.removeprefix("unittest.loader._FailedTest.")
    return tuple(name + separator for separator in ("::", "[", "/", "."))


def _unfinished(report: TestReport) -> str:
    if report.timed_out:
        return f"The tests did not end within {report.duration_s:g} s."
    if report.exit_code is None:
        return "The tests were stopped before their end."
    if not report.parsed:
        return f"The test run broke off (exit code {report.exit_code})."
    return ""


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
