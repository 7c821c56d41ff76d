"""Runs a project's tests once in the sandbox and reads what came of each from a result file.

What a program prints inside the sandbox is never taken for an outcome: pytest writes JUnit XML
and unittest a JSON file, both at the end of the run, so a run that dies early has no result. Code
under test shares a process with its runner and could still forge the file; `agent.verdict` says
what is done about that.
"""

import json
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Protocol

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits
from tools.project import Environment
from tools.result_files import read_junit, read_unittest
from tools.scrub import Scrubber
from tools.test_report import Outcome, TestCase, TestReport, command_id

Argv = tuple[str, ...]


@dataclass(frozen=True)
class Prepared:
    """A command made ready to leave a result file."""

    argv: Argv
    result: Path | None
    """Where the runner will write, in the scratch folder."""


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
        return _is_module(words, "pytest") or (
            bool(words) and Path(words[0]).name in ("pytest", "py.test")
        )

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Ask for JUnit XML and short tracebacks; keep every other word of the command."""
        words = without_launcher(command)
        if _is_module(words, "pytest"):
            split = words.index("pytest") + 1
            head = (_python(words[0], environment), *words[1:split])
        else:
            split = 1
            head = _pytest_script(words[0], environment)
        arguments, end = _cut_at_double_dash(words[split:])
        if only:
            arguments, end = _without_paths(arguments, view.source), ()
        result = scratch / "junit.xml"
        # Before the command's own words: what those may override.
        ahead = ("--maxfail=0", "--continue-on-collection-errors", "--rootdir=.")
        # A cache of its own: a run must not depend on the last one, and `--lf` must stay known.
        behind = (
            "-q", "--tb=short", "--color=no", "-o", f"cache_dir={scratch / 'cache'}",
            "-o", "junit_family=xunit1", f"--junitxml={result}",
        )  # fmt: skip
        return Prepared((*head, *ahead, *arguments, *behind, *end, *only), result)

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JUnit XML that pytest wrote."""
        assert prepared.result is not None
        return read_junit(prepared.result, view.source)


class UnittestRunner:
    """`python -m unittest`, run through a driver that records every test."""

    def recognises(self, command: Argv) -> bool:
        """Whether the command is unittest's."""
        return _is_module(without_launcher(command), "unittest")

    def prepare(
        self, command: Argv, environment: Environment, view: View, scratch: Path, only: Argv
    ) -> Prepared:
        """Put the driver in the place of `-m unittest`."""
        words = without_launcher(command)
        split = words.index("unittest")
        result = scratch / "unittest.json"
        driver = scratch / "driver.py"
        driver.write_text(Path(__file__).with_name("unittest_driver.py").read_text("utf-8"))
        names = scratch / "only.json"
        names.write_text(json.dumps(only))
        head = (_python(words[0], environment), *words[1 : split - 1])
        argv = (*head, str(driver), str(result), str(names), *words[split + 1 :])
        return Prepared(argv, result)

    def read(self, prepared: Prepared, view: View) -> tuple[TestCase, ...] | None:
        """Read the JSON that the driver wrote."""
        assert prepared.result is not None
        return read_unittest(prepared.result)


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
    runner = runner_for(words)
    with tempfile.TemporaryDirectory(prefix="tests-", dir=view.scratch) as folder:
        scratch = Path(folder).resolve()
        prepared = runner.prepare(words, environment, view, scratch, tuple(only))
        result = sandbox.run(prepared.argv, _view_with(view, environment, scratch), limits, cancel)
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
    )


def _view_with(view: View, environment: Environment, scratch: Path) -> View:
    return replace(
        view,
        read_only=(*view.read_only, *environment.read_only),
        path=environment.path,
        environment={**view.environment, **environment.variables},
        scratch=scratch,
    )


def _one_case(command: Argv, result: CommandResult) -> tuple[TestCase, ...] | None:
    """The case that stands for a command known by its exit code; none if it did not run."""
    if result.exit_code is None or result.exit_code in (126, 127):
        return None
    outcome: Outcome = "passed" if result.exit_code == 0 else "failed"
    return (TestCase(command_id(command), outcome, f"exit code {result.exit_code}"),)


LAUNCHERS = (("uv", "run"), ("poetry", "run"), ("pipenv", "run"), ("pdm", "run"))
PYTHON = re.compile(r"python(\d+(\.\d+)?)?")

FLAGS_WITHOUT_VALUE = re.compile(r"-[qvxsl]+|--(lf|ff|sw|exitfirst|quiet|verbose|no-header)")


def without_launcher(command: Argv) -> Argv:
    """Take `uv run` and the like away: their environment is the one that was detected."""
    for launcher in LAUNCHERS:
        if command[: len(launcher)] == launcher:
            words = command[len(launcher) :]
            while words and words[0].startswith("-"):
                words = words[1:]
            return words
    return command


def _is_module(words: Argv, module: str) -> bool:
    """Whether it is `python [flags] -m module ...`."""
    if not words or not PYTHON.fullmatch(Path(words[0]).name):
        return False
    for word, following in pairwise(words):
        if word == "-m":
            return following == module
    return False


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


def _cut_at_double_dash(arguments: Argv) -> tuple[Argv, Argv]:
    if "--" not in arguments:
        return arguments, ()
    at = arguments.index("--")
    return arguments[:at], arguments[at:]


def _without_paths(arguments: Argv, root: Path) -> Argv:
    """Drop the files and folders a command names, since ids will stand in their place."""
    kept: list[str] = []
    before = ""
    for word in arguments:
        is_value = (
            before.startswith("-")
            and "=" not in before
            and not FLAGS_WITHOUT_VALUE.fullmatch(before)
        )
        is_path = not word.startswith("-") and (root / word.split("::")[0]).exists()
        if is_value or not is_path:
            kept.append(word)
        before = word
    return tuple(kept)
