"""What nano is told in the place of a prompt: it was trained to mend red tests, and on one wording.

Any other words of a person mean nothing to it, so the tests speak for them while one is red.
"""

from collections.abc import Generator

from agent.events import Event, Notice, TestsStarted
from agent.tests_ran import tests_ran
from agent.wording import prompt
from agent.workplace import Workplace
from sandbox.base import Cancel
from tools.run_tests import describe


def known_words(text: str, place: Workplace, cancel: Cancel) -> Generator[Event, None, str]:
    """Return the prompt that nano knows for what the tests show; `text` if there is none."""
    if place.command:
        yield TestsStarted("before")
        report = place.run_tests(cancel)
        yield tests_ran("before", report)
        if cancel():
            return text
        if report.red:
            return prompt("fix", report=describe(report))
    yield Notice("No test fails here, and nano knows no other work; another model would.")
    return text
