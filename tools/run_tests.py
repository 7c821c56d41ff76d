"""The tool `run_tests`, and the words for what a run of the tests showed."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sandbox.base import Cancel, Sandbox, View, never
from sandbox.limits import Limits
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.project import Environment
from tools.runners import run_tests_once
from tools.test_report import RED, TestCase, TestReport
from tools.truncate import cut_middle

MAX_RED_SHOWN = 5
MAX_TRACEBACK_LINES = 25
MAX_LINE_CHARS = 300
MAX_OUTPUT_CHARS = 6_000
MAX_TAIL_LINES = 30
RERUN_S = 10.0
"""Tests that took longer than this are not run again to see whether they are flaky."""
MAX_RERUN = 20


class RunTests:
    """Runs the project's tests and says what is red."""

    name = "run_tests"
    description = "Run the project's tests and show what fails."
    parameters: Mapping[str, Any] = {
        "type": "object",
        "properties": {
            "tests": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Ids of the tests to run, as shown after FAILED; all if left out.",
            }
        },
        "required": [],
    }

    def __init__(
        self,
        command: Sequence[str],
        environment: Environment,
        view: View,
        sandbox: Sandbox,
        limits: Limits,
        is_full: bool = False,
    ) -> None:
        """Take what a run needs.

        `is_full`: what turned red is run again and told if flaky, and the output of a red run is
        kept. nano knows neither.
        """
        self._command = tuple(command)
        self._environment = environment
        self._view = view
        self._sandbox = sandbox
        self._limits = limits
        self._is_full = is_full
        self._red: frozenset[str] = frozenset()
        """What was red in the last run and no accident."""

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Run them once; red tests are a normal result.

        Raises:
            ToolFailed: `tests` is no list of ids.
        """
        only = _ids(arguments.get("tests"))
        report = self._run(only, cancel)
        flaky = self._flaky(report, cancel) if self._is_full else ()
        ran = bool(report.cases) and not report.timed_out
        text = "\n\n".join([describe(report), *map(_describe_flaky, flaky)])
        text = "\n".join([text, *(f"[{notice}]" for notice in report.notices)])
        whole = None if only else report
        is_cut = self._is_full and len(report.output) > len(text)
        full = report.output if is_cut and not report.ok else ""
        return ToolResult(text, summarise(report), ok=ran, report=whole, full=full)

    def _run(self, only: Sequence[str], cancel: Cancel) -> TestReport:
        return run_tests_once(
            self._command, self._environment, self._view, self._sandbox, self._limits, cancel, only
        )

    def _flaky(self, report: TestReport, cancel: Cancel) -> tuple[str, ...]:
        """Run again, alone, what turned red in this run; return what then passes."""
        news = sorted(report.red - self._red)
        self._red = report.red
        is_cheap = len(news) <= MAX_RERUN and report.duration_s <= RERUN_S
        if not news or not is_cheap or report.by_exit_code or report.timed_out:
            return ()
        flaky = self._run(news, cancel).green.intersection(news)
        self._red -= flaky
        return tuple(sorted(flaky))


def _ids(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if isinstance(value, str):  # one id where a list was asked for
        value = [value]
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ToolFailed('tests must be a list of test ids, like ["tests/test_x.py::test_y"].')
    for item in value:
        if not item.strip() or item.startswith("-"):
            raise ToolFailed(f"{item!r} is no test id; leave tests out to run them all.")
    return tuple(value)


def describe(report: TestReport) -> str:
    """Say what a run showed, in the words that the model knows.

    The bundled model was trained on this wording: a change here needs a new training.
    """
    if report.timed_out:
        return _with_tail(f"Timed out after {report.duration_s:g} s.", report)
    if report.missing_command:
        return _with_tail(f"Command not found: {report.command[0]}.", report)
    if report.exit_code is None:
        return _with_tail("Stopped before the end.", report)
    if report.by_exit_code:
        return _describe_exit_code(report)
    if not report.cases:
        return _with_tail("No tests ran.", report)
    if report.red:
        return _describe_red(report.cases)
    if report.exit_code != 0:
        words = f"{len(report.green)} passed, but the run failed (exit code {report.exit_code})."
        return _with_tail(words, report)
    skipped = f" {len(report.skipped)} skipped." if report.skipped else ""
    return f"{len(report.green)} passed.{skipped}"


def _describe_flaky(name: str) -> str:
    return f"FLAKY {name}: failed, then passed when run alone with nothing changed."


def summarise(report: TestReport) -> str:
    """Say it to a person in one line."""
    if report.by_exit_code or report.timed_out or not report.cases:
        return describe(report).split("\n", 1)[0]
    counts = [(len(report.red), "failed"), (len(report.green), "passed")]
    counts.append((len(report.skipped), "skipped"))
    return ", ".join(f"{count} {word}" for count, word in counts if count)


def why_not_started(report: TestReport) -> str:
    """Say to a person which command it was that could not be started."""
    found = re.findall(r"(?m)([^\s:]+): (?:command )?not found$", report.output.rstrip())
    if report.exit_code == 126:
        return f"{report.command[0]}: cannot be executed"
    return f"{found[-1] if found else report.command[0]}: command not found"


def why_no_tests(report: TestReport) -> str:
    """Quote the line of the output that says why nothing ran, or else the last one."""
    lines = [line.strip() for line in report.output.strip().split("\n")]
    told = [line for line in lines if re.search(r"(?i)\berror: (?!usage)", line)]
    return _short((told or lines)[-1])


def _describe_exit_code(report: TestReport) -> str:
    if report.exit_code == 0:
        num_passed = sum(case.outcome == "passed" for case in report.told)
        return f"Tests passed ({num_passed})." if num_passed else "Tests passed."
    if any(case.outcome in RED for case in report.told):
        return f"{_describe_red(report.told)}\n\n[exit code {report.exit_code}]"
    words = f"Tests failed (exit code {report.exit_code})."
    output = cut_middle(report.output.strip("\n"), MAX_OUTPUT_CHARS)
    return f"{words}\n{output}" if output else words


def _describe_red(cases: Sequence[TestCase]) -> str:
    red = [case for case in cases if case.outcome in RED]
    num_passed = sum(case.outcome == "passed" for case in cases)
    # What could not be imported comes first: it is often why the rest is red.
    red.sort(key=lambda case: ("::" in case.id, case.id))
    blocks = [f"{len(red)} failed, {num_passed} passed."]
    blocks += [_describe_case(case) for case in red[:MAX_RED_SHOWN]]
    if len(red) > MAX_RED_SHOWN:
        blocks.append(f"[{len(red) - MAX_RED_SHOWN} more failed]")
    return "\n\n".join(blocks)


def _describe_case(case: TestCase) -> str:
    label = "ERROR" if case.outcome == "error" else "FAILED"
    text = case.details or case.message
    return f"{label} {case.id}\n{_few_lines(text)}".rstrip("\n")


def _few_lines(text: str) -> str:
    lines = [_short(line) for line in text.split("\n")]
    if len(lines) > MAX_TRACEBACK_LINES:
        half = MAX_TRACEBACK_LINES // 2
        cut = f"[... {len(lines) - 2 * half} lines cut]"
        lines = [*lines[:half], cut, *lines[-half:]]
    return "\n".join(lines)


def _short(line: str) -> str:
    if len(line) <= MAX_LINE_CHARS:
        return line
    return f"{line[:MAX_LINE_CHARS]} [... {len(line) - MAX_LINE_CHARS} characters cut]"


def _with_tail(words: str, report: TestReport) -> str:
    lines = [_short(line.rstrip()) for line in report.output.strip().split("\n")]
    tail = "\n".join(lines[-MAX_TAIL_LINES:])
    return f"{words}\n{tail}" if tail else words
