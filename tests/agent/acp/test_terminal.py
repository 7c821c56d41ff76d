"""Commands in a terminal of the editor, by an agent that was started without a sandbox."""

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from acp import schema

from agent.frontends.acp.hands import Hands
from agent.frontends.acp.handshake import Client
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.stdio import Wire
from sandbox.choose import LEVELS
from sandbox.direct import Direct
from tests.agent.acp.editor import Editor, command

ABILITIES = schema.ClientCapabilities(terminal=True)
DONE = {"text": "Done."}


async def test_a_command_runs_in_a_terminal_that_is_shown_and_stays(editor: Editor) -> None:
    editor.script(command("echo begun; pwd; exit 3"), DONE)
    await editor.say(await editor.open(), "Go.")
    (terminal,) = editor.terminals
    assert terminal.is_released
    shown, ended = [
        one for one in editor.all(schema.ToolCallProgress) if one.raw_output or one.content
    ]
    assert (shown.status, shown.content[0].terminal_id) == ("in_progress", "0")
    assert (ended.status, ended.content) == ("completed", None)
    assert ended.raw_output["text"] == f"begun\n{editor.work}\n[exit code 3]"


async def test_a_command_that_takes_too_long_is_killed_in_its_terminal(editor: Editor) -> None:
    slow = {"calls": [["bash", {"command": "echo begun; exec sleep 60", "timeout_s": 1}]]}
    editor.script(slow, DONE)
    await editor.say(await editor.open(), "Go.")
    told = editor.all(schema.ToolCallProgress)[-1].raw_output["text"]
    assert told == "begun\n[timed out after 1 s]"
    assert editor.terminals[0].is_released
    assert editor.terminals[0].process.returncode == -9


async def test_a_cancelled_command_is_killed_in_its_terminal(editor: Editor) -> None:
    editor.script(command("exec sleep 60"), DONE)
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Go."))
    await editor.until(schema.ToolCallProgress, "terminal")
    await editor.agent.cancel(session_id=name)
    assert (await turn).stop_reason == "cancelled"
    assert editor.terminals[0].process.returncode == -9
    assert editor.terminals[0].is_released


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
