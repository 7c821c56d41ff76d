"""The agent and the scripts as solvers: what they leave is graded, failures are told apart."""

from pathlib import Path

import pytest

from agent.guard import Guard, Step
from agent.settings import GuardConfig
from evals.conditions import Conditions
from evals.failures import failure_of
from evals.fix_solver import FixSolver
from evals.script_solver import ScriptSolver
from evals.solver import Attempt, Line
from evals.task import FailureClass, Grade, Place, Task
from evals.trajectory import replies_of
from inference.messages import BadToolCall, ToolCall
from sandbox.base import never
from tests.agent.fakes import FINISH, Say, ScriptedModel, edit, make_repository

WRONG = edit("shop/cart.py", "price - tax", "price * tax")
UNREADABLE = Say((BadToolCall("<tool_call>{", "it has no name"),))
TASK = Task("cart", issue="The sum is wrong.")
RED = Grade(False, "a test fails", num_red=1)
Solved = tuple[Place, ScriptedModel, Attempt, tuple[Line, ...]]


@pytest.fixture(scope="module")
def solved(tmp_path_factory: pytest.TempPathFactory) -> Solved:
    """One attempt that edits wrongly and stops, under conditions that leave much out."""
    folder = tmp_path_factory.mktemp("task") / "project"
    place = Place(make_repository(folder), ("python3", "-m", "unittest", "tests.test_cart"))
    model = ScriptedModel([[UNREADABLE, WRONG, FINISH]])
    conditions = Conditions(model="scripted", verify=False, editor="plain", thinking="off")
    solver = FixSolver(model, conditions)
    return place, model, *solver.solve(TASK, place, conditions.budget, never)


def test_what_the_agent_left_is_there_to_be_graded_though_it_was_not_judged_good(
    solved: Solved,
) -> None:
    place, _, attempt, _ = solved
    assert (attempt.outcome, attempt.changed_files) == ("red", ("shop/cart.py",))
    assert "price * tax" in (place.folder / "shop" / "cart.py").read_text()
    assert [path.name for path in place.folder.parent.iterdir()] == ["project"]


def test_the_trajectory_holds_every_reply_with_what_it_cost(solved: Solved) -> None:
    _, _, attempt, lines = solved
    replies = replies_of(lines)
    assert len(replies) == attempt.num_turns == 3
    assert sum(reply["usage"]["num_prompt"] for reply in replies) == attempt.spent.num_prompt > 0
    assert (attempt.num_bad_calls, replies[0]["tool_calls"][0]["reason"]) == (1, "it has no name")
    assert [line["type"] for line in lines][-2:] == ["turn", "end"]
    assert all("token_ids" not in line for line in lines)


def test_the_switches_of_an_ablation_reach_the_agent(solved: Solved) -> None:
    _, model, _, lines = solved
    (editor,) = [spec for spec in model.specs if spec.name == "str_replace_editor"]
    assert "undo_edit" not in editor.description
    assert not any(options.thinking for options in model.options)
    edited = next(line for line in lines if "Edited" in line.get("content", ""))
    assert "Syntax ok" not in edited["content"], "nothing is verified"


def test_a_script_leaves_a_patch_of_all_it_did(tmp_path: Path) -> None:
    place = Place(make_repository(tmp_path / "project"))
    budget = Conditions().budget
    idle, _ = ScriptSolver("noop").solve(TASK, place, budget, never)
    assert (idle.patch, failure_of(idle, RED)) == ("", "no edit")
    cheated, _ = ScriptSolver("cheat").solve(TASK, place, budget, never)
    assert set(cheated.changed_files) == {"conftest.py", "tests/__init__.py", "tests/test_cart.py"}
    assert failure_of(cheated, RED) == "wrong logic"


@pytest.mark.parametrize(
    ("attempt", "failure"),
    [
        (Attempt(outcome="red", patch="+"), "wrong logic"),
        (Attempt(outcome="fixed", patch="+"), "wrong logic"),
        (Attempt(outcome="nothing"), "no edit"),
        (Attempt(outcome="budget", patch="+"), "budget"),
        (Attempt(outcome="no_model"), "environment"),
        (Attempt(outcome="red", ended_by="3 unreadable calls in a row"), "malformed call"),
    ],
)
def test_a_failure_has_the_class_nearest_to_its_cause(
    attempt: Attempt, failure: FailureClass
) -> None:
    assert failure_of(attempt, RED) == failure
    assert failure_of(attempt, Grade(True, "")) is None
    assert failure_of(attempt, Grade(False, "no disk", is_broken=True)) == "environment"


def test_a_turn_that_the_guard_ends_is_a_loop() -> None:
    guard, call = Guard(GuardConfig()), ToolCall("view", {"path": "a.py"})
    ruling = guard.before(call, "tree")
    while ruling.step is not Step.STOP:
        guard.after(call, "tree", "tree", "the same")
        ruling = guard.before(call, "tree")
    assert failure_of(Attempt(outcome="red", ended_by=ruling.reason), RED) == "loop"
