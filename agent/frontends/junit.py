"""The file of `--junit`: the last run of the tests, and the verdict on the repair as one more case.

It has a red case exactly if a test was red in that run or the run did not exit with 0, so a
reader of JUnit files and a reader of exit codes see the same.
"""

import re
from xml.etree import ElementTree

from agent.outcome import BUDGET, FIXED, NOTHING, RED, FixOutcome
from tools.readable import readable
from tools.test_report import TestCase

SUITE = "qwen-agent fix"
ILLEGAL = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold, not even escaped."""
MAX_DETAILS = 20_000
"""Characters of one traceback."""


def junit_of(outcome: FixOutcome) -> bytes:
    """Write the outcome of a run as JUnit XML, in the form that Jenkins and GitLab read."""
    tests = outcome.after or outcome.before
    cases = tests.cases if tests else ()
    verdict = _verdict(outcome)
    counts = {
        "tests": 1 + len(cases),
        "failures": sum(case.outcome == "failed" for case in cases)
        + (verdict.find("failure") is not None),
        "errors": sum(case.outcome == "error" for case in cases)
        + (verdict.find("error") is not None),
        "skipped": sum(case.outcome == "skipped" for case in cases),
    }
    numbers = {name: str(count) for name, count in counts.items()}
    root = ElementTree.Element("testsuites", {"name": SUITE, **numbers})
    about = {"name": _legal(outcome.test_command) or SUITE, "time": f"{outcome.duration_s:.3f}"}
    suite = ElementTree.SubElement(root, "testsuite", {**about, **numbers})
    _add_properties(suite, outcome)
    suite.extend([*map(_case, cases), verdict])
    ElementTree.indent(root)
    document: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return document + b"\n"


def _add_properties(suite: ElementTree.Element, outcome: FixOutcome) -> None:
    values = {
        "exit_code": str(outcome.exit_code),
        "outcome": outcome.word,
        "tests": "after" if outcome.after else "before" if outcome.before else "none",
        "model": outcome.model,
        "session": outcome.session_id,
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in values.items():
        ElementTree.SubElement(properties, "property", {"name": name, "value": _legal(value)})


def _case(case: TestCase) -> ElementTree.Element:
    holder, name = split_id(case.id)
    element = ElementTree.Element("testcase", {"classname": _legal(holder), "name": _legal(name)})
    if case.outcome != "passed":
        tag = {"failed": "failure", "error": "error", "skipped": "skipped"}[case.outcome]
        problem = ElementTree.SubElement(element, tag, {"message": _legal(case.message)})
        problem.text = _legal(case.details[-MAX_DETAILS:]) or None
    return element


def _verdict(outcome: FixOutcome) -> ElementTree.Element:
    """The run as a case: failed if it went its way without a repair, an error if it could not."""
    element = ElementTree.Element("testcase", {"classname": SUITE, "name": "verdict"})
    if outcome.exit_code != FIXED:
        tag = "failure" if outcome.exit_code in (RED, NOTHING, BUDGET) else "error"
        about = {"message": _legal(outcome.sentence), "type": outcome.word}
        ElementTree.SubElement(element, tag, about)
    return element


def split_id(test: str) -> tuple[str, str]:
    """Split the id of a test into what holds it and its own name."""
    plain, bracket, arguments = test.partition("[")  # where pytest has any text of the test's
    holder, _, name = plain.rpartition("::" if "::" in plain else ".")
    if not holder or not name or " " in holder:
        return SUITE, test
    return holder, name + bracket + arguments


def _legal(text: str) -> str:
    return ILLEGAL.sub("\ufffd", readable(text))
