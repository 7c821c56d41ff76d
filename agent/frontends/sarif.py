"""The file of `--sarif`: SARIF 2.1.0 on the files as they were before the run.

That is one state, the one that CI checked out, whatever became of the files: which tests were red
in it, and what would mend them. Lines are offered as a fix only if the repair was judged good.
"""

import json
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote

from agent.arguments import DISTRIBUTION
from agent.frontends.changes import Change, changes_of
from agent.frontends.places import Place, place_of
from agent.outcome import FIXED, FixOutcome
from tools.readable import readable

SCHEMA = (
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
)
RED_TEST, REPAIR, REJECTED = "red-test", "repair", "rejected-repair"
RULES = {
    RED_TEST: ("error", "A test of the project was red before the run."),
    REPAIR: ("note", "Lines that a repair changes; with it the tests are green on a clean copy."),
    REJECTED: ("none", "Lines that a repair changes which was not judged good."),
}
"""The level of each rule, and what it says."""
LOST = "\ufffd"
"""What stands in a patch for bytes that are no UTF-8: such lines cannot be offered as a fix."""

Node = dict[str, Any]


def sarif_of(outcome: FixOutcome) -> bytes:
    """Write the outcome of a run as a SARIF log."""
    ids = list(RULES)
    results = [*_red_tests(outcome), *_repair(outcome)]
    for result in results:
        result["ruleIndex"] = ids.index(result["ruleId"])
        result["level"] = RULES[result["ruleId"]][0]
        result["kind"] = "informational" if result["level"] == "none" else "fail"
    run: Node = {
        "tool": {"driver": _driver()},
        "invocations": [_invocation(outcome)],
        "columnKind": "unicodeCodePoints",
        "results": results,
    }
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}
    return json.dumps(log, indent=1).encode() + b"\n"


def _driver() -> Node:
    rules = [
        {"id": name, "shortDescription": {"text": text}, "defaultConfiguration": {"level": level}}
        for name, (level, text) in RULES.items()
    ]
    driver: Node = {"name": "qwen-agent", "rules": rules}
    try:
        return {**driver, "version": version(DISTRIBUTION)}
    except PackageNotFoundError:
        return driver


def _invocation(outcome: FixOutcome) -> Node:
    return {
        "executionSuccessful": outcome.exit_code == FIXED,
        "exitCode": outcome.exit_code,
        "exitCodeDescription": f"{outcome.word}: {_text(outcome.sentence)}",
    }


def _red_tests(outcome: FixOutcome) -> Iterator[Node]:
    cases = outcome.before.cases if outcome.before else ()
    for case in cases:
        if outcome.before and case.id in outcome.before.failed:
            result: Node = {
                "ruleId": RED_TEST,
                "message": {"text": _text(f"{case.id}: {case.message}")},
                "partialFingerprints": {"testId/v1": _text(case.id)},
            }
            place = place_of(case, outcome.project)
            yield {**result, "locations": [_location(place)]} if place else result


def _repair(outcome: FixOutcome) -> Iterator[Node]:
    rule = REPAIR if outcome.exit_code == FIXED else REJECTED
    for change in changes_of(outcome.patch):
        last = change.start + max(len(change.removed), 1) - 1
        result: Node = {
            "ruleId": rule,
            "message": {"text": _text(outcome.sentence)},
            "locations": [_location(Place(change.path, change.start), last)],
        }
        if rule == REPAIR and LOST not in "".join((*change.removed, *change.inserted)):
            result["fixes"] = [_fix(change)]
        yield result


def _fix(change: Change) -> Node:
    replacement: Node = {"deletedRegion": deleted_region(change)}
    if change.inserted:
        replacement["insertedContent"] = {"text": change.text}
    artifact = {"artifactLocation": _artifact(change.path), "replacements": [replacement]}
    return {"description": {"text": "The repair."}, "artifactChanges": [artifact]}


def deleted_region(change: Change) -> Node:
    """Return the removed lines with their ends; the last column is not part of it."""
    start, num_lines = change.start, len(change.removed)
    region = {"startLine": start, "startColumn": 1, "endLine": start + num_lines, "endColumn": 1}
    if change.cuts_end and num_lines:
        end_column = len(change.removed[-1]) + 1
        return {**region, "endLine": start + num_lines - 1, "endColumn": end_column}
    return region


def _location(place: Place, last: int | None = None) -> Node:
    physical: Node = {"artifactLocation": _artifact(place.path)}
    if place.line is not None:
        physical["region"] = {"startLine": place.line, "endLine": last or place.line}
    return {"physicalLocation": physical}


def _artifact(path: str) -> Node:
    return {"uri": quote(path, errors="replace"), "uriBaseId": "%SRCROOT%"}


def _text(text: str) -> str:
    return readable(text).strip() or "-"
