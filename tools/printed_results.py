"""Reads what cargo and go print of each test: for people and models, never for a verdict.

Anything in the sandbox can print such lines, so the outcome of these commands stays their exit
code; this says which tests to look at.
"""

import re
from dataclasses import replace

from tools.result_files import merged
from tools.test_report import Outcome, TestCase

CARGO_BINARY = re.compile(r" +Running (?:unittests )?(\S+) \(.*\)|   Doc-tests (\S+)")
CARGO_TEST = re.compile(r"test (.+?)(?: - should panic)? \.\.\. (ok|FAILED|ignored).*")
CARGO_BLOCK = re.compile(r"---- (.+) stdout ----")
CARGO_OUTCOMES: dict[str, Outcome] = {"ok": "passed", "FAILED": "failed", "ignored": "skipped"}
GO_TEST = re.compile(r" *--- (PASS|FAIL|SKIP): (\S+) \(.*\)")
GO_RUN = re.compile(r" *=== (?:RUN|CONT|NAME) +(\S+)")
GO_PACKAGE = re.compile(r"(?:ok  |FAIL|\?   )\t(\S+)[\t ]?(.*)")
GO_BUILD = re.compile(r"# (\S+)(?: \[.*\])?")
GO_NOISE = re.compile(r" *=== PAUSE .*|PASS|FAIL|exit status \d+")
GO_OUTCOMES: dict[str, Outcome] = {"PASS": "passed", "FAIL": "failed", "SKIP": "skipped"}


def read_cargo(output: str) -> tuple[TestCase, ...]:
    """Read the output of `cargo test`; the binary, as cargo names it, comes first in an id."""
    outcomes: dict[str, Outcome] = {}
    details: dict[str, list[str]] = {}
    binary, block = "", ""
    for line in output.split("\n"):
        if found := CARGO_BINARY.fullmatch(line):
            binary, block = found[1] or f"doc {found[2]}", ""
        elif found := CARGO_TEST.fullmatch(line):
            outcomes[f"{binary}::{found[1]}"] = CARGO_OUTCOMES[found[2]]
        elif found := CARGO_BLOCK.fullmatch(line):
            block = f"{binary}::{found[1]}"
        elif line in ("failures:", "stack backtrace:"):
            block = ""
        elif block:
            details.setdefault(block, []).append(line)
    return tuple(_case(name, outcome, details.get(name, [])) for name, outcome in outcomes.items())


def read_go(output: str) -> tuple[TestCase, ...]:
    """Read the output of `go test -v`; ids begin with the package."""
    cases: list[TestCase] = []
    tests: list[tuple[str, Outcome]] = []
    said: dict[str, list[str]] = {}
    built: dict[str, list[str]] = {}
    heard: list[str] = []
    """Where a line belongs that says nothing of whose it is."""
    for line in output.split("\n"):
        if found := GO_PACKAGE.fullmatch(line):  # it ends what was printed of a package
            package, rest = found[1], found[2]
            cases += [
                _case(f"{package}::{name}", outcome, said.get(name, [])) for name, outcome in tests
            ]
            if rest.endswith("failed]"):
                cases.append(TestCase(package, "error", rest.strip("[]")))
            tests, said, heard = [], {}, []
        elif found := GO_TEST.fullmatch(line):
            tests.append((found[2], GO_OUTCOMES[found[1]]))
            heard = said.setdefault(found[2], [])
        elif found := GO_RUN.fullmatch(line):
            heard = said.setdefault(found[1], [])
        elif found := GO_BUILD.fullmatch(line):
            heard = built.setdefault(found[1], [])
        elif not GO_NOISE.fullmatch(line):
            heard.append(line.strip())
    return merged(
        replace(case, details="\n".join(built[case.id])) if case.id in built else case
        for case in cases
    )


def _case(name: str, outcome: Outcome, lines: list[str]) -> TestCase:
    if outcome != "failed":
        return TestCase(name, outcome)
    return TestCase(name, outcome, details="\n".join(lines).strip("\n"))
