"""An editor that lends the tools a hand, without a sandbox: it has texts, and opens terminals."""

import asyncio
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from acp import RequestError, schema

from agent.frontends.acp.hands import Hands
from agent.frontends.acp.handshake import Client
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.stdio import Wire
from sandbox.choose import LEVELS
from sandbox.direct import Direct
from tests.agent.acp.driver import PATIENCE_S
from tests.agent.acp.editor import Editor, command, repair, view
from tests.agent.fakes import CART

ABILITIES = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=True), terminal=True
)
FILES = ("fs/read_text_file", "fs/write_text_file")
DONE = {"text": "Done."}
TYPED = CART.replace("def double", "def typed")
MENDED = CART.replace("price - tax", "price + tax")


def cart(editor: Editor) -> Path:
    return editor.work / "shop" / "cart.py"


async def test_a_text_that_is_not_saved_is_read_and_written_by_the_editor(editor: Editor) -> None:
    editor.script(view("shop/cart.py"), repair(), DONE)
    editor.texts = {str(cart(editor)): TYPED}
    name = await editor.open()
    await editor.say(name, "Mend it.")
    assert {*editor.read} == {str(cart(editor))}
    asked = [frame["params"] for frame in editor.frames if frame.get("method") in FILES]
    assert {one["sessionId"] for one in asked} == {name}
    assert cart(editor).read_text() == TYPED.replace("price - tax", "price + tax")
    viewed = editor.all(schema.ToolCallProgress)[0]
    assert "def typed" in viewed.content[0].content.text
    assert "def typed" in editor.asked[0].content[0].new_text
    await editor.say(name, "/undo")
    assert cart(editor).read_text() == TYPED


async def test_a_turn_that_waits_for_a_text_can_be_cancelled(editor: Editor) -> None:
    editor.script(view("shop/cart.py"), DONE)
    editor.texts = {str(cart(editor)): None}
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Look."))
    while not editor.read:
        await asyncio.sleep(0.02)
    await editor.agent.cancel(session_id=name)
    assert (await turn).stop_reason == "cancelled"
    assert "$/cancel_request" in [frame.get("method") for frame in editor.frames[-4:]]
    assert editor.all(schema.ToolCallProgress)[-1].status == "failed"


@pytest.mark.parametrize("method", FILES)
async def test_an_edit_is_not_made_past_an_editor_that_was_waited_for_in_vain(
    editor: Editor, method: str
) -> None:
    editor.script(repair(), DONE)
    editor.texts, editor.ignores = {str(cart(editor)): TYPED}, "write"
    if method == "fs/read_text_file":
        editor.texts[str(cart(editor))] = None
    name = await editor.open()
    await editor.agent.set_session_mode(session_id=name, mode_id="auto")
    turn = asyncio.create_task(editor.say(name, "Mend it."))
    while method not in [frame.get("method") for frame in editor.frames]:
        await asyncio.sleep(0.02)
    await editor.agent.close_session(session_id=name)
    assert (await turn).stop_reason == "cancelled"
    assert cart(editor).read_text() == CART


@pytest.mark.parametrize(
    "lie",
    [
        RequestError(-32603, "not in this project"),
        *(5, "a\0b"),
        *(
            pytest.param(lie, marks=pytest.mark.slow)
            for lie in (["a"], {}, "x" * 8_000_000, "x" * 60_000_000)
        ),
    ],
    ids=lambda lie: f"{type(lie).__name__} {str(lie)[:3]!r} {len(str(lie))}",
)
async def test_what_is_no_text_is_read_from_the_disk(editor: Editor, lie: Any) -> None:
    editor.script(view("shop/cart.py"), repair(), DONE)
    editor.texts = {str(cart(editor)): lie}
    ended = await editor.say(await editor.open(), "Mend it.")
    assert ended.stop_reason == "end_turn"
    assert cart(editor).read_text() == MENDED
    assert editor.texts == {str(cart(editor)): lie}, "what it holds is not written over"


