"""Runs the few tests that are near to an edit, within seconds, and says what they showed.

It learns: tests that once took longer than the limit are not run after edits again. Which edit it
was, and what is done with the words, is not decided here.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from agent.settings import VerifyConfig
from sandbox.base import Cancel
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.jest import JestRunner
from tools.near_scripts import is_script_test, near_scripts
from tools.near_tests import ids_of, is_test_file, near_tests
from tools.run_tests import describe, summarise
from tools.test_report import RED, TestReport
from tools.truncate import cut_middle

MAX_DEPTH = 12
"""Folders below the project in which test files are looked for."""
MAX_TEST_FILES = 300
MAX_FAILURE_CHARACTERS = 1_500
MAX_NAMED = 3
DOCUMENTS = (".md", ".rst", ".txt")
"""What no test depends on, as a rule."""
WHOLE: tuple[str, ...] = ()
"""No ids: all tests."""

RunSome = Callable[[Sequence[str], float, Cancel], TestReport]
"""Runs the tests with these ids, all if there are none, for so many seconds at most."""


class EditTests:
    """The tests near to an edit."""

    def __init__(
        self, command: Sequence[str], workspace: Workspace, run_some: RunSome, config: VerifyConfig
    ) -> None:
        self._command = tuple(command)
        self._is_jest = JestRunner().recognises(self._command, workspace.root / workspace.folder)
        """Or vitest: both are given files as Python's runners are."""
        self._workspace = workspace
        self._run_some = run_some
        self._config = config
        self._too_slow: set[tuple[str, ...]] = set()
        self._not_asked_for: frozenset[str] = frozenset()

    def expect(self, before: TestReport, targets: frozenset[str]) -> None:
        """Learn what was red before the work and need not be mended, if the targets are others."""
        self._not_asked_for = before.red - targets if targets else frozenset()
        self.saw(before)

    def saw(self, report: TestReport) -> None:
        """Learn from a run of all tests how long they take."""
        if report.exit_code is not None or report.timed_out:
            is_slow = report.timed_out or report.duration_s > self._config.tests_s
            if is_slow:
                self._too_slow.add(WHOLE)
            else:
                self._too_slow.clear()  # where all are quick, a part of them was slow by an edit

    def run(self, paths: Iterable[str], cancel: Cancel) -> str:
        """Run what is near to these files; return what to say of it, nothing if there is nothing.

        Raises:
            SandboxUnavailable: nothing can be run.
        """
        code = [path for path in paths if not path.endswith(DOCUMENTS)]
        files = self._near(code)
        ids = (files or None) if self._is_jest else ids_of(self._command, files)
        if ids is None:
            return self._run(WHOLE, "All tests", cancel) if code else ""
        return self._run(ids, ", ".join(files), cancel) if ids else ""

    def _near(self, paths: Iterable[str]) -> tuple[str, ...]:
        near = near_scripts if self._is_jest else near_tests
        tests = self._test_files(is_script_test if self._is_jest else is_test_file)
        found = dict.fromkeys(test for path in paths for test in near(path, tests))
        return tuple(found)[: self._config.max_files]

    def _test_files(self, is_test: Callable[[str], bool]) -> dict[str, str]:
        names = filter(is_test, self._workspace.listing(".", MAX_DEPTH))
        texts: dict[str, str] = {}
        for name in names:
            try:
                texts[name] = self._workspace.read(name).decode("utf-8", "replace")
            except (OSError, PathRefused):  # a link that leads out, or gone since
                continue
            if len(texts) == MAX_TEST_FILES:
                break
        return texts

    def _run(self, ids: tuple[str, ...], what: str, cancel: Cancel) -> str:
        if ids in self._too_slow:
            return ""
        report = self._run_some(ids, self._config.tests_s, cancel)
        if report.timed_out:
            self._too_slow.add(ids)
            return (
                f"{what}: not done after {self._config.tests_s:g} s, so not run after edits "
                "any more; use run_tests. Perhaps the edit never ends."
            )
        return "" if report.exit_code is None else f"{what}: {self._told(report)}"

    def _told(self, report: TestReport) -> str:
        news = report.red - self._not_asked_for
        if report.red and not news:
            names = ", ".join(sorted(report.red)[:MAX_NAMED])
            return f"{summarise(report)}; red as before and not asked for: {names}."
        return in_short(report, news)


def in_short(report: TestReport, wanted: Collection[str] = ()) -> str:
    """Say what a run showed: the counts, and of what is red the first, best one of `wanted`."""
    red = [case for case in report.cases if case.outcome in RED]
    if report.by_exit_code or report.timed_out or not report.cases:
        return cut_middle(describe(report), MAX_FAILURE_CHARACTERS)
    if not red:
        return f"{summarise(report)}."
    # What could not be imported comes before the tests inside.
    first = min(red, key=lambda case: (case.id not in wanted, "::" in case.id, case.id))
    words = describe(replace(report, cases=(first,))).partition("\n\n")[2]
    return f"{summarise(report)}.\n{cut_middle(words, MAX_FAILURE_CHARACTERS)}"
