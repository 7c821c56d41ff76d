"""Reads the result files of test runners: JUnit XML of pytest, JSON of our unittest driver.

Whatever runs in the sandbox can write these files, so nothing in them is trusted: no link is
followed, no entity expanded, the size is bounded, and a file that is not whole is no file.
"""

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

from sandbox.limits import MIB
from tools.test_report import Outcome, TestCase

MAX_RESULT_BYTES = 64 * MIB


def read_regular(path: Path) -> str | None:
    """Read a file that a sandboxed program made: no link, no pipe, no end of size."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        found = os.fstat(number)
        if not stat.S_ISREG(found.st_mode) or found.st_size > MAX_RESULT_BYTES:
            return None
        with os.fdopen(os.dup(number), "rb") as file:
            return file.read(MAX_RESULT_BYTES).decode("utf-8")
    except UnicodeDecodeError:
        return None
    finally:
        os.close(number)


def read_junit(path: Path, source: Path, token: str = "") -> tuple[TestCase, ...] | None:
    """Read pytest's JUnit XML; None unless it is whole, ends as `token` says, has no entities."""
    text = read_regular(path)
    if text is None or "<!DOCTYPE" in text or "<!ENTITY" in text:
        return None
    if token and not text.endswith(f"<!--{token}-->"):
        return None
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError:
        return None
    if root.tag not in ("testsuites", "testsuite") or root.find(".//testcase/..") is None:
        return () if root.tag == "testsuites" and len(root) else None
    return merged(_junit_case(element, source) for element in root.iter("testcase"))


def _junit_case(element: ElementTree.Element, source: Path) -> TestCase:
    outcome: Outcome = "passed"
    message = details = ""
    tags: tuple[tuple[str, Outcome], ...] = (
        ("failure", "failed"), ("error", "error"), ("skipped", "skipped"),
    )  # fmt: skip
    for tag, meaning in tags:
        child = element.find(tag)
        if child is not None:
            outcome, details = meaning, child.text or ""
            message = child.get("message", "").strip().split("\n")[0]
            break
    return TestCase(_node_id(element, source), outcome, message, details)


def _node_id(element: ElementTree.Element, source: Path) -> str:
    """Put together pytest's node id, which JUnit holds in three attributes."""
    file = element.get("file", "")
    dotted = element.get("classname", "")
    name = element.get("name", "")
    if not dotted:  # a module that could not be imported
        return file or _module_file(name.split("."), source)[0] or name
    module = file.removesuffix(".py").replace("/", ".")
    if file and (dotted == module or dotted.startswith(module + ".")):
        classes = dotted[len(module) + 1 :]
        return "::".join([file, *(classes.split(".") if classes else ()), name])
    # `file` is where a test was written; one that is inherited runs as part of another file.
    parts = dotted.split(".")
    found, num_parts = _module_file(parts, source)
    return "::".join([found or dotted, *(parts[num_parts:] if found else ()), name])


def _module_file(parts: list[str], source: Path) -> tuple[str, int]:
    for num_parts in range(len(parts), 0, -1):
        candidate = "/".join(parts[:num_parts]) + ".py"
        if (source / candidate).is_file():
            return candidate, num_parts
    return "", 0


def read_unittest(path: Path, token: str) -> tuple[TestCase, ...] | None:
    """Read what the driver wrote; None unless it is whole, of the right shape and holds `token`."""
    text = read_regular(path)
    if text is None:
        return None
    try:
        data = json.loads(text)
        if data["complete"] != token:
            return None
        return tuple(
            TestCase(
                str(name),
                _outcome(case["outcome"]),
                str(case["message"]).split("\n")[0],
                str(case["details"]),
            )
            for name, case in data["cases"].items()
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # a program in the sandbox wrote something else there


def _outcome(word: object) -> Outcome:
    outcomes: dict[object, Outcome] = {
        name: name for name in ("passed", "failed", "error", "skipped")
    }
    return outcomes[word]


SEVERITY: dict[Outcome, int] = {"skipped": 0, "passed": 1, "error": 2, "failed": 3}


def merged(cases: Iterable[TestCase]) -> tuple[TestCase, ...]:
    """Make one case of all that share an id: a failure and a failed teardown, or sub-tests."""
    by_id: dict[str, TestCase] = {}
    for case in cases:
        known = by_id.get(case.id)
        if known is None:
            by_id[case.id] = case
            continue
        worse = max(known, case, key=lambda one: SEVERITY[one.outcome])
        details = "\n".join(text for text in (known.details, case.details) if text)
        by_id[case.id] = replace(worse, details=details)
    return tuple(by_id.values())
