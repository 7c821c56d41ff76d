"""Nothing that an editor shows is wrong, shared by two things, or left as if it still went on."""

import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest
from acp import schema

from agent.approval import Ask
from agent.errors import UsageError
from agent.events import ModelLoading, PrefillProgress, TextDelta
from agent.frontends.acp.calls import Files
from agent.frontends.acp.permission import AtEditor
from agent.frontends.acp.stdio import MAX_WAITING_BYTES, TooLong, Wire
from agent.frontends.acp.updates import Story
from agent.frontends.acp.waits import Wait
from inference.messages import ToolCall
from sandbox.base import Cancel
from tests.agent.acp.editor import Editor, command, repair, view
from tests.agent.acp.raw import Raw
from tests.agent.fakes import CART, Say
from tests.agent.stage import Sequel
from tests.agent.talking import start_talk

DONE = {"text": "Mended."}
SLEEP = command("sleep 600")


async def test_a_file_is_named_as_the_one_that_is_changed(editor: Editor) -> None:
    twin = editor.work / "sub" / "shop"
    twin.mkdir(parents=True)
    (twin / "cart.py").write_text(CART)
    editor.script(view("shop/cart.py"), repair(), DONE)
    await editor.say(await editor.open(twin.parent), "Mend it.")
    changed = str(editor.work / "shop" / "cart.py")
    assert {one.locations[0].path for one in editor.all(schema.ToolCallStart)} == {changed}
    assert editor.asked[-1].content[0].path == changed
    assert "price + tax" in Path(changed).read_text()
    assert (twin / "cart.py").read_text() == CART


async def test_a_stopped_call_is_shown_as_ended(editor: Editor) -> None:
    editor.script(SLEEP, DONE)
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Wait."))
    await editor.until(schema.ToolCallStart)
    await editor.agent.cancel(session_id=name)
    assert (await turn).stop_reason == "cancelled"
    started = editor.all(schema.ToolCallStart)[-1]
    last = editor.all(schema.ToolCallProgress)[-1]
    assert (last.tool_call_id, last.status) == (started.tool_call_id, "failed")


async def test_a_call_has_a_name_of_its_own_after_a_session_was_resumed(editor: Editor) -> None:
    editor.script(view("shop/cart.py"), DONE, view("README.md"), DONE)
    name = await editor.open()
    await editor.say(name, "Look.")
    await editor.agent.close_session(session_id=name)
    await editor.agent.resume_session(cwd=str(editor.work), session_id=name, mcp_servers=[])
    await editor.say(name, "Again.")
    ids = [one.tool_call_id for one in editor.all(schema.ToolCallStart)]
    assert ids == ["call-1", "call-2"]
    await editor.agent.close_session(session_id=name)
    await editor.agent.load_session(cwd=str(editor.work), session_id=name, mcp_servers=[])
    ids = [one.tool_call_id for one in editor.all(schema.ToolCallStart)]
    assert ids == ["call-1", "call-2"] * 2


async def test_a_waiting_prompt_that_is_taken_back_is_answered_at_once(editor: Editor) -> None:
    editor.script(SLEEP, DONE)
    name = await editor.open()
    first = asyncio.create_task(editor.say(name, "Wait."))
    await editor.until(schema.ToolCallStart)
    numbers = editor.agent._conn._next_request_id
    second = asyncio.create_task(editor.say(name, "Then this."))
    await asyncio.sleep(0.2)
    await editor.agent._conn.send_notification("$/cancel_request", {"requestId": numbers})
    assert (await asyncio.wait_for(second, 60)).stop_reason == "cancelled"
    assert not first.done()
    await editor.agent.cancel(session_id=name)
    assert (await first).stop_reason == "cancelled"


async def test_a_model_that_goes_in_circles_has_not_refused(editor: Editor) -> None:
    editor.script(*[{"calls": [["nothing", {}]]} for _ in range(12)])
    ended = await editor.say(await editor.open(), "Mend it.")
    assert ended.stop_reason == "end_turn"
    assert editor.asked == [], "nobody is asked about a tool that is not there"


