"""What a run of `fix` came to: its exit code by the contract's precedence, and its figures."""

from dataclasses import dataclass

from agent.events import StopReason
from inference.messages import Usage
from tools.test_report import TestCase

FIXED, ERROR, USAGE, RED, NOTHING, BUDGET, DENIED, NO_MODEL, CANCELLED = 0, 1, 2, 3, 4, 5, 6, 7, 130

WORDS = {
    FIXED: "fixed",
    ERROR: "error",
    USAGE: "usage",
    RED: "red",
    NOTHING: "nothing",
    BUDGET: "budget",
    DENIED: "denied",
    NO_MODEL: "no_model",
    CANCELLED: "cancelled",
}
RESUMABLE = (CANCELLED, NO_MODEL)
"""A session that ended so can be gone on with."""
PRECEDENCE = (CANCELLED, ERROR, FIXED, BUDGET, DENIED, NO_MODEL, RED, NOTHING)
"""Of several codes that are true of a run, the first here is the one it exits with."""


def strongest(codes: set[int]) -> int:
    """Return the exit code that wins among those that are true of a run."""
    return next(code for code in PRECEDENCE if code in codes)


@dataclass(frozen=True)
class Tests:
    """The tests at one moment."""

    __test__ = False  # pytest collects classes that begin with Test

    num_passed: int
    failed: tuple[str, ...]
    cases: tuple[TestCase, ...] = ()
    """Every test, with what it left."""


@dataclass(frozen=True)
class FixOutcome:
    """All that is known at the end of a run."""

    exit_code: int
    sentence: str
    repository: str
    model: str
    seed: int
    session_id: str = ""
    sandbox: str = ""
    test_command: str = ""
    project: str = ""
    """The folder that the tests run in, relative to the repository; empty for the repository."""
    targets: tuple[str, ...] = ()
    before: Tests | None = None
    after: Tests | None = None
    num_attempts: int = 0
    num_steps: int = 0
    num_calls: int = 0
    stop_reason: StopReason | None = None
    usages: tuple[Usage, ...] = ()
    transcript_tokens: int = 0
    duration_s: float = 0.0
    changed_files: tuple[str, ...] = ()
    patch: str = ""
    patch_file: str | None = None
    applied: bool = False
    commit: str = ""
    """The id of the commit that holds the repair, if one was asked for and made."""

    @property
    def word(self) -> str:
        """The exit code in one word."""
        return WORDS[self.exit_code]

    @property
    def effect(self) -> str:
        """What became of the repository, in words."""
        if self.applied:
            return "the repair was applied"
        return "the repair was committed" if self.commit else "nothing was changed"
