import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from agent.approver import Approver
from agent.carry_out import pending_calls
from agent.events import CallEnded, Event, Notice, StopReason, TurnEnded
from agent.loop import continue_turn, run_turn
from agent.parts import Parts
from agent.session import Session
from agent.settings import ApprovalConfig, Budget, Config
from inference.errors import Cancelled, ContextOverflow
from inference.messages import BadToolCall, Message, ReplyOptions
from sandbox.base import never
from sandbox.checkpoint import Checkpoint
from sandbox.workspace import Workspace
from tests.agent.fakes import (
    FINISH,
    REPAIR,
    Say,
    ScriptedModel,
    bash,
    call,
    create,
    edit,
    make_repository,
)
from tools.editor import StrReplaceEditor
from tools.finish import Finish
from tools.registry import Registry

VIEW = Say((call("str_replace_editor", command="view", path="shop/cart.py"),))
BAD = Say((BadToolCall("<function=", "The call was cut off; write it again."),))

Bench = Callable[..., tuple[Session, Parts, ScriptedModel]]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """Makes a session and its parts for a script; the files are real, the model is not."""
    sessions = []

    def make(*script: Say, config: Config | None = None) -> tuple[Session, Parts, ScriptedModel]:
        tree = make_repository(tmp_path / "tree")
        session = Session.create(tmp_path / "state", {})
        sessions.append(session)
        checkpoint = Checkpoint.create(tmp_path / "shadow", tree)
        base = checkpoint.save("base")
        names: dict[str, str] = {}

        def record(before: str) -> str:
            if not checkpoint.changed(before):
                return before
            return names.setdefault(checkpoint.diff(base), checkpoint.save("step"))

        names[""] = base
        session.begin(1, "repair", base, "You repair.")
        model = ScriptedModel([script])
        tools = Registry([StrReplaceEditor(Workspace(tree, tree)), Finish()])
        chosen = config or Config()
        approve = Approver(chosen.approval)
        parts = Parts(model, tools, ReplyOptions(), chosen, record, approve=approve)
        return session, parts, model

    yield make
    for session in sessions:
        session.close()


def turn(bench: tuple[Session, Parts, ScriptedModel]) -> tuple[list[Event], TurnEnded]:
    session, parts, _ = bench
    events = list(run_turn(session, "Mend it.", parts, never))
    ended = events[-1]
    assert isinstance(ended, TurnEnded)
    return events, ended


def results(events: list[Event]) -> list[CallEnded]:
    return [event for event in events if isinstance(event, CallEnded)]


def test_a_turn_does_what_the_model_asks_until_it_finishes(bench: Bench, tmp_path: Path) -> None:
    made = bench(VIEW, REPAIR, FINISH)
    events, ended = turn(made)
    assert ended == TurnEnded(StopReason.END_TURN, "")
    assert "price + tax" in (tmp_path / "tree/shop/cart.py").read_text()
    roles = [message.role for message in made[0].messages]
    assert roles == ["system", "user", *["assistant", "tool"] * 3]
    assert [event.ok for event in results(events)] == [True] * 3


def test_the_model_is_told_of_the_tools_in_their_order(bench: Bench) -> None:
    made = bench(FINISH)
    turn(made)
    assert [spec.name for spec in made[2].specs] == ["str_replace_editor", "finish"]


def test_a_prefix_never_changes(bench: Bench) -> None:
    made = bench(VIEW, Say(text="Hm."), REPAIR, FINISH)
    turn(made)
    seen = made[2].seen
    for shorter, longer in pairwise(seen):
        assert longer[: len(shorter)] == shorter


def test_a_reply_without_a_call_is_asked_on_twice_and_then_ends_the_turn(bench: Bench) -> None:
    made = bench(Say(text="I think it is fine."))
    _, ended = turn(made)
    assert ended.reason is StopReason.END_TURN
    assert ended.sentence
    asked = [message.content for message in made[0].messages if message.role == "user"]
    assert asked == ["Mend it.", *["Go on: call a tool, or finish."] * 2]


def test_an_unreadable_call_goes_back_and_can_be_mended(bench: Bench) -> None:
    events, ended = turn(bench(BAD, BAD, REPAIR, BAD, BAD, FINISH))
    assert ended == TurnEnded(StopReason.END_TURN, "")
    assert results(events)[0].text == "The call was cut off; write it again."


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            "scripted",
            "The call was cut off at the limit of 4,096 tokens for a reply, so nothing was done: "
            "write less in one call, and do the rest in further calls, each in a reply of its own.",
        ),
        ("nano", "It was cut off."),
    ],
)
def test_a_call_cut_at_the_limit_is_told_so_and_the_turn_goes_on(
    bench: Bench, model: str, text: str
) -> None:
    cut = Say((BadToolCall("<function=", "It was cut off.", cut_at=4096),))
    made = bench(cut, FINISH)
    made[2].name = model
    events, ended = turn(made)
    assert ended == TurnEnded(StopReason.END_TURN, "")
    told = results(events)[0]
    assert (told.text, told.ok) == (text, False)
    assert told.summary == "a call that was cut off at 4,096 tokens"


def test_a_text_that_meets_the_limit_is_told_so(bench: Bench) -> None:
    events, _ = turn(bench(Say(text="And then", stop="max_tokens"), FINISH))
    told = [event.text for event in events if isinstance(event, Notice)]
    assert told[0] == "The reply ends at its limit of 6,144 tokens."


def test_three_unreadable_calls_in_a_row_end_the_turn(bench: Bench) -> None:
    events, ended = turn(bench(REPAIR, BAD, BAD, BAD, FINISH))
    assert ended.reason is StopReason.REFUSAL
    assert len(results(events)) == 4


