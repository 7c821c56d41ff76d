"""Calls as no tool takes them: they are shown, and the turn goes on."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from acp import schema

from agent.approval import Ask
from agent.events import CallEnded, CallStarted
from agent.frontends.acp.calls import Files, diffs
from agent.frontends.acp.permission import AtEditor
from agent.frontends.acp.replay import replayed
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.stdio import Wire
from agent.frontends.acp.updates import Story
from agent.frontends.acp.words import as_params
from inference.messages import BadToolCall, Message, ToolCall
from tools.textfile import unified_diff

ODD: tuple[Any, ...] = (None, 3, 1.5, True, "", "\ud800", "x" * 5_000, "\0", [], {}, [[1]], [None])
GOOD: dict[str, Any] = {
    **{"command": "str_replace", "path": "a.txt", "view_range": [1, 2], "items": ["[ ] a"]},
    **{"old_str": "a", "new_str": "b", "file_text": "c", "summary": "d", "question": "e"},
}
TOOLS = ("bash", "str_replace_editor", "search", "todo", "finish")


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:12])
@pytest.mark.parametrize("tool", TOOLS)
def test_a_call_with_odd_arguments_is_shown_live_and_on_load(
    tool: str, odd: Any, tmp_path: Path
) -> None:
    calls = [ToolCall(tool, {**GOOD, name: odd}) for name in GOOD]
    calls += [ToolCall(tool, dict.fromkeys(GOOD, odd)), ToolCall(tool, {})]
    calls += [ToolCall(tool, {"command": command, "path": odd}) for command in ("view", "create")]
    story = Story(Files(tmp_path))
    updates = []
    for call in calls:
        said = str(odd)
        updates += story.updates(CallStarted(call), no_status)
        updates += story.updates(CallEnded(tool, said, said, True, None, 0.0), no_status)
    messages = [Message("assistant", "", "", tuple(calls))]
    updates += replayed([*messages, *(Message("tool", str(odd)) for _ in calls)], story)
    assert len(updates) >= 4 * len(calls)
    for update in updates:
        json.dumps(as_params(schema.SessionNotification(session_id="s", update=update)))


def test_a_call_that_cannot_be_read_is_shown_as_it_was_written(tmp_path: Path) -> None:
    story = Story(Files(tmp_path))
    (shown,) = story.updates(CallStarted(BadToolCall("<tool_call>", "no end")), no_status)
    assert isinstance(shown, schema.ToolCallStart)
    assert (shown.title, shown.raw_input) == ("A call that cannot be read", {"raw": "<tool_call>"})


def test_a_call_that_was_stopped_or_never_answered_is_told_as_failed(tmp_path: Path) -> None:
    story = Story(Files(tmp_path))
    look = ToolCall("bash", {"command": "ls"})
    list(story.updates(CallStarted(look), no_status))
    assert [(one.tool_call_id, one.status) for one in story.end()] == [("call-1", "failed")]
    assert [*story.end()] == []
    messages = [
        Message("assistant", "", tool_calls=(look, look, look)),
        Message("tool", "a.py"),
        Message("tool", "Stopped.", failed=True),
    ]
    told = [one for one in replayed(messages, story) if isinstance(one, schema.ToolCallProgress)]
    assert [one.status for one in told] == ["completed", "failed", "failed"]
    assert [*story.end()] == [], "what is told again does not run"


def test_the_change_of_a_file_is_told_whole_or_else_place_by_place(tmp_path: Path) -> None:
    lines = [f"line {n}\n" for n in range(40)]
    before = "".join(lines)
    lines[2], lines[30] = "new 2\n", "new 30"
    after = "".join([*lines[:31]])
    diff = unified_diff("a.txt", before, after)
    files = Files(tmp_path)
    for now, text in (("-", before), ("+", after)):
        (tmp_path / "a.txt").write_text(text)
        (change,) = diffs(diff, files, now)
        assert (change.path, change.old_text) == (str(tmp_path / "a.txt"), before)
        assert change.new_text == after
    (tmp_path / "a.txt").write_text(f"typed since\n{after}")
    first, second = diffs(diff, files, "+")
    assert first.old_text == "".join(f"line {n}\n" for n in range(6))
    assert second.new_text.endswith("line 29\nnew 30\n")
    (new,) = diffs(unified_diff("b.txt", None, "x"), files, "-")
    assert (new.old_text, new.new_text) == (None, "x")


def test_a_command_that_holds_a_diff_is_shown_as_the_command_it_is(tmp_path: Path) -> None:
    line = "rm -r ~\n" + unified_diff("a.py", "x\n", "y\n")
    bash = ToolCall("bash", {"command": line})
    ask = Ask(bash, line, "key", line)
    request = AtEditor(Peer(Wire(BytesIO(), BytesIO())))._request(
        ask, "call-1", Story(Files(tmp_path))
    )
    (content,) = request["toolCall"]["content"]
    assert "rm -r ~" in content["content"]["text"]


def no_status() -> Any:
    raise AssertionError("no call tells how full the window is")
