"""An editor that lends the tools a hand: it gives and takes the texts of files that it has."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from acp import RequestError, schema

from tests.agent.acp.editor import Editor, repair, view
from tests.agent.fakes import CART

ABILITIES = schema.ClientCapabilities(
    fs=schema.FileSystemCapabilities(read_text_file=True, write_text_file=True)
)
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
    assert editor.frames[-2]["method"] == "$/cancel_request"


@pytest.mark.parametrize(
    "lie",
    [
        RequestError(-32603, "not in this project"),
        *(5, ["a"], {}, "a\0b", "x" * 8_000_000),
        pytest.param("x" * 60_000_000, marks=pytest.mark.slow),
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
    start = {"calls": [["bash", {"command": "sleep 60", "background": True}]]}
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


FILES = ("fs/read_text_file", "fs/write_text_file")
