"""What a run of the tests showed, as an event."""

from agent.events import TestsRan
from tools.run_tests import summarise
from tools.test_report import TestReport


def tests_ran(when: str, report: TestReport) -> TestsRan:
    """Tell of a run; `when` is as in the event."""
    red = tuple(sorted(report.red))
    return TestsRan(when, summarise(report), red, report.duration_s, report.ok)