def test_a_repeated_call_is_noted_refused_and_then_ends_the_turn(bench: Bench) -> None:
    events, ended = turn(bench(VIEW))
    texts = [event.text for event in results(events)]
    # The editor words a second look at the same file differently, so the first stands alone.
    texts = [text for text in texts if text != texts[0]] or texts
    assert ended.reason is StopReason.REFUSAL
    assert sum("[This is time 3" in text for text in texts) == 1
    assert sum(text.startswith("Not run") for text in texts) == 2


def test_the_same_look_after_an_edit_is_no_repetition(bench: Bench) -> None:
    edits = [
        edit("shop/cart.py", "price - tax", "price * tax"),
        edit("shop/cart.py", "price * tax", "price / tax"),
        edit("shop/cart.py", "price / tax", "price % tax"),
        edit("shop/cart.py", "price % tax", "price // tax"),
    ]
    script = [say for one in edits for say in (VIEW, one)]
    events, ended = turn(bench(*script, VIEW, FINISH))
    assert ended == TurnEnded(StopReason.END_TURN, "")
    assert not any("[This is time" in event.text for event in results(events))


def test_going_back_and_forth_between_two_edits_is_a_repetition(bench: Bench) -> None:
    there, back = ("price - tax", "price + tax"), ("price + tax", "price - tax")
    script = [edit("shop/cart.py", *words) for _ in range(9) for words in (there, back)]
    events, ended = turn(bench(*script))
    assert ended.reason is StopReason.REFUSAL
    assert len(results(events)) < 12


@pytest.mark.parametrize(
    ("budget", "reason", "num_calls"),
    [
        (Budget(max_steps=2), StopReason.MAX_TURN_REQUESTS, 2),
        (Budget(max_calls=3), StopReason.MAX_TURN_REQUESTS, 3),
        (Budget(max_tokens=15), StopReason.MAX_TOKENS, 1),
    ],
)
def test_a_spent_budget_ends_the_turn(
    bench: Bench, budget: Budget, reason: StopReason, num_calls: int
) -> None:
    files = [create(f"new{number}.py", "x = 1\n") for number in range(9)]
    events, ended = turn(bench(*files, config=Config(budget=budget)))
    assert ended.reason is reason
    assert "spent" in ended.sentence
    assert len(results(events)) == num_calls


def test_a_reply_may_not_be_longer_than_what_is_left_of_the_budget(bench: Bench) -> None:
    made = bench(FINISH, config=Config(budget=Budget(max_tokens=50)))
    turn(made)
    assert made[2].options[0].max_new_tokens == 50


def test_spent_time_ends_a_reply_that_is_being_written(bench: Bench) -> None:
    session, parts, model = bench(Say(hangs=True))
    parts = replace(parts, deadline_s=time.monotonic() + 0.1)
    _, ended = turn((session, parts, model))
    assert ended.reason is StopReason.MAX_TURN_REQUESTS
    assert "seconds are spent" in ended.sentence


def test_a_denied_tool_is_not_run_and_the_model_is_told(bench: Bench) -> None:
    denied = ApprovalConfig(denied_tools=("str_replace_editor",))
    made = bench(REPAIR, FINISH, config=Config(approval=denied))
    events, ended = turn(made)
    assert "not allowed" in results(events)[0].text
    assert made[0].facts["denied"]["tool"] == "str_replace_editor"
    assert ended.reason is StopReason.END_TURN


def test_a_call_of_no_tool_and_one_with_no_arguments_are_results(bench: Bench) -> None:
    events, _ = turn(bench(bash("ls"), Say((call("str_replace_editor"),)), FINISH))
    first, second, _ = results(events)
    assert "There is no tool bash" in first.text
    assert "needs command" in second.text


def test_a_cancelled_reply_is_dropped_and_asked_for_again_on_resume(bench: Bench) -> None:
    session, parts, model = bench(VIEW, Say(hangs=True))
    stopped: list[bool] = []
    model.on_reply = lambda number: stopped.append(True) if number == 1 else None
    events = list(run_turn(session, "Mend it.", parts, lambda: bool(stopped)))
    assert events[-1] == TurnEnded(StopReason.CANCELLED, "cancelled")
    assert [message.role for message in session.messages] == ["system", "user", "assistant", "tool"]
    assert len(session.usages) == 2  # what it cost is not forgotten
    again = replace(parts, chat=ScriptedModel([[VIEW, FINISH]]))
    events = list(continue_turn(session, again, never))
    assert events[-1] == TurnEnded(StopReason.END_TURN, "")


def test_a_cancelled_prefill_ends_the_turn(bench: Bench) -> None:
    session, parts, _ = bench(Say(error=Cancelled("stopped")))
    events = list(run_turn(session, "Mend it.", parts, lambda: True))
    assert events[-1] == TurnEnded(StopReason.CANCELLED, "cancelled")
    assert [message.role for message in session.messages] == ["system", "user"]


def test_a_full_window_is_a_spent_budget(bench: Bench) -> None:
    _, ended = turn(bench(Say(error=ContextOverflow("The window is full."))))
    assert ended == TurnEnded(StopReason.MAX_TOKENS, "The window is full.")


def test_calls_that_have_no_result_yet_are_run_on_resume(bench: Bench, tmp_path: Path) -> None:
    session, parts, _ = bench(VIEW, FINISH)
    both = (*VIEW.calls, *REPAIR.calls)
    session.add(Message("user", "Mend it."))
    session.add(Message("assistant", "", tool_calls=both))
    session.add(Message("tool", "1\tfirst line"))
    assert pending_calls(session.messages) == REPAIR.calls
    list(continue_turn(session, parts, never))
    assert "price + tax" in (tmp_path / "tree/shop/cart.py").read_text()