class Deaf:
    """Another side that answers every question with the same, and keeps what it is told."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, dict[str, Any]]] = []

    def ask(self, method: str, params: dict[str, Any], cancel: Cancel) -> Any:
        self.sent.append((method, params))
        return {"outcome": {"outcome": "selected", "optionId": "allow_once"}}

    def notify(self, method: str, params: dict[str, Any]) -> None:
        self.sent.append((method, params))


def test_a_server_is_asked_about_by_a_name_of_its_own(tmp_path: Path) -> None:
    peer = Deaf()
    person, story = AtEditor(peer), Story(Files(tmp_path), 4)  # type: ignore[arg-type]
    person.enter("one", story)
    answer = person.ask(Ask(ToolCall("mcp", {"server": "calc"}), "It adds.", "abcdef", "It adds."))
    assert answer is not None
    assert answer.allowed
    told = [params.get("update") or params["toolCall"] for _, params in peer.sent]
    assert [one["toolCallId"] for one in told] == ["ask-abcdef"] * 3
    assert [one.get("status") for one in told] == ["pending", None, "completed"]


def test_a_long_wait_is_shown_and_ends(tmp_path: Path) -> None:
    now = [0.0]
    wait = Wait(lambda: now[0])
    loading = ModelLoading("owner/big")
    (start,) = wait.updates(loading)
    assert (start.title, start.status) == ("Loading owner/big", "in_progress")
    assert list(wait.updates(loading)) == []
    now[0] = 2.0
    (told,) = wait.updates(PrefillProgress(500, 2_000, 3.0))
    assert told.title == "Reading 500 of 2,000 tokens; about 9 s left"
    (end,) = wait.updates(PrefillProgress(2_000, 2_000, 12.0))
    assert (end.tool_call_id, end.status) == (start.tool_call_id, "completed")
    assert list(wait.updates(PrefillProgress(500, 2_000, 0.2))) == [], "too short to tell of"
    assert list(wait.updates(TextDelta("x"))) == []
    story = Story(Files(tmp_path))
    list(story._wait.updates(loading))
    assert [one.status for one in story.end()] == ["completed"]


def test_a_prompt_larger_than_the_window_leaves_the_talk_as_it_was(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, chat=Sequel([Say(text="Hello.")], context_tokens=8_000))
    with pytest.raises(UsageError, match=r"that prompt is 10,\d+ tokens long, and the window of"):
        talk.say("word" * 10_000)
    assert talk.say("Hi.").reason == "end_turn"


def test_a_prompt_that_left_no_room_is_taken_back(tmp_path: Path) -> None:
    model = Sequel([Say(text="Hello.")], context_tokens=8_000)
    talk = start_talk(tmp_path, chat=model)
    talk.say("word" * 600)
    messages = list(talk.conversation.session.messages)
    model.context_tokens = model._size(tuple(messages)) + 100
    ended = talk.say("word" * 150)
    assert ended.reason == "max_tokens"
    assert ended.sentence.endswith("The prompt was taken back.")
    assert talk.conversation.session.messages == messages


# --- lines ----------------------------------------------------------------------------------------


def test_what_is_wrong_with_a_line_is_answered_to_whoever_asked(tmp_path: Path) -> None:
    raw = Raw(tmp_path)
    raw.write('{"jsonrpc":"2.0","id":1,"method":"session/list","params":{}}\n'.encode("utf-16"))
    raw.write(b'{"jsonrpc":"2.0","id":2,"method":"x","result":{}}\n')
    raw.write(b'{"jsonrpc":"2.0","method":"session/cancel","params":[]}\n')
    raw.write(json.dumps({"jsonrpc": "2.0", "id": 3, "method": "m" * 500_000}).encode() + b"\n")
    long = (
        "session/load",
        {"sessionId": "s" * 5_000, "cwd": str(tmp_path / "work"), "mcpServers": []},
    )
    answer = raw.ask(4, long[0], **long[1])
    assert answer["error"]["code"] == -32002
    raw.end()


def test_a_line_that_is_too_long_says_whose_it_was() -> None:
    assert TooLong(b'{"jsonrpc":"2.0","id":17,"method":"session/prompt","params":{').number == 17
    assert TooLong(b'{"id" : "a-1", "method":"x"').number == "a-1"
    assert TooLong(b'{"jsonrpc":"2.0","params":{"id":5,').number is None


def test_whoever_reads_is_not_held_up_by_a_client_that_does_not() -> None:
    reader, writer = os.pipe()
    wire = Wire(io.BytesIO(b"{}\n" * 40), os.fdopen(writer, "wb", buffering=0))
    for _ in wire.lines():  # for ever, if it waited
        wire.write(b"x" * (MAX_WAITING_BYTES // 10))
    assert not wire.flush(0.1)
    os.close(reader)
    assert wire.flush(60.0)
    assert wire.is_gone
    wire._writer.close()
