"""The checks around real tools on a real repository, as a model meets them call by call."""

from collections.abc import Sequence
from pathlib import Path

from agent.checks import Checks
from agent.settings import VerifyConfig
from inference.messages import ToolCall
from sandbox.base import Cancel, View, never
from sandbox.bubblewrap import Bubblewrap
from sandbox.limits import Limits
from sandbox.workspace import Workspace
from tests.agent.fakes import CART, RED_TEST, TESTS, picture, write
from tests.plain import plain_python
from tools.base import ToolResult
from tools.editor import StrReplaceEditor
from tools.finish import Finish
from tools.project import detect_environment, detect_test_command
from tools.registry import Registry
from tools.run_tests import RunTests
from tools.runners import run_tests_once
from tools.test_report import TestReport
from tools.todo import Todo


class Bench:
    """A repository with one bug, the tools, and the checks after each call."""

    def __init__(self, folder: Path) -> None:
        write(folder, {"shop/__init__.py": "", "shop/cart.py": CART})
        write(folder, {"tests/__init__.py": "", "tests/test_cart.py": TESTS})
        write(folder, {"tests/test_other.py": "import unittest\n"})
        self.view, self.sandbox = View(folder, folder), Bubblewrap()
        self.command = detect_test_command(folder)
        self.environment = detect_environment(folder, plain_python())
        self.runs: list[tuple[str, ...]] = []
        workspace, todo = Workspace(folder, folder), Todo()
        tests = RunTests(self.command, self.environment, self.view, self.sandbox, Limits())
        self.tools = Registry([StrReplaceEditor(workspace), tests, todo, Finish()])
        self.checks = Checks(
            self.command,
            workspace,
            self.run,
            lambda: repr(picture(folder)),
            todo.open_items,
            VerifyConfig(),
        )

    def run(self, ids: Sequence[str], limit_s: float, cancel: Cancel) -> TestReport:
        self.runs.append(tuple(ids))
        return run_tests_once(
            self.command, self.environment, self.view, self.sandbox, Limits(), cancel, ids
        )

    def __call__(self, name: str, **arguments: object) -> ToolResult:
        result = self.tools.call(name, arguments)
        return self.checks(ToolCall(name, arguments), result, never)

    def edit(self, old: str, new: str) -> str:
        arguments = {"command": "str_replace", "path": "shop/cart.py"}
        return self("str_replace_editor", **arguments, old_str=old, new_str=new).text


def test_a_model_is_told_of_its_edits_and_kept_until_its_work_is_done(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.checks.expect(bench.run((), 60.0, never), frozenset({RED_TEST}))
    bench.runs.clear()

    assert f"Still not green, 1 of 1: {RED_TEST}." in bench("finish", summary="Done.").text
    assert bench.runs == [], "nothing changed since the tests were run"
    text = bench.edit("price - tax", "price + tax)")
    assert "shop/cart.py:5: syntax error: unmatched ')' near `return price + tax)`" in text
    assert bench.runs == []
    text = bench.edit("price + tax)", "price + tax")
    assert text.endswith("\nSyntax ok. tests/test_cart.py: 2 passed.")
    assert len(bench.runs) == 1

    bench("todo", items=["[x] mend the sum", "[ ] look at the rest"])
    assert "- look at the rest" in bench("finish", summary="Done.").text
    bench("todo", items=["[x] mend the sum", "[x] look at the rest"])
    assert bench("run_tests").text == "2 passed."
    assert bench("finish", summary="Done.").done
    assert len(bench.runs) == 1, "the model has run all tests itself"
