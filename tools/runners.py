"""Runs a project's tests once in the sandbox and reads what came of each from a result file.

What a program prints inside the sandbox is never taken for an outcome: pytest writes JUnit XML
and unittest a JSON file, both at the end of the run, so a run that dies early has no result. Where
the file goes, and the word that it must hold, are on no command line. Code under test shares a
process with its runner and could still look into it; `agent.verdict` says what that means.
"""

import json
import secrets
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits
from tools.command_words import (
    PYTHON,
    Argv,
    cut_at_double_dash,
    is_module,
    is_unittest,
    parts_of,
    start_folder,
    without_launcher,
    without_paths,
)
from tools.project import Environment
from tools.result_files import merged, read_junit, read_unittest
from tools.scrub import Scrubber
from tools.tally import Tally
from tools.test_report import Outcome, TestCase, TestReport, command_id

RECORDER = "qwen_agent_recorder"
"""What the plugin is called where pytest loads it."""
NO_TESTS = 5
"""The exit code of pytest and unittest for that."""


@dataclass(frozen=True)
class Prepared:
    """A command made ready to leave a result file."""

    argv: Argv
    result: Path | None
    """Where the runner will write, in the scratch folder."""
    token: str = ""
    """What only a whole result holds."""
    variables: Mapping[str, str] = field(default_factory=dict)
    """Set for the runner, on top of the project's environment."""


class Runner(Protocol):
    """One kind of test command."""

    def recognises(self, command: Argv) -> bool:
        """Whether `command` is of this kind."""
        ...

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Change `command` so that it leaves its results in `scratch`; restrict it to `only`."""
        ...

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the result file; None if there is none, or it is not whole."""
        ...


class PytestRunner:
    """pytest, called by its name, as a module, or through uv, poetry or pipenv."""

    def recognises(self, command: Argv) -> bool:
        """Whether the command is pytest's."""
        words = without_launcher(command)
        return is_module(words, "pytest") or (
            bool(words) and Path(words[0]).name in ("pytest", "py.test")
        )

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Add a plugin and ask for short tracebacks; keep every other word of the command."""
        words = without_launcher(command)
        if is_module(words, "pytest"):
            split = words.index("pytest") + 1
            head = (_python(words[0], environment), *words[1:split])
        else:
            split = 1
            head = _pytest_script(words[0], environment)
        arguments, end = cut_at_double_dash(words[split:])
        if only:
            arguments, end = without_paths(arguments, view.source / view.folder), ()
        # Before the command's own words: what those may override.
        ahead = ("--maxfail=0", "--continue-on-collection-errors", "--rootdir=.")
        # A cache of its own: a run must not depend on the last one, and `--lf` must stay known.
        behind = ("-q", "--tb=short", "--color=no", "-o", f"cache_dir={scratch / 'cache'}")
        argv = (*head, *ahead, *arguments, *behind, *end, *only)
        plugins = scratch / "plugins"
        plugins.mkdir()
        known = {**view.environment, **environment.variables}.get("PYTHONPATH", "")
        result, token = scratch / "junit.xml", secrets.token_hex()
        settings = {"result": str(result), "token": token, "pythonpath": known}
        _place_driver("pytest_driver.py", plugins / f"{RECORDER}.py", settings)
        paths = f"{plugins}:{known}" if known else str(plugins)
        return Prepared(argv, result, token, {"PYTEST_PLUGINS": RECORDER, "PYTHONPATH": paths})

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JUnit XML that pytest wrote."""
        assert prepared.result is not None
        return read_junit(prepared.result, view.source / view.folder, prepared.token)


class UnittestRunner:
    """`python -m unittest`, run through a driver that records every test."""

    def recognises(self, command: Argv) -> bool:
        """Whether the command is unittest's."""
        return is_unittest(command)

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Put the driver in the place of `-m unittest`."""
        words = without_launcher(command)
        split = words.index("unittest")
        result, token = scratch / "unittest.json", secrets.token_hex()
        driver = scratch / "driver.py"
        settings = {"result": str(result), "token": token, "only": only}
        _place_driver("unittest_driver.py", driver, settings)
        head = (_python(words[0], environment), *words[1 : split - 1])
        return Prepared((*head, str(driver), *words[split + 1 :]), result, token)

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JSON that the driver wrote."""
        assert prepared.result is not None
        return read_unittest(prepared.result, prepared.token)


class GenericRunner:
    """Any other command: its exit code is all that is known."""

    def recognises(self, command: Argv) -> bool:
        """Every command can be run this way."""
        return True

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Run it as it is; it cannot be restricted."""
        words = (_python(command[0], environment), *command[1:])
        return Prepared(words, None)

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """There is no file to read."""
        return None


RUNNERS: tuple[Runner, ...] = (PytestRunner(), UnittestRunner(), GenericRunner())


def runner_for(command: Argv) -> Runner:
    """Choose the runner that can tell most about `command`."""
    return next(runner for runner in RUNNERS if runner.recognises(command))


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
    runner = runner_for(words)
    tally = Tally()
    with tempfile.TemporaryDirectory(prefix="tests-", dir=view.scratch) as folder:
        scratch = Path(folder).resolve()
        prepared = runner.prepare(words, environment, view, scratch, tuple(only))
        seen = _view_with(view, environment, scratch, prepared.variables)
        result = sandbox.run(prepared.argv, seen, limits, cancel, tally.feed)
        cases = runner.read(prepared, view) if result.exit_code is not None else None
    clean = Scrubber(view, scratch, environment.read_only)
    if prepared.result is None:
        cases = _one_case(words, result)
    return TestReport(
        command=words,
        exit_code=result.exit_code,
        cases=tuple(clean.case(case) for case in cases or ()),
        output=clean.output(result.output),
        timed_out=result.timed_out,
        duration_s=limits.wall_s if result.timed_out else result.duration_s,
        parsed=cases is not None,
        num_ran=tally.num_ran if prepared.result is None else None,
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
    )


def _place_driver(name: str, place: Path, settings: Mapping[str, Any]) -> None:
    """Copy a driver where the sandbox sees it, and its settings beside it."""
    place.write_text(Path(__file__).with_name(name).read_text("utf-8"), encoding="utf-8")
    place.with_suffix(".json").write_text(json.dumps(settings), encoding="utf-8")


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


def _python(word: str, environment: Environment) -> str:
    """A bare `python` means the project's; a path means what it says."""
    if environment.interpreter is not None and PYTHON.fullmatch(word):
        return str(environment.interpreter)
    return word


def _pytest_script(word: str, environment: Environment) -> Argv:
    """The `pytest` that lies beside the project's python, or the module where there is none."""
    python = environment.interpreter
    if python is None or "/" in word or (python.parent / word).exists():
        return (word,)
    return (str(python), "-m", "pytest")