async def test_nothing_is_asked_while_a_command_could_put_a_link_in_the_way(
    editor: Editor,
) -> None:
    start = {"calls": [["bash", {"command": "sleep 600", "background": True}]]}
    editor.script(start, view("shop/cart.py"), DONE)
    name, other = await editor.open(), await editor.open()
    await editor.say(name, "Start it.")
    editor.script(view("shop/cart.py"), DONE)
    await editor.say(other, "Look.")
    assert editor.read == []
    await editor.agent.close_session(session_id=name)
    editor.script({"text": "Hm."}, DONE, view("shop/cart.py"), DONE)
    await editor.say(other, "Look again.")
    assert editor.read == [str(cart(editor))]


async def test_a_command_runs_in_a_terminal_that_is_shown_and_stays(editor: Editor) -> None:
    editor.script(command("echo begun; pwd; exit 3"), DONE)
    await editor.say(await editor.open(), "Go.")
    (terminal,) = editor.terminals
    await terminal.released.wait()
    shown, ended = [
        one for one in editor.all(schema.ToolCallProgress) if one.raw_output or one.content
    ]
    assert (shown.status, shown.content[0].terminal_id) == ("in_progress", "0")
    assert (ended.status, ended.content) == ("completed", None)
    assert ended.raw_output["text"] == f"begun\n{editor.work}\n[exit code 3]"


async def test_a_command_that_takes_too_long_is_killed_in_its_terminal(editor: Editor) -> None:
    slow = {"calls": [["bash", {"command": "echo begun; exec sleep 600", "timeout_s": 1}]]}
    editor.script(slow, DONE)
    editor.opens_late = True
    await editor.say(await editor.open(), "Go.")
    told = editor.all(schema.ToolCallProgress)[-1].raw_output["text"]
    assert told == "begun\n[timed out after 1 s]"
    assert await editor.terminals[0].process.wait() == -9
    await editor.terminals[0].released.wait()


async def test_a_cancelled_command_is_killed_in_its_terminal(editor: Editor) -> None:
    editor.script(command("exec sleep 600"), DONE)
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Go."))
    await editor.until(schema.ToolCallProgress, "terminal")
    await editor.agent.cancel(session_id=name)
    assert (await turn).stop_reason == "cancelled"
    assert await editor.terminals[0].process.wait() == -9
    await editor.terminals[0].released.wait()


@pytest.mark.parametrize("ignored", ["output", "release"])
async def test_who_has_cancelled_does_not_wait_for_the_last_of_a_terminal(
    editor: Editor, ignored: str
) -> None:
    editor.script(command("echo begun"), DONE)
    editor.ignores = ignored
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Go."))
    while f"terminal/{ignored}" not in [frame.get("method") for frame in editor.frames]:
        await asyncio.sleep(0.02)
    await editor.agent.cancel(session_id=name)
    ended = await asyncio.wait_for(turn, PATIENCE_S / 2)
    assert ended.stop_reason == "cancelled"


async def test_where_the_editor_opens_no_terminal_the_command_runs_here(editor: Editor) -> None:
    editor.script(command("echo begun"), DONE)
    editor.refuses = "create"
    await editor.say(await editor.open(), "Go.")
    ended = editor.all(schema.ToolCallProgress)[-1]
    assert ended.raw_output["text"] == "begun"
    assert "begun" in ended.content[0].content.text
    assert editor.terminals == []


async def test_a_terminal_that_is_lost_is_told_to_the_model(editor: Editor) -> None:
    editor.script(command("echo begun"), DONE)
    editor.refuses = "wait"
    await editor.say(await editor.open(), "Go.")
    told = editor.all(schema.ToolCallProgress)[-1].raw_output["text"]
    assert told == "begun\n[exit code -1]\n[The editor lost the terminal: gone.]"


@pytest.mark.parametrize("level", LEVELS)
def test_where_there_is_a_sandbox_no_terminal_is_used(level: str) -> None:
    class Level(Direct):
        pass

    sandbox = Level()
    sandbox.level = level
    hands = Hands(nobody(), Client(has_terminals=True), Path("/"), lambda: True)
    assert (hands.reach.bare(sandbox) is sandbox) == (level != "direct")
    unable = Hands(nobody(), Client(), Path("/"), lambda: True)
    assert unable.reach.bare(sandbox) is sandbox


def nobody() -> Peer:
    """Be a connection that nobody is at the end of."""
    return Peer(Wire(BytesIO(), BytesIO()))
