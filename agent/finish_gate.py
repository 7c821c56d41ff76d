"""Lets a model finish when its work is done: the tests are green and no item of its list is open.

It accepts what it cannot check, a summary that begins with `blocked:`, and a model that insists:
a run has to end, and whether the repair is good is judged afterwards on a clean copy.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent.edit_tests import in_short
from agent.settings import VerifyConfig
from agent.verdict import compare
from inference.messages import ToolCall
from sandbox.base import Cancel
from tools.base import ToolResult
from tools.test_report import TestReport

BLOCKED = "blocked:"
"""How a summary begins that says why the work cannot be done."""
HOW_TO_GO_ON = (
    "Go on with the work. If you cannot, call finish with a summary that begins with "
    f'"{BLOCKED}" and says why.'
)
MAX_ITEMS_SHOWN = 5
UNKNOWN = TestReport((), None, (), "", timed_out=False, duration_s=0.0, parsed=False)
"""What is known of the tests before the work where nobody ran them: nothing was red."""

RunAll = Callable[[Cancel], TestReport]


@dataclass(frozen=True)
class _Run:
    """A run of all tests, and the files that it left."""

    files: str
    report: TestReport


class FinishGate:
    """Looks at every accepted `finish` before the turn ends with it."""

    def __init__(
        self,
        run_all: RunAll,
        fingerprint: Callable[[], str],
        open_items: Callable[[], Sequence[str]],
        config: VerifyConfig,
    ) -> None:
        """Make a gate; tests count once `expect` has said which.

        Args:
            run_all: runs all tests.
            fingerprint: names the files as they are; the same name for the same files.
            open_items: the items of the todo list that are not done.
            config: what is checked.
        """
        self._run_all = run_all
        self._fingerprint = fingerprint
        self._open_items = open_items
        self._config = config
        self._before: TestReport | None = None
        self._targets: frozenset[str] = frozenset()
        self._last: _Run | None = None
        self._untouched = ""
        self._refused = ("", "")
        """The files and the problem at the last refusal."""
        self._num_refusals = 0
        """How often it was refused with just these."""

    def expect(
        self, before: TestReport | None, targets: frozenset[str] = frozenset(), files: str = ""
    ) -> None:
        """From here on tests decide.

        Args:
            before: the run on the files before the work; None if there was none. Then what is red
                at the end counts, but for a turn that changes nothing.
            targets: the red tests to mend; empty for all that are red.
            files: the name of those files; empty where they are as they were.
        """
        self._before, self._targets = before or UNKNOWN, targets
        self._untouched = files or self._fingerprint()
        self._num_refusals = 0
        self._last = None if before is None else _Run(self._untouched, before)

    def saw(self, report: TestReport) -> None:
        """Learn from a run of all tests on the files as they are: it need not be made again."""
        if report.exit_code is not None or report.timed_out:
            self._last = _Run(self._fingerprint(), report)

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Return the result; of a finish that comes too early, a refusal that says what is left.

        Raises:
            SandboxUnavailable: the tests cannot be run.
        """
        if not result.done or _is_blocked(call):
            return result
        problem = self._open_todo() or self._red_tests(cancel)
        if not problem or cancel():
            return result
        now = (self._fingerprint(), problem)
        self._num_refusals = self._num_refusals + 1 if now == self._refused else 1
        self._refused = now
        if self._num_refusals > self._config.max_refusals:
            return result
        summary = f"not finished: {problem.split(chr(10), 1)[0]}"
        return ToolResult(f"Not finished: {problem}\n{HOW_TO_GO_ON}", summary, ok=False)

    def _open_todo(self) -> str:
        items = self._open_items() if self._config.finish_todo else ()
        if not items:
            return ""
        shown = [f"- {item}" for item in items[:MAX_ITEMS_SHOWN]]
        if len(items) > MAX_ITEMS_SHOWN:
            shown.append(f"[{len(items) - MAX_ITEMS_SHOWN} more]")
        num = f"{len(items)} item" + ("s are" if len(items) > 1 else " is")
        return "\n".join([f"{num} open in your todo list.", *shown])

    def _red_tests(self, cancel: Cancel) -> str:
        """Run all tests unless nothing changed since the last run; say what is wrong with them."""
        if self._before is None or not self._config.finish_tests:
            return ""
        files = self._fingerprint()
        if self._before is UNKNOWN and files == self._untouched:
            return ""
        if self._last is not None and self._last.files == files:
            report = self._last.report
        else:
            report = self._run_all(cancel)
            self.saw(report)
        if cancel():
            return ""
        verdict = compare(self._before, report, self._targets)
        wrong = verdict.still_red | verdict.turned_red
        return "" if verdict.fixed else f"{verdict.reason}\n{in_short(report, wrong)}"


def _is_blocked(call: ToolCall) -> bool:
    return str(call.arguments.get("summary", "")).strip().lower().startswith(BLOCKED)
