"""The real command with nano, and with its weights as any checkpoint: a repair, and reuse."""

import asyncio
import subprocess
from pathlib import Path

import pytest
from acp import schema

from evals.nano.corpus import generate
from evals.nano.evaluate import lay_out
from tests.agent.acp.editor import ROOT, Editor, editing
from tests.plain import plain_python

COMMAND = ("-m", "agent.cli", "acp")
SEED = 900_001
NUM_TRIES = 5
pytestmark = pytest.mark.slow


async def test_nano_repairs_a_repository_and_asks_before_it_does(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    lay_out(generate(SEED), tmp_path / "work")
    words = ("--model", "nano", "--python", str(plain_python()))
    async with editing(tmp_path, program=COMMAND, words=words) as editor:
        opened = await editor.agent.new_session(cwd=str(editor.work), mcp_servers=[])
        assert opened.config_options is not None
        assert [one.id for one in opened.config_options] == ["mode", "model", "attempts"]
        name = opened.session_id
        ended = await editor.say(name, "Something is wrong here, mend it.")
        assert ended.stop_reason == "end_turn"
        assert ended.usage is not None
        assert ended.usage.cached_read_tokens > ended.usage.input_tokens / 2
        (asked,) = editor.asked
        assert asked.kind == "edit"
        (change,) = asked.content
        assert Path(change.path).is_file()
        assert change.old_text != change.new_text
        assert change.new_text in Path(change.path).read_text()
        kinds = {one.kind for one in editor.all(schema.ToolCallStart)}
        assert {"execute", "read", "edit"} <= kinds
        assert editor.text().strip(), "nano says what it did"
    done = subprocess.run(
        [plain_python(), "-m", "pytest", "-q"], cwd=tmp_path / "work", capture_output=True
    )
    assert done.returncode == 0, done.stdout


async def test_a_session_that_was_killed_is_loaded_with_its_state(tmp_path: Path) -> None:
    words = ("--model", str(ROOT / "inference" / "nano"), "--mode", "plan", "--sandbox", "direct")

    async def first_reply(editor: Editor, name: str, text: str) -> dict[str, float]:
        """Send a prompt; stop it when the first reply is whole, and return what that has cost."""
        seen = len(editor.all(schema.UsageUpdate))
        turn = asyncio.create_task(editor.say(name, text))
        while not (costs := [one.field_meta for one in editor.all(schema.UsageUpdate)[seen:]]):
            editor.heard.clear()
            await asyncio.wait_for(editor.heard.wait(), 60)
        await editor.agent.cancel(session_id=name)
        assert (await turn).stop_reason in ("cancelled", "refusal", "end_turn")
        figures: dict[str, float] = costs[0]["qwen-agent/reply"]
        return figures

    async with editing(tmp_path, program=COMMAND, words=words) as editor:
        for number in range(NUM_TRIES):
            editor.told.clear()
            name = await editor.open()
            turn = asyncio.create_task(editor.say(name, f"{number} " * 1_000))
            await editor.until(schema.SessionInfoUpdate, "'phase': 'reading'")
            await editor.agent.cancel(session_id=name)
            if (await turn).stop_reason == "cancelled":
                break  # else the machine was busy with something else until nano had answered
        else:
            raise AssertionError("a turn is not cancelled while the prompt is read")

        name = await editor.open()
        cost = await first_reply(editor, name, "Hello.")
        read = cost["numPrompt"] + cost["numGenerated"] - 1
        editor.process.kill()
        await editor.process.wait()

    async with editing(tmp_path, program=COMMAND, words=words) as editor:
        await editor.agent.load_session(cwd=str(editor.work), session_id=name, mcp_servers=[])
        assert editor.all(schema.UserMessageChunk)[0].content.text == "Hello."
        cost = await first_reply(editor, name, "And now?")
        assert cost["numReused"] >= read * 0.9
        assert cost["numReused"] + cost["numPrefilled"] == cost["numPrompt"]
