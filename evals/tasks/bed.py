"""What is known of a library's own tests, and what they say of one mutation; all runs sandboxed.

To try a mutation out, those tests are run that pass over its line, which takes a moment where the
whole suite takes a minute. Which tests these are is recorded once, by a plugin of pytest's; of
another runner the whole suite is run each time.
"""

import json
import shutil
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent.errors import UsageError
from evals.tasks.library import Library
from evals.tasks.mutations import Mutation
from sandbox.base import View
from sandbox.choose import IN_PLACE, choose
from sandbox.limits import MIB, Limits
from sandbox.remove import temporary_folder
from sandbox.tree import copy_tree
from tools.command_words import is_module, without_launcher
from tools.project import check_environment, detect_environment
from tools.runners import run_tests_once
from tools.test_report import TestCase, TestReport

SLOW_S = 0.25
"""A test that takes longer alone is left out of a suite that is run for every task."""
MAX_TESTS = 40
"""Tests that are run on one mutation; more lines of evidence make it no redder."""
WHOLE_S = 900.0
RESIDENT_BYTES = 2048 * MIB
"""A mutation may make a program that takes all memory."""
LINE_TRACER = "line_tracer"
TRACE_FILE = ".trace.json"


@dataclass(frozen=True)
class TestBed:
    """A library and its green tests."""

    __test__ = False

    library: Library
    python: Path
    command: tuple[str, ...]
    """How the tests are run, without those that are slow or not green."""
    before: TestReport
    """What they say of the library as it is: nothing is red."""
    covering: Mapping[str, Mapping[int, tuple[str, ...]]]
    """By file and line, the tests that ran it; empty where that is not known."""

    def may_be_noticed(self, mutation: Mutation) -> bool:
        """Whether any test runs the line."""
        return not self.covering or mutation.line in self.covering.get(mutation.path, {})

    def try_out(self, mutation: Mutation) -> TestReport | None:
        """Return what the tests say of a mutation; None if it is not one to be mended by them.

        That is one after which the tests cannot be run to their end, or no test is red.
        """
        tests = self.covering.get(mutation.path, {}).get(mutation.line, ())[:MAX_TESTS]
        limits = Limits(wall_s=10 + 3 * self.before.duration_s, resident_bytes=RESIDENT_BYTES)
        with temporary_folder(None, "mutant-") as here:
            tree = here.resolve() / "tree"
            packages = copy_tree(self.library.folder, tree)
            file = tree / mutation.path
            file.write_bytes(mutation.applied(file.read_bytes()))
            report = _run(self.library, self.python, self.command, tree, packages, limits, tests)
        return report if self._is_noticed(report) else None

    def broken(self, red: Sequence[str]) -> TestReport:
        """Return what the tests say of the library with a mistake that turns some of them red."""
        cases = tuple(
            replace(case, outcome="failed") if case.id in red else case
            for case in self.before.cases
        )
        return replace(self.before, cases=cases, exit_code=1)

    def _is_noticed(self, report: TestReport) -> bool:
        """Red tests must be tests from before: a file that cannot be loaded is no logic to mend."""
        if not report.parsed or report.timed_out or not report.red:
            return False
        if self.before.by_exit_code:
            return report.num_ran == self.before.num_ran
        return report.red <= self.before.green

    def to_json(self) -> str:
        """Write what was measured."""
        before = self.before
        return json.dumps(
            {
                "command": self.command,
                "cases": [[case.id, case.outcome] for case in before.cases],
                "exit_code": before.exit_code,
                "num_ran": before.num_ran,
                "duration_s": before.duration_s,
                "covering": self.covering,
            }
        )

    @classmethod
    def from_json(cls, text: str, library: Library, python: Path) -> "TestBed":
        """Undo `to_json`."""
        values = json.loads(text)
        command = tuple(values["command"])
        before = TestReport(
            command=command,
            exit_code=values["exit_code"],
            cases=tuple(TestCase(name, outcome) for name, outcome in values["cases"]),
            output="",
            timed_out=False,
            duration_s=values["duration_s"],
            parsed=True,
            num_ran=values["num_ran"],
        )
        covering = {
            path: {int(line): tuple(tests) for line, tests in lines.items()}
            for path, lines in values["covering"].items()
        }
        return cls(library, python, command, before, covering)


