"""What one run of a project's tests showed: plain data, from `runners`, worded by `run_tests`."""

import shlex
from dataclasses import dataclass
from typing import ClassVar, Literal

Outcome = Literal["passed", "failed", "error", "skipped"]

RED: frozenset[Outcome] = frozenset({"failed", "error"})


@dataclass(frozen=True)
class TestCase:
    """One test and how it ended."""

    __test__: ClassVar[bool] = False
    """Keeps pytest from taking the class for a test where it is imported."""

    id: str
    """The runner's own name for it: `tests/test_x.py::TestC::test_f[p]` for pytest."""
    outcome: Outcome
    message: str = ""
    """One line: the exception's text or the reason of a skip."""
    details: str = ""
    """The traceback, with paths relative to the workspace."""


@dataclass(frozen=True)
class TestReport:
    """What one run of the tests showed."""

    __test__: ClassVar[bool] = False

    command: tuple[str, ...]
    """As the project or the user names it."""
    exit_code: int | None
    """None if the run was stopped at a limit or on cancel."""
    cases: tuple[TestCase, ...]
    output: str
    """What was printed: for reading only, no outcome is ever taken from it."""
    timed_out: bool
    duration_s: float
    """The whole limit when it timed out."""
    parsed: bool
    """Whether the result of every test was read from a complete result file."""
    num_ran: int | None = None
    """How many tests the output of a command speaks of whose exit code is all that is known."""
    told: tuple[TestCase, ...] = ()
    """What such a command printed of single tests: to know where to look, never for a verdict."""
    notices: tuple[str, ...] = ()
    """What the run left in the workspace that was put aside, a sentence each."""

    @property
    def red(self) -> frozenset[str]:
        """The ids of what failed."""
        return frozenset(case.id for case in self.cases if case.outcome in RED)

    @property
    def green(self) -> frozenset[str]:
        """The ids of what passed."""
        return frozenset(case.id for case in self.cases if case.outcome == "passed")

    @property
    def skipped(self) -> frozenset[str]:
        """The ids of what did not run or was expected to fail."""
        return frozenset(case.id for case in self.cases if case.outcome == "skipped")

    @property
    def ok(self) -> bool:
        """Whether it ran to its end, at least one test passed and nothing was red."""
        return (
            self.parsed
            and not self.timed_out
            and self.exit_code == 0
            and bool(self.green)
            and not self.red
        )

    @property
    def by_exit_code(self) -> bool:
        """Whether the exit code is all that is known: one case stands for the whole command."""
        return len(self.cases) == 1 and self.cases[0].id == command_id(self.command)

    @property
    def missing_command(self) -> bool:
        """Whether the command could not be started (exit codes of every shell for that)."""
        return self.exit_code in (126, 127) and not self.cases

    @property
    def no_tests(self) -> bool:
        """Whether the runner ended by itself and had nothing to run."""
        return self.exit_code is not None and not self.cases and not self.missing_command


def command_id(command: tuple[str, ...]) -> str:
    """Name the one case of a command that is judged by its exit code."""
    return shlex.join(command)
