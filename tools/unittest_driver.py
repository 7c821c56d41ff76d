"""Runs unittest inside the sandbox and writes each test's outcome to a file, for `runners`.

Not imported by this program: its text is copied next to the result file and run by the project's
own interpreter, as `python driver.py ARGUMENTS-OF-UNITTEST...`. Where the result goes and the word
that makes it whole are in a file beside it, gone before code of the project runs. Needs Python 3.8.
"""

from __future__ import annotations

import json
import sys
import unittest
from pathlib import Path
from typing import Any

WORST = ("skipped", "passed", "failed", "error")


class Recorder(unittest.TextTestResult):
    """Keeps the worst outcome of every test and its sub-tests."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cases: Any = {}

    def keep(self, test: Any, outcome: str, error: Any = None, message: str = "") -> None:
        """Note an outcome; of several the worst stands and the tracebacks add up."""
        case = self.cases.setdefault(test.id(), {"outcome": outcome, "message": "", "details": ""})
        if WORST.index(outcome) > WORST.index(case["outcome"]):
            case["outcome"] = outcome
        if error is not None:
            message = message or f"{error[0].__name__}: {error[1]}"
            case["details"] += self._exc_info_to_string(error, test)  # type: ignore[attr-defined]
        case["message"] = case["message"] or message

    def addSuccess(self, test: Any) -> None:
        """See unittest.TestResult."""
        super().addSuccess(test)
        self.keep(test, "passed")

    def addFailure(self, test: Any, err: Any) -> None:
        """See unittest.TestResult."""
        super().addFailure(test, err)
        self.keep(test, "failed", err)

    def addError(self, test: Any, err: Any) -> None:
        """See unittest.TestResult."""
        super().addError(test, err)
        self.keep(test, "error", err)

    def addSkip(self, test: Any, reason: str) -> None:
        """See unittest.TestResult."""
        super().addSkip(test, reason)
        self.keep(test, "skipped", message=reason)

    def addExpectedFailure(self, test: Any, err: Any) -> None:
        """See unittest.TestResult."""
        super().addExpectedFailure(test, err)
        self.keep(test, "skipped", message="expected failure")

    def addUnexpectedSuccess(self, test: Any) -> None:
        """See unittest.TestResult."""
        super().addUnexpectedSuccess(test)
        self.keep(test, "failed", message="unexpected success")

    def addSubTest(self, test: Any, subtest: Any, err: Any) -> None:
        """See unittest.TestResult."""
        super().addSubTest(test, subtest, err)
        if err is not None:
            failed = issubclass(err[0], test.failureException)
            self.keep(test, "failed" if failed else "error")
            self.cases[test.id()]["details"] += subtest.id()[len(test.id()) :].strip() + "\n"
            self.keep(test, "failed" if failed else "error", err)


def chosen(suite: Any, only: Any) -> Any:
    """Keep the tests named, or those inside what is named."""
    kept = unittest.TestSuite()
    for test in suite:
        if isinstance(test, unittest.TestSuite):
            kept.addTest(chosen(test, only))
        elif any(test.id() == name or test.id().startswith(name + ".") for name in only):
            kept.addTest(test)
    return kept


class Program(unittest.TestProgram):
    """`python -m unittest` for a part of the tests."""

    only: Any = ()
    test: Any

    def createTests(self, *args: Any, **options: Any) -> None:
        """See unittest.TestProgram."""
        super().createTests(*args, **options)
        if self.only:
            self.test = chosen(self.test, self.only)


def main(place: Path) -> int:
    """Run, write the result file last and whole, and end as unittest does."""
    settings = json.loads(place.read_text(encoding="utf-8"))
    place.unlink()
    arguments = sys.argv[1:]
    sys.path[0] = str(Path.cwd())  # as `python -m unittest` has it; not the folder of this file
    Program.only = settings["only"]
    runner = type("Runner", (unittest.TextTestRunner,), {"resultclass": Recorder})
    program = Program(
        module=None, argv=["python -m unittest", *arguments], testRunner=runner, exit=False
    )
    cases = program.result.cases  # type: ignore[attr-defined]
    part = Path(settings["result"] + ".part")
    whole = json.dumps({"cases": cases, "complete": settings["token"]})
    part.write_text(whole, encoding="utf-8")
    part.replace(settings["result"])
    if not cases:
        return 5
    return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
    sys.exit(main(Path(__file__).with_suffix(".json")))
