"""Tests that are red by chance are no targets; those that others make red are."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.chance import green_by_chance
from sandbox.bubblewrap import Bubblewrap
from tests.agent.test_verdict import ADD, DOUBLE, MENDED, Project, report
from tools.test_report import TestReport


@pytest.mark.parametrize(
    ("alone", "together", "by_chance"),
    [
        (["failed", "failed"], "passed", False),
        (["failed", "passed"], "failed", True),
        (["passed", "failed"], "failed", True),
        (["passed", "passed"], "passed", True),
        (["passed", "passed"], "failed", False),  # red because of those before it
    ],
)
def test_further_runs_say_what_is_red_by_chance(
    alone: list[str], together: str, by_chance: bool
) -> None:
    outcomes = iter(alone)

    def run(only: Sequence[str]) -> TestReport:
        return report(0, a=next(outcomes) if only else together)  # type: ignore[arg-type]

    assert green_by_chance({"a"}, run) == ({"a"} if by_chance else set())


def test_a_test_that_was_red_by_chance_is_not_repaired_by_any_edit(tmp_path: Path) -> None:
    project = Project(tmp_path, Bubblewrap())
    before = project.test()
    cases = tuple(replace(case, outcome="failed") for case in before.cases)
    before = replace(before, cases=cases)  # as if DOUBLE had been unlucky
    project.write({"shop.py": MENDED})
    verdict = project.judge(before, (DOUBLE,))
    assert not verdict.fixed
    assert verdict.reason == (
        "No red test is one that stays red. "
        f"Red or green by chance, with nothing changed: {DOUBLE}."
    )
    verdict = project.judge(before)
    assert (verdict.fixed, verdict.targets) == (True, {ADD})
    assert verdict.reason.endswith(f"with nothing changed: {DOUBLE}.")


def test_a_test_that_is_red_after_others_only_is_repaired(tmp_path: Path) -> None:
    tests = "from shop import add\ndef test_1(): add(1)\ndef test_2(): assert add(1) == [1]\n"
    code = "def add(a, to=[]):\n    to.append(a)\n    return to\n"
    project = Project(tmp_path, Bubblewrap(), {"shop.py": code, "tests/test_shop.py": tests})
    before = project.test()
    assert before.red == {"tests/test_shop.py::test_2"}
    project.write({"shop.py": "def add(a):\n    return [a]\n"})
    assert project.judge(before).fixed
