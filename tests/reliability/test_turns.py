"""R18 to R22: replies that are no good calls, go in circles, or rest on what is no longer there.

Each case once; their finer points are in tests/agent/test_guard.py and tests/tools.
"""

from pathlib import Path

import pytest

from agent.events import StopReason
from agent.guard import REFUSAL
from agent.wording import prompt
from inference.messages import BadToolCall
from sandbox.workspace import Workspace
from tests.agent.fakes import Say, bash, call
from tests.agent.stage import DONE, FILES, set_stage, show
from tools.editor import StrReplaceEditor
from tools.editor_forms import FULL
from tools.errors import ToolFailed

PASSAGE = "Wait, let me check the sum once more before I go on with it. "


def test_r18_a_malformed_call_is_answered_with_what_is_wrong(tmp_path: Path) -> None:
    bad = BadToolCall("<function=bash", "The call has no end; write </tool_call>.")
    script = [
        Say((bad,)),
        Say((call("no_such_tool"),)),
        Say((call("probe"),)),
        Say((call("probe", text=3),)),
        DONE,
    ]
    stage = set_stage(tmp_path, script)
    assert stage.play().reason is StopReason.END_TURN
    unreadable, unknown, missing, wrong, _ = stage.texts
    assert unreadable == bad.reason
    assert "no_such_tool" in unknown
    assert "text" in missing
    assert "text" in wrong
    assert "string" in wrong


def test_r18_three_unreadable_calls_in_a_row_end_the_turn(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [Say((BadToolCall("<f", "It has no end."),))])
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (
        StopReason.REFUSAL,
        "3 unreadable calls in a row",
    )
    assert stage.files == {name: text.encode() for name, text in FILES.items()}


def test_r19_a_call_that_is_only_text_is_asked_for_again(tmp_path: Path) -> None:
    text = 'I run: {"name": "bash", "arguments": {"command": "touch made"}}'
    stage = set_stage(tmp_path, [Say(text=text), DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert stage.session.is_finished
    assert stage.session.messages[3].content == prompt("nudge")
    assert "made" not in stage.files


@pytest.mark.parametrize("period", [1, 2])
def test_r20_a_circle_of_calls_is_noted_refused_and_ended(tmp_path: Path, period: int) -> None:
    circle = [bash(f"echo {n} >> log{n}; echo done") for n in range(period)]
    stage = set_stage(tmp_path, circle * 9)
    assert stage.play().reason is StopReason.REFUSAL
    assert any("[This is round" in text for text in stage.texts)
    assert REFUSAL in stage.texts


def test_r20_the_same_call_with_the_same_result_is_ended(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [show("the same")])
    assert stage.play().reason is StopReason.REFUSAL
    assert len(stage.texts) == 5


def test_r21_a_reply_that_repeats_itself_for_ever_is_stopped(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [Say(text=PASSAGE * 200), DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert stage.model.usages[0].num_generated < 30
    assert not any(PASSAGE in message.content for message in stage.session.messages)


def test_r22_an_edit_that_rests_on_an_old_look_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("one = 1\ntwo = 2\n")
    editor = StrReplaceEditor(Workspace(tmp_path, tmp_path), FULL)
    editor.run({"command": "view", "path": "a.py"})
    file.write_text("zero = 0\none = 'by another hand'\ntwo = 2\n")
    for arguments in (
        {"command": "str_replace", "old_str": "one = 1\n", "new_str": "one = 2\n"},
        {"command": "insert", "insert_line": 1, "new_str": "half = 1.5\n"},
    ):
        with pytest.raises(ToolFailed):
            editor.run({"path": "a.py", **arguments})
    assert file.read_text() == "zero = 0\none = 'by another hand'\ntwo = 2\n"