def measure(library: Library, python: Path, command: tuple[str, ...]) -> TestBed:
    """Run a library's tests as they are.

    Raises:
        UsageError: they are not green.
        ProjectError: they cannot be run.
    """
    check_environment(command, detect_environment(library.folder, python))
    if _is_pytest(command):
        return _measure_pytest(library, python, command)
    report, _ = _traced(library, python, command, {})
    if not report.ok:
        raise UsageError(f"the tests of {library.name} are not green: {_why_not(report)}")
    return TestBed(library, python, command, report, {})


def _measure_pytest(library: Library, python: Path, command: tuple[str, ...]) -> TestBed:
    """Time every test, leave slow and red ones out, and record the lines of the others."""
    words = (*command, "-p", LINE_TRACER)
    first, seconds = _traced(library, python, words, {})
    out = {test for test, took_s in seconds.items() if took_s > SLOW_S} | first.red
    kept = (*command, *(word for test in sorted(out) for word in ("--deselect", test)))
    words = (*kept, "-p", LINE_TRACER)
    second, touched = _traced(library, python, words, {"TRACE_LINES": "1"})
    green = second.green & first.green
    if not second.parsed or not green or second.red:
        raise UsageError(f"the tests of {library.name} are not green: {_why_not(second)}")
    cases = tuple(case for case in second.cases if case.id in green)
    spent_s = sum(took_s for test, took_s in seconds.items() if test not in out)
    before = replace(second, command=kept, cases=cases, duration_s=spent_s, output="")
    return TestBed(library, python, kept, before, _by_line(touched, green))


def _traced(
    library: Library, python: Path, command: tuple[str, ...], variables: Mapping[str, str]
) -> tuple[TestReport, dict[str, Any]]:
    """Run the whole suite; return with its report what the plugin wrote, if it was asked for."""
    with temporary_folder(None, "bed-") as here:
        tree, plugins = here.resolve() / "tree", here.resolve() / "plugins"
        packages = copy_tree(library.folder, tree)
        plugins.mkdir()
        shutil.copy(Path(__file__).with_name(f"{LINE_TRACER}.py"), plugins)
        trace = {**variables, "TRACE_TO": TRACE_FILE, "PYTHONPATH": str(plugins)}
        limits = Limits(wall_s=WHOLE_S)
        more = (*packages, plugins)
        report = _run(library, python, command, tree, more, limits, (), trace)
        file = tree / TRACE_FILE
        is_there = file.is_file() and not file.is_symlink()
        return report, json.loads(file.read_text("utf-8")) if is_there else {}


def _run(
    library: Library,
    python: Path,
    command: tuple[str, ...],
    tree: Path,
    more: Collection[Path],
    limits: Limits,
    only: Sequence[str],
    variables: Mapping[str, str] | None = None,
) -> TestReport:
    """Run tests on a copy of the library, seen at the library's own path."""
    environment = detect_environment(library.folder, python)
    environment = replace(environment, variables={**environment.variables, **(variables or {})})
    sandbox = choose("bubblewrap")
    shown = tuple(path for path in more if path.name != ".git")
    workspace = tree if sandbox.level in IN_PLACE else library.folder
    view = View(tree, workspace, read_only=shown)
    return run_tests_once(command, environment, view, sandbox, limits, only=only)


def _by_line(
    touched: Mapping[str, Mapping[str, Sequence[int]]], green: Collection[str]
) -> dict[str, dict[int, tuple[str, ...]]]:
    """Turn the lines of every test into the tests of every line."""
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for test in sorted(set(touched) & set(green)):
        for path, lines in touched[test].items():
            for line in lines:
                found[path][line].append(test)
    return {
        path: {line: tuple(tests) for line, tests in sorted(lines.items())}
        for path, lines in sorted(found.items())
    }


def _is_pytest(command: tuple[str, ...]) -> bool:
    words = without_launcher(command)
    return is_module(words, "pytest") or words[:1] == ("pytest",)


def _why_not(report: TestReport) -> str:
    if report.timed_out:
        return f"they did not end within {WHOLE_S:g} s"
    if report.red:
        return f"{min(report.red)} fails"
    return f"the run ended with exit code {report.exit_code}"


def measured_limits(bed: TestBed) -> Limits:
    """Return what a whole run may use: long enough for a busy machine, short enough for a loop."""
    return Limits(wall_s=60 + 10 * bed.before.duration_s, resident_bytes=RESIDENT_BYTES)
