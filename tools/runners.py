"""Runs a project's tests once in the sandbox and reads what came of each from a result file.

What a program prints inside the sandbox is never taken for an outcome. Where a runner leaves no
file, the outcome is its exit code, and what it printed of single tests is only told.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits
from sandbox.remove import temporary_folder
from tools.command_words import Argv, parts_of, start_folder
from tools.jest import JestRunner
from tools.plain_runners import CargoRunner, GenericRunner, GoRunner
from tools.project import Environment
from tools.python_runners import PytestRunner, UnittestRunner
from tools.result_files import merged
from tools.runner import Runner
from tools.scrub import Scrubber
from tools.tally import Tally
from tools.test_report import Outcome, TestCase, TestReport, command_id

NO_TESTS = 5
"""The exit code of pytest and unittest for that."""


RUNNERS: tuple[Runner, ...] = (
    PytestRunner(),
    UnittestRunner(),
    JestRunner(),
    CargoRunner(),
    GoRunner(),
    GenericRunner(),
)


def runner_for(command: Argv, folder: Path) -> Runner:
    """Choose the runner that can tell most about `command`, run in `folder`."""
    return next(runner for runner in RUNNERS if runner.recognises(command, folder))


def run_tests_once(
    command: Sequence[str],
    environment: Environment,
    view: View,
    sandbox: Sandbox,
    limits: Limits,
    cancel: Cancel = never,
    only: Sequence[str] = (),
) -> TestReport:
    """Run the tests of `view` once, all or those with the ids in `only` where that is possible."""
    words = tuple(command)
    parts = parts_of(words)
    if len(parts) > 1:
        return _run_parts(words, parts, environment, view, sandbox, limits, cancel, tuple(only))
    runner = runner_for(words, view.source / view.folder)
    chosen = tuple(name for name in only if name != command_id(words))
    tally = Tally()
    with temporary_folder(view.scratch, "tests-") as folder:
        scratch = folder.resolve()
        prepared = runner.prepare(words, environment, view, scratch, chosen)
        seen = _view_with(view, environment, scratch, prepared.variables)
        result = sandbox.run(prepared.argv, seen, environment.widened(limits), cancel, tally.feed)
        cases = runner.read(prepared, view) if result.exit_code is not None else None
    clean = Scrubber(view, scratch, environment.read_only)
    # A runner that is given no token is one that may also have left no result.
    by_exit_code = cases is None and not prepared.token
    if by_exit_code:
        cases = _one_case(words, result)
    return TestReport(
        command=words,
        exit_code=result.exit_code,
        cases=tuple(clean.case(case) for case in cases or ()),
        output=clean.output(result.output),
        timed_out=result.timed_out,
        duration_s=limits.wall_s if result.timed_out else result.duration_s,
        parsed=cases is not None,
        num_ran=tally.num_ran if by_exit_code else None,
        told=tuple(map(clean.case, runner.told(result.output))) if by_exit_code else (),
        notices=result.notices,
    )


def _run_parts(
    command: Argv,
    parts: Sequence[Argv],
    environment: Environment,
    view: View,
    sandbox: Sandbox,
    limits: Limits,
    cancel: Cancel,
    only: Argv,
) -> TestReport:
    """Run unittest once for each folder; ids begin with the folder, since names may recur."""
    end_s = time.monotonic() + limits.wall_s
    reports: list[TestReport] = []
    for part in parts:
        folder = start_folder(part)
        prefix = f"{folder.rstrip('/')}/" if folder else ""
        wanted = tuple(
            name.removeprefix(prefix)
            for name in only
            if name.startswith(prefix) and (prefix or "/" not in name)
        )
        left_s = end_s - time.monotonic()
        if (only and not wanted) or (reports and (left_s <= 0 or reports[-1].exit_code is None)):
            continue
        some = replace(limits, wall_s=max(left_s, 0.01))
        report = run_tests_once(part, environment, view, sandbox, some, cancel, wanted)
        cases = tuple(replace(case, id=prefix + case.id) for case in report.cases)
        reports.append(replace(report, cases=cases))
    return _joined(command, reports, limits)


def _joined(command: Argv, reports: Sequence[TestReport], limits: Limits) -> TestReport:
    """Make one report of several; a folder in which nothing ran counts only if all were so."""
    codes = [report.exit_code for report in reports]
    bad = [code for code in codes if code not in (0, NO_TESTS)]
    usual = next(iter(bad), 0 if 0 in codes else NO_TESTS)
    timed_out = any(report.timed_out for report in reports)
    duration_s = sum(report.duration_s for report in reports)
    return TestReport(
        command=command,
        exit_code=None if None in codes else usual,
        cases=merged(case for report in reports for case in report.cases),
        output="".join(report.output for report in reports),
        timed_out=timed_out,
        duration_s=limits.wall_s if timed_out else duration_s,
        parsed=bool(reports) and all(report.parsed for report in reports),
        notices=tuple(notice for report in reports for notice in report.notices),
    )


def _view_with(
    view: View, environment: Environment, scratch: Path, variables: Mapping[str, str]
) -> View:
    return replace(
        view,
        read_only=(*view.read_only, *environment.read_only),
        path=environment.path,
        environment={**view.environment, **environment.variables, **variables},
        scratch=scratch,
    )


def _one_case(command: Argv, result: CommandResult) -> tuple[TestCase, ...] | None:
    """The case that stands for a command known by its exit code; none if it did not run."""
    if result.exit_code is None or result.exit_code in (126, 127):
        return None
    outcome: Outcome = "passed" if result.exit_code == 0 else "failed"
    return (TestCase(command_id(command), outcome, f"exit code {result.exit_code}"),)
