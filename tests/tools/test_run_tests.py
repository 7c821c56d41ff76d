"""The exact words of run_tests: the bundled model was trained on them."""

from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct
from sandbox.limits import Limits
from sandbox.scan import Watched
from tests.plain import plain_python
from tools.errors import ToolFailed
from tools.project import detect_environment
from tools.run_tests import MAX_LINE_CHARS, RunTests, describe, summarise
from tools.test_report import TestCase, TestReport

PYTEST = ("python", "-m", "pytest")


def report(
    *cases: TestCase,
    exit_code: int | None = 0,
    output: str = "",
    timed_out: bool = False,
    command: tuple[str, ...] = PYTEST,
) -> TestReport:
    return TestReport(command, exit_code, cases, output, timed_out, 30.0, parsed=bool(cases))


def passed(name: str) -> TestCase:
    return TestCase(f"test_a.py::{name}", "passed")


def test_green() -> None:
    both = report(passed("test_a"), passed("test_b"))
    assert describe(both) == "2 passed."
    skipped = report(passed("test_a"), TestCase("test_a.py::test_s", "skipped"))
    assert describe(skipped) == "1 passed. 1 skipped."
    assert summarise(skipped) == "1 passed, 1 skipped"


def test_red_shows_the_traceback() -> None:
    details = "test_a.py:2: in test_b\n    assert 1 == 2\nE   assert 1 == 2"
    red = TestCase("test_a.py::test_b", "failed", "assert 1 == 2", details)
    assert describe(report(red, passed("test_a"), exit_code=1)) == (
        "1 failed, 1 passed.\n\n"
        "FAILED test_a.py::test_b\n"
        "test_a.py:2: in test_b\n    assert 1 == 2\nE   assert 1 == 2"
    )
    assert summarise(report(red, passed("test_a"), exit_code=1)) == "1 failed, 1 passed"


def test_what_could_not_be_loaded_comes_first_and_five_are_shown() -> None:
    red = [TestCase(f"test_a.py::test_{n}", "failed", f"no {n}") for n in range(9)]
    text = describe(report(*red, TestCase("test_z.py", "error", "gone"), exit_code=1))
    assert text.startswith(
        "10 failed, 0 passed.\n\nERROR test_z.py\ngone\n\nFAILED test_a.py::test_0"
    )
    assert text.endswith("FAILED test_a.py::test_3\nno 3\n\n[5 more failed]")


def test_long_tracebacks_and_lines_are_cut_in_the_middle() -> None:
    details = "\n".join([*(f"line {n}" for n in range(40)), "E   " + "x" * 1000])
    text = describe(report(TestCase("t.py::test_a", "failed", "", details), exit_code=1))
    lines = text.split("\n")[3:]
    assert len(lines) == 25
    assert lines[11:14] == ["line 11", "[... 17 lines cut]", "line 29"]
    assert lines[-1] == f"E   {'x' * (MAX_LINE_CHARS - 4)} [... 704 characters cut]"


def test_other_endings() -> None:
    assert describe(report(exit_code=5)) == "No tests ran."
    tail = "\n".join(f"line {n}" for n in range(50))
    assert describe(report(exit_code=4, output=tail)) == "\n".join(
        ["No tests ran.", *(f"line {n}" for n in range(20, 50))]
    )
    hung = report(exit_code=None, timed_out=True, output="..")
    assert describe(hung) == "Timed out after 30 s.\n.."
    assert summarise(hung) == "Timed out after 30 s."
    assert describe(report(exit_code=None)) == "Stopped before the end."
    absent = report(exit_code=127, command=("nose", "-v"))
    assert describe(absent) == "Command not found: nose."
    failed = report(passed("test_a"), exit_code=2, output="coverage is 3 %")
    assert describe(failed) == "1 passed, but the run failed (exit code 2).\ncoverage is 3 %"


def test_a_plain_command_shows_both_ends_of_its_output() -> None:
    good = report(TestCase("make test", "passed"), output="ok", command=("make", "test"))
    assert describe(good) == "Tests passed."
    bad = TestCase("make test", "failed")
    said = report(bad, exit_code=2, output="a" * 4000 + "b" * 4000, command=("make", "test"))
    text = describe(said)
    assert text.startswith("Tests failed (exit code 2).\naaa")
    assert text.endswith("bbb")
    assert "[... 2000 characters cut ...]" in text
    assert describe(report(bad, exit_code=2, command=("make", "test"))) == (
        "Tests failed (exit code 2)."
    )


@pytest.fixture
def tool(tmp_path: Path) -> RunTests:
    (tmp_path / "test_a.py").write_text("def test_a(): pass\ndef test_b(): assert 1 == 2\n")
    environment = detect_environment(tmp_path, plain_python())
    view = View(tmp_path, tmp_path)
    return RunTests(PYTEST, environment, view, Bubblewrap(), Limits(wall_s=120))


def test_red_is_a_normal_result_and_ids_choose_what_runs(tool: RunTests) -> None:
    result = tool.run({})
    assert result.text == (
        "1 failed, 1 passed.\n\n"
        "FAILED test_a.py::test_b\n"
        "test_a.py:2: in test_b\n    def test_b(): assert 1 == 2\nE   assert 1 == 2"
    )
    assert result.summary == "1 failed, 1 passed"
    assert result.ok
    assert tool.run({"tests": ["test_a.py::test_a"]}).text == "1 passed."
    absent = tool.run({"tests": "test_a.py::test_c"})
    assert not absent.ok
    assert absent.text.startswith("No tests ran.\n")
    assert "test_a.py::test_c" in absent.text


@pytest.mark.parametrize("value", [["--pdb"], [""], 3, [3]])
def test_what_is_no_id_is_refused(tool: RunTests, value: object) -> None:
    with pytest.raises(ToolFailed, match="test id"):
        tool.run({"tests": value})


FLIPS = """
import os, pathlib
def test_flips():
    mark = pathlib.Path("mark")
    seen = mark.exists()
    mark.touch()
    assert seen
def test_red(): assert False
"""


def test_what_passes_when_run_again_is_told_as_flaky_and_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tools.run_tests.RERUN_S", 600.0)  # however busy the machine is
    (tmp_path / "test_a.py").write_text(FLIPS)
    environment = detect_environment(tmp_path, plain_python())
    view, limits = View(tmp_path, tmp_path), Limits(wall_s=120)
    tool = RunTests(PYTEST, environment, view, Bubblewrap(), limits, is_full=True)
    text = tool.run({}).text
    assert text.startswith("2 failed, 0 passed.")
    assert text.endswith(
        "FLAKY test_a.py::test_flips: failed, then passed when run alone with nothing changed."
    )
    assert tool.run({}).text.startswith("1 failed, 1 passed.")
    assert "FLAKY" not in tool.run({}).text


def test_what_a_run_leaves_and_may_not_leave_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "ws"
    folder.mkdir()
    sandbox = Watched(Direct(), tmp_path / "aside")
    command = ("sh", "-c", "touch .envrc")
    environment = detect_environment(folder, plain_python())
    tool = RunTests(command, environment, View(folder, folder), sandbox, Limits(wall_s=60))
    assert tool.run({}).text.endswith(
        "\n[.envrc was taken out of the workspace: other programs obey it; ask the user.]"
    )
    assert list(folder.iterdir()) == []
