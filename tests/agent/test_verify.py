"""What an edit broke is said with it: real edits and, where the sandbox matters, real runs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from agent.edit_tests import EditTests, RunSome
from agent.settings import VerifyConfig
from agent.verify import MAX_CHARACTERS, Verify
from inference.messages import ToolCall
from sandbox.base import Cancel, View, never
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import Limits
from sandbox.workspace import Workspace
from tests.agent.fakes import CART, TESTS, write
from tests.plain import plain_python
from tools.base import ToolResult
from tools.editor import StrReplaceEditor
from tools.project import detect_environment
from tools.runners import run_tests_once
from tools.test_report import TestCase, TestReport

PYTEST = ("python", "-m", "pytest")
UNITTEST = ("python", "-m", "unittest", "discover")
GREEN = TestCase("tests/test_cart.py::test_total", "passed")
RED = TestCase("tests/test_cart.py::test_double", "failed", "", "E   assert 4 == 6")


def report(*cases: TestCase, timed_out: bool = False, duration_s: float = 0.1) -> TestReport:
    code = None if timed_out else int(any(case.outcome == "failed" for case in cases))
    return TestReport(PYTEST, code, cases, "", timed_out, duration_s, parsed=True)


class Desk:
    """A small project, its editor, and what is said of each edit."""

    def __init__(self, folder: Path, command: tuple[str, ...], answer: RunSome) -> None:
        write(folder, {"shop/__init__.py": "", "shop/cart.py": CART, "notes.md": "x\n"})
        write(folder, {"tests/__init__.py": "", "tests/test_cart.py": TESTS})
        workspace = Workspace(folder, folder)
        self.config = VerifyConfig()
        self.editor = StrReplaceEditor(workspace)
        self.asked: list[tuple[str, ...]] = []
        self.answer = answer
        self.tests = EditTests(command, workspace, self._run, self.config)
        self.verify = Verify(workspace, self.tests, self.config)

    def _run(self, ids: Sequence[str], limit_s: float, cancel: Cancel) -> TestReport:
        self.asked.append(tuple(ids))
        assert limit_s == self.config.tests_s
        return self.answer(ids, limit_s, cancel)

    def edit(self, path: str, old: str, new: str) -> ToolResult:
        arguments = {"command": "str_replace", "path": path, "old_str": old, "new_str": new}
        plain = self.editor.run(arguments)
        result = self.verify(ToolCall("str_replace_editor", arguments), plain, never)
        assert result.text.startswith(plain.text)
        return replace(result, text=result.text.removeprefix(plain.text).removeprefix("\n"))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path, PYTEST, lambda *_: report(GREEN))


def test_a_good_edit_says_so_and_runs_what_is_near(desk: Desk) -> None:
    result = desk.edit("shop/cart.py", "price - tax", "price + tax")
    assert result.text == "Syntax ok. tests/test_cart.py: 1 passed."
    assert result.summary == "edited shop/cart.py (+1 -1); tests/test_cart.py: 1 passed"
    assert result.ok
    assert desk.asked == [("tests/test_cart.py",)]


def test_an_edit_of_a_script_runs_the_test_beside_it_and_all_where_there_is_none(
    tmp_path: Path,
) -> None:
    scripts = {"package.json": '{"scripts": {"test": "vitest"}}', "a.js": "let a = 1;\n"}
    write(tmp_path, {**scripts, "a.test.js": "import './a';\n", "b.js": "let b = 1;\n"})
    desk = Desk(tmp_path, ("npm", "test"), lambda *_: report(GREEN))
    assert desk.edit("a.js", "1", "2").text == "Syntax ok. a.test.js: 1 passed."
    assert desk.edit("b.js", "1", "2").text == "Syntax ok. All tests: 1 passed."
    assert desk.asked == [("a.test.js",), ()]


def test_nothing_is_said_of_the_syntax_of_what_could_not_be_read(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000 + " ")
    assert "Syntax" not in desk.edit("deep.json", " ", "1").text


def test_a_red_test_is_shown_in_short(desk: Desk) -> None:
    desk.answer = lambda *_: report(GREEN, RED, replace(RED, id="tests/test_cart.py::test_z"))
    assert desk.edit("shop/cart.py", "price - tax", "tax").text == (
        "Syntax ok. tests/test_cart.py: 2 failed, 1 passed.\n"
        "FAILED tests/test_cart.py::test_double\nE   assert 4 == 6"
    )


def test_what_was_red_before_and_is_not_to_be_mended_is_no_news(desk: Desk) -> None:
    old = replace(RED, id="tests/test_cart.py::test_a_old")
    desk.tests.expect(report(GREEN, old), frozenset({RED.id}))
    desk.answer = lambda *_: report(GREEN, old)
    assert desk.edit("shop/cart.py", "price - tax", "price + tax").text == (
        "Syntax ok. tests/test_cart.py: 1 failed, 1 passed; "
        "red as before and not asked for: tests/test_cart.py::test_a_old."
    )
    desk.answer = lambda *_: report(GREEN, old, RED)
    assert f"2 failed, 1 passed.\nFAILED {RED.id}\n" in (
        desk.edit("shop/cart.py", "price + tax", "tax + price").text
    )


def test_broken_syntax_is_named_with_its_line_and_no_test_is_run(desk: Desk) -> None:
    result = desk.edit("shop/cart.py", "price - tax", "(price - tax")
    assert result.text.startswith(
        "shop/cart.py:5: syntax error: '(' was never closed near `return (price - tax` (Python 3."
    )
    assert result.summary == "edited shop/cart.py (+1 -1); syntax error"
    assert desk.asked == []


def test_a_fault_from_before_is_not_the_edits_and_gets_no_praise(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "shop/cart.py").write_text(f"{CART}\ndef f(:\n")
    result = desk.edit("shop/cart.py", "price - tax", "price + tax")
    assert result.text == "tests/test_cart.py: 1 passed."


def test_bytes_that_the_language_cannot_read_get_no_praise(desk: Desk, tmp_path: Path) -> None:
    for coding, said in ((b"#", ""), (b"# coding: latin-1", "Syntax ok.")):
        (tmp_path / "odd.py").write_bytes(coding + b"\nx = '\xff'\ny = 1\n")
        assert desk.edit("odd.py", "y = 1", "y = 2").text == said


def test_an_edit_through_a_link_runs_what_is_near_its_file(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "lnk.py").symlink_to("shop/cart.py")
    desk.edit("lnk.py", "price - tax", "price + tax")
    assert desk.asked == [("tests/test_cart.py",)]
    assert desk.editor.run({"command": "undo_edit", "path": "shop/cart.py"}).ok


def test_what_has_neither_grammar_nor_tests_is_left_as_it_was(desk: Desk) -> None:
    assert desk.edit("notes.md", "x", "y").text == ""
    view = ToolResult("1\tx", "viewed notes.md")
    assert desk.verify(ToolCall("str_replace_editor", {"command": "view"}), view, never) is view
    assert desk.asked == []


def test_a_file_that_nobody_wrote_by_hand_is_not_read(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(f'{{"a": 1}}{" " * MAX_CHARACTERS}')
    assert desk.edit("data.json", '{"a": 1}', '{"a" 1}').text == ""


def test_slow_tests_are_left_out_after_they_were_once_too_slow(desk: Desk) -> None:
    desk.answer = lambda *_: report(timed_out=True)
    first = desk.edit("shop/cart.py", "price - tax", "price + tax").text
    assert first == (
        "Syntax ok. tests/test_cart.py: not done after 20 s, so not run after edits any more; "
        "use run_tests. Perhaps the edit never ends."
    )
    assert desk.edit("shop/cart.py", "price + tax", "tax + price").text == "Syntax ok."
    assert len(desk.asked) == 1
    desk.answer = lambda *_: report(GREEN)
    desk.tests.saw(report(GREEN, duration_s=2.0))
    assert "passed" in desk.edit("shop/cart.py", "tax + price", "price + tax").text


def test_a_command_that_cannot_be_restricted_runs_whole_if_it_is_quick(tmp_path: Path) -> None:
    case = TestCase("make test", "passed")
    desk = Desk(
        tmp_path, ("make", "test"), lambda *_: replace(report(case), command=("make", "test"))
    )
    desk.tests.saw(report(GREEN, duration_s=95.0))
    assert desk.edit("shop/cart.py", "price - tax", "price + tax").text == "Syntax ok."
    desk.tests.saw(report(GREEN, duration_s=2.0))
    said = desk.edit("shop/cart.py", "price + tax", "tax + price").text
    assert said == "Syntax ok. All tests: Tests passed."
    assert desk.edit("notes.md", "x", "y").text == "", "a document"
    assert desk.asked == [()]


@pytest.mark.parametrize("command", [PYTEST, UNITTEST])
def test_real_runners_run_the_near_file_alone_and_say_when_it_cannot_be_loaded(
    tmp_path: Path, command: tuple[str, ...]
) -> None:
    write(tmp_path, {"tests/test_other.py": "raise RuntimeError('not to be loaded')\n"})
    environment = detect_environment(tmp_path, plain_python())
    view, sandbox = View(tmp_path, tmp_path), Bubblewrap()

    def run_some(ids: Sequence[str], limit_s: float, cancel: Cancel) -> TestReport:
        return run_tests_once(command, environment, view, sandbox, Limits(), cancel, ids)

    desk = Desk(tmp_path, command, run_some)
    said = desk.edit("shop/cart.py", "price - tax", "price + tax").text
    assert said == "Syntax ok. tests/test_cart.py: 2 passed."
    said = desk.edit("shop/cart.py", "def double", "def twice").text
    assert said.startswith("Syntax ok. tests/test_cart.py: 1 failed.\nERROR ")
    assert "cannot import name 'double'" in said
