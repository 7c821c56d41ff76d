"""Sessions in an editor: prompts, permissions, cancel, modes, and all that happens to a session."""

import asyncio
from typing import Any

import pytest
from acp import RequestError, schema

from tests.agent.acp.editor import Editor, command, repair, view
from tests.agent.fakes import CART, make_repository

DONE = {"text": "Mended."}
MENDED = CART.replace("price - tax", "price + tax")


def cart(editor: Editor) -> str:
    return (editor.work / "shop" / "cart.py").read_text()


async def test_a_repair_is_shown_as_it_happens(editor: Editor) -> None:
    look = {"thinking": "Where?", "text": "I look.", **view("shop/cart.py")}
    steps = {"calls": [["todo", {"items": ["[x] look", "[ ] mend", "[ ] test"]}]]}
    shell = command("echo tests; exit 3")
    editor.script(look, steps, repair(), shell, view("none.py"), DONE)
    ended = await editor.say(await editor.open(), "Mend it.")
    assert ended.stop_reason == "end_turn"
    assert ended.usage is not None
    assert ended.usage.output_tokens == 6 * 3
    assert cart(editor) == MENDED
    path = str(editor.work / "shop" / "cart.py")

    started = editor.all(schema.ToolCallStart)
    assert [one.kind for one in started] == ["read", "think", "edit", "execute", "read"]
    assert started[0].title == "View shop/cart.py"
    assert started[0].locations[0].path == path
    assert started[2].raw_input["new_str"] == "price + tax"

    done = {one.tool_call_id: one for one in editor.all(schema.ToolCallProgress)}
    assert [one.status for one in done.values()] == ["completed"] * 4 + ["failed"]
    (change,) = done["call-3"].content
    assert (change.type, change.path) == ("diff", path)
    assert "price - tax" in change.old_text
    assert change.new_text == change.old_text.replace("price - tax", "price + tax")
    assert done["call-3"].locations[0].line == 5
    assert "```console\ntests" in done["call-4"].content[0].content.text
    assert "exit code 3" in done["call-4"].raw_output["text"]

    plan = editor.all(schema.AgentPlanUpdate)[-1].entries
    states = [(entry.content, entry.status) for entry in plan]
    assert states == [("look", "completed"), ("mend", "in_progress"), ("test", "pending")]
    assert editor.all(schema.AgentThoughtChunk)[0].content.text == "Where?"
    assert editor.text() == "I look.Mended."
    used = editor.all(schema.UsageUpdate)[-1]
    assert used.size == 100_000
    assert used.used > 200
    assert used.field_meta["qwen-agent/reply"]["numGenerated"] == 3
    titles = [one.title for one in editor.all(schema.SessionInfoUpdate) if one.title]
    assert titles == ["Mend it."]
    phases = [one.field_meta["qwen-agent/status"] for one in editor.all(schema.SessionInfoUpdate)]
    assert phases[0] == {"phase": "begun"}
    assert {"done", "total", "elapsedS"} <= {*phases[-1]}


async def test_what_a_command_prints_is_shown_while_it_runs(editor: Editor) -> None:
    wait = r"printf '\033[31mhalf a line'; while [ ! -e seen ]; do sleep 0.02; done; echo ', whole'"
    editor.script(command(wait), DONE)
    turn = asyncio.create_task(editor.say(await editor.open(), "Go."))
    await editor.until(schema.ToolCallProgress, "half")
    glimpse = editor.all(schema.ToolCallProgress)[-1]
    assert (glimpse.tool_call_id, glimpse.status) == ("call-1", "in_progress")
    assert glimpse.content[0].content.text == "```console\nhalf a line\n```"
    (editor.work / "seen").touch()
    await turn
    whole = editor.all(schema.ToolCallProgress)[-1]
    assert whole.status == "completed"
    assert "half a line, whole" in whole.content[0].content.text


async def test_files_that_a_prompt_names_or_holds_reach_the_model(editor: Editor) -> None:
    editor.script(DONE)
    uri = f"file://{editor.work}/shop/cart.py"
    name = await editor.open()
    await editor.agent.prompt(
        session_id=name,
        prompt=[
            schema.TextContentBlock(type="text", text="Look at "),
            schema.ResourceContentBlock(type="resource_link", name="cart.py", uri=f"{uri}#L4"),
            schema.TextContentBlock(type="text", text=" and "),
            schema.EmbeddedResourceContentBlock(
                type="resource",
                resource=schema.TextResourceContents(uri="buffer:1", text="not ```saved"),
            ),
        ],
    )
    await editor.agent.close_session(session_id=name)
    await editor.agent.load_session(cwd=str(editor.work), session_id=name, mcp_servers=[])
    assert editor.all(schema.UserMessageChunk)[0].content.text == (
        f"Look at `{editor.work}/shop/cart.py:4` and `buffer:1`\n\n"
        "buffer:1 (buffer:1):\n````\nnot ```saved\n````"
    )


async def test_a_person_is_asked_once_and_what_they_say_for_always_is_kept(editor: Editor) -> None:
    editor.script(repair(), command("echo a > made.txt"), DONE)
    editor.answers = ("allow_always", "reject_always")
    await editor.say(await editor.open(), "Mend it.")
    edit, shell = editor.asked
    assert edit.content[0].type == "diff"
    assert edit.content[0].new_text.count("price + tax") == 1
    assert "echo a > made.txt" in shell.content[0].content.text
    assert cart(editor) == MENDED
    assert not (editor.work / "made.txt").exists()

    editor.script(repair(back=True), command("echo a > made.txt"), DONE)
    editor.asked.clear()
    await editor.say(await editor.open(), "And back.")
    assert editor.asked == []
    assert cart(editor) == CART
    assert not (editor.work / "made.txt").exists()
    refused = editor.all(schema.ToolCallProgress)[-1]
    assert refused.status == "failed"
    assert "now or later" in refused.raw_output["text"]


@pytest.mark.parametrize("answer", ["allow_once", "reject_once"])
async def test_an_answer_for_once_is_asked_for_again(editor: Editor, answer: str) -> None:
    editor.script(repair(), repair(back=True), repair(), DONE)
    editor.answers = (answer,)
    await editor.say(await editor.open(), "Back and forth.")
    assert len(editor.asked) >= 2
    assert cart(editor) == (MENDED if answer == "allow_once" else CART)


async def test_a_person_who_gives_no_answer_stops_the_turn(editor: Editor) -> None:
    editor.script(repair(), DONE)
    editor.answers = (None,)
    ended = await editor.say(await editor.open(), "Mend it.")
    assert ended.stop_reason == "cancelled"
    assert cart(editor) == CART


@pytest.mark.parametrize("during", ["decode", "tool", "question"])
async def test_cancel_ends_the_turn_and_the_next_one_goes_on(editor: Editor, during: str) -> None:
    sleep = command("echo begun > made.txt; sleep 600")
    editor.script({"decode": {"hangs": True}, "tool": sleep, "question": repair()}[during], DONE)
    editor.answers = ("never",) if during == "question" else ("allow_once",)
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Go."))
    waiting = asyncio.create_task(editor.say(name, "And then this."))
    if during == "decode":
        await editor.until(schema.AgentMessageChunk)
    while during == "tool" and not (editor.work / "made.txt").exists():
        await asyncio.sleep(0.02)
    while during == "question" and not editor.asked:
        await asyncio.sleep(0.02)
    await editor.agent.cancel(session_id=name)
    assert (await turn).stop_reason == "cancelled"
    assert (await waiting).stop_reason == "cancelled"
    told = editor.all(schema.ToolCallProgress)
    assert [one.status for one in told if one.status != "in_progress"] == (
        [] if during == "decode" else ["failed"]
    )
    editor.script(DONE)
    again = await editor.say(name, "Go on.")
    assert again.stop_reason == "end_turn"
    assert editor.text().endswith("Mended.")
    assert cart(editor) == CART


async def test_a_request_is_cancelled_by_its_number_too(editor: Editor) -> None:
    editor.script({"hangs": True})
    turn = asyncio.create_task(editor.say(await editor.open(), "Go."))
    await editor.until(schema.AgentMessageChunk)
    connection = editor.agent._conn
    number = {"requestId": connection._next_request_id - 1}
    await connection.send_notification("$/cancel_request", number)
    assert (await turn).stop_reason == "cancelled"


async def test_the_mode_and_the_model_are_set_in_both_ways(editor: Editor) -> None:
    agent = editor.agent
    editor.script(repair(), DONE)
    opened = await agent.new_session(cwd=str(editor.work), mcp_servers=[])
    name = opened.session_id
    assert opened.modes is not None
    assert opened.modes.current_mode_id == "ask"
    assert opened.config_options is not None
    categories = [option.category for option in opened.config_options]
    assert categories == ["mode", "model", "thought_level", None]
    await agent.set_session_mode(session_id=name, mode_id="auto")
    assert editor.all(schema.CurrentModeUpdate)[-1].current_mode_id == "auto"
    await editor.say(name, "Mend it.")
    assert editor.asked == []
    assert cart(editor) == MENDED
    mode, *_others = editor.all(schema.ConfigOptionUpdate)[-1].config_options
    assert mode.current_value == "auto"

    now = await agent.set_config_option(session_id=name, config_id="mode", value="plan")
    assert now is not None
    assert now.config_options[0].current_value == "plan"
    now = await agent.set_config_option(session_id=name, config_id="model", value="nano")
    assert now is not None
    assert "nano" in {option.value for option in now.config_options[1].options}
    with pytest.raises(RequestError, match="there is no mode 'never'; there are plan"):
        await agent.set_session_mode(session_id=name, mode_id="never")
    for option, value in {"colour": "blue", "thinking": "deep", "attempts": "17"}.items():
        with pytest.raises(RequestError, match=f"there is no (option|{option}) '"):
            await agent.set_config_option(session_id=name, config_id=option, value=value)


async def test_thinking_and_attempts_are_set_and_kept(editor: Editor) -> None:
    agent, cwd = editor.agent, str(editor.work)
    editor.script({"thinking": "Hm.", "text": "Hello."})
    name = await editor.open()
    await agent.set_config_option(session_id=name, config_id="thinking", value="off")
    await editor.say(name, "Hello.")
    assert editor.all(schema.AgentThoughtChunk) == []

    now = await agent.set_config_option(session_id=name, config_id="attempts", value="2")
    assert now is not None
    assert now.config_options[3].current_value == "2"
    hello = {"text": "Hello."}  # attempts go on from what was said
    editor.script(hello, repair(), {"calls": [["finish", {"summary": "Mended."}]]})
    await editor.say(name, "Mend it.")
    assert "Attempt 1 of 2" in editor.text()
    assert editor.asked == [], "what is done on a copy is not asked about"
    assert cart(editor) == MENDED

    await editor.say(name, "/undo")
    assert cart(editor) == CART

    await agent.close_session(session_id=name)
    loaded = await agent.load_session(cwd=cwd, session_id=name, mcp_servers=[])
    assert loaded.config_options is not None
    assert [one.current_value for one in loaded.config_options][2:] == ["off", "2"]
    await agent.set_session_mode(session_id=name, mode_id="plan")
    editor.script({"text": "I would."})
    await editor.say(name, "What would you do?")
    assert editor.text().endswith("I would."), "where nothing may be changed it is a turn"


async def test_a_session_is_listed_loaded_forked_closed_and_deleted(editor: Editor) -> None:
    agent, cwd = editor.agent, str(editor.work)
    look = {"text": "I look.", "thinking": "Hm.", **view("shop/cart.py")}
    editor.script(look, repair(), repair(), DONE)
    name = await editor.open()
    await editor.say(name, "Mend it.\nPlease.")
    fork = await agent.fork_session(session_id=name, cwd=cwd)
    assert fork.session_id != name
    await agent.close_session(session_id=name)
    with pytest.raises(RequestError, match="is not open"):
        await editor.say(name, "Are you there?")

    found = (await agent.list_sessions(cwd=cwd)).sessions
    assert {one.session_id for one in found} == {name, fork.session_id}
    assert {one.title for one in found} == {"Mend it."}
    assert all(one.cwd == cwd and one.updated_at for one in found)
    assert (await agent.list_sessions(cwd=str(editor.folder))).sessions == []
    other = str(make_repository(editor.folder / "other"))
    for session_id in (name, fork.session_id):  # one is open, the other is not
        with pytest.raises(RequestError, match=f"session {session_id} is about {cwd}"):
            await agent.load_session(cwd=other, session_id=session_id, mcp_servers=[])

    editor.told.clear()
    await agent.load_session(cwd=cwd, session_id=name, mcp_servers=[])
    assert editor.all(schema.UserMessageChunk)[0].content.text == "Mend it.\nPlease."
    assert editor.all(schema.AgentThoughtChunk)[0].content.text == "Hm."
    assert editor.text(name) == "I look.Mended."
    ids = [one.tool_call_id for one in editor.all(schema.ToolCallStart)]
    ends = editor.all(schema.ToolCallProgress)
    assert ids == [one.tool_call_id for one in ends] == ["call-1", "call-2", "call-3"]
    assert [one.status for one in ends] == ["completed", "completed", "failed"]
    assert ends[1].content[0].new_text == "price + tax"
    assert ends[2].content[0].type == "content", "what was not changed is shown as no change"
    assert editor.all(schema.UsageUpdate)[-1].used > 0

    await agent.close_session(session_id=name)
    editor.told.clear()
    resumed = await agent.resume_session(cwd=cwd, session_id=name)
    assert resumed.modes is not None
    assert editor.all(schema.UserMessageChunk) == []
    assert (await editor.say(name, "/undo")).stop_reason == "end_turn"
    assert cart(editor) == CART

    await editor.ask("session/delete", sessionId=name)
    await editor.ask("session/delete", sessionId=name)
    left = (await agent.list_sessions(cwd=cwd)).sessions
    assert [one.session_id for one in left] == [fork.session_id]
    for session_id in (name, "../sessions", ""):
        with pytest.raises(RequestError, match=f"there is no session {session_id}"):
            await agent.load_session(cwd=cwd, session_id=session_id, mcp_servers=[])


async def test_further_folders_are_read_and_kept_with_the_session(editor: Editor) -> None:
    agent, cwd, further = editor.agent, str(editor.work), editor.folder / "library"
    further.mkdir()
    (further / "price.py").write_text("PRICE = 3\n")
    folders = {"additional_directories": [str(further)]}
    editor.script(view(f"{further}/price.py"), DONE)
    opened = await agent.new_session(cwd=cwd, mcp_servers=[], **folders)
    name = opened.session_id
    await editor.say(name, "What is the price?")
    (shown,) = editor.all(schema.ToolCallStart)
    assert shown.locations[0].path == f"{further}/price.py"
    assert "PRICE = 3" in editor.all(schema.ToolCallProgress)[-1].raw_output["text"]
    with pytest.raises(RequestError, match="open with other further folders; close it first"):
        await agent.load_session(cwd=cwd, session_id=name, mcp_servers=[])
    (listed,) = (await agent.list_sessions(cwd=cwd)).sessions
    assert listed.additional_directories == [str(further)]

    await agent.close_session(session_id=name)
    editor.script(DONE, DONE, view(f"{further}/price.py"), DONE)
    await agent.load_session(cwd=cwd, session_id=name, mcp_servers=[])
    await editor.say(name, "Again.")
    refused = editor.all(schema.ToolCallProgress)[-1].raw_output["text"]
    assert "is outside the workspace" in refused, "who names none has none"
    (listed,) = (await agent.list_sessions(cwd=cwd)).sessions
    assert listed.additional_directories is None
    with pytest.raises(RequestError, match="'library' is no folder, named from the root"):
        await agent.new_session(cwd=cwd, mcp_servers=[], additional_directories=["library"])


async def test_a_fork_asks_in_its_own_name(editor: Editor) -> None:
    editor.script({"text": "Hello."}, repair(), DONE)
    name = await editor.open()
    await editor.say(name, "Hello.")
    fork = await editor.agent.fork_session(session_id=name, cwd=str(editor.work))
    await editor.say(fork.session_id, "Mend it.")
    assert editor.asked_in == [fork.session_id]
    assert cart(editor) == MENDED


async def test_a_list_goes_on_where_the_last_page_ended(editor: Editor) -> None:
    editor.script(DONE)
    names = [await editor.open() for _ in range(2)]
    for name in names:
        await editor.say(name, "Hello.")
    cwd = str(editor.work)
    whole = (await editor.agent.list_sessions(cwd=cwd)).sessions
    rest = await editor.agent.list_sessions(cwd=cwd, cursor=whole[0].session_id)
    assert [one.session_id for one in rest.sessions] == [whole[1].session_id]
    with pytest.raises(RequestError, match="that cursor was not given"):
        await editor.agent.list_sessions(cursor="../..")


async def test_two_sessions_side_by_side_and_two_that_take_turns_in_a_folder(
    editor: Editor,
) -> None:
    other = make_repository(editor.folder / "other")
    both_are_here = 'touch "../begun ${PWD##*/}"; until [ -e "../begun work" ] && '
    both_are_here += '[ -e "../begun other" ]; do sleep 0.02; done'
    editor.script(command(both_are_here), repair(), DONE)
    names = [await editor.open(), await editor.open(other)]
    ends = await asyncio.gather(*(editor.say(name, "Mend it.") for name in names))
    assert [one.stop_reason for one in ends] == ["end_turn", "end_turn"]
    order = [name for name, update in editor.told if hasattr(update, "tool_call_id")]
    assert order != sorted(order, key=names.index), "they took turns"
    assert cart(editor) == (other / "shop" / "cart.py").read_text() == MENDED
    assert [editor.text(name) for name in names] == ["Mended.", "Mended."]

    third = await editor.open()
    both = await asyncio.gather(editor.say(names[0], "Again."), editor.say(third, "Too."))
    assert [one.stop_reason for one in both] == ["end_turn", "end_turn"]


async def test_what_the_engine_cannot_do_is_said_and_the_session_goes_on(editor: Editor) -> None:
    editor.script({"error": "the model fell over"})
    name = await editor.open()
    with pytest.raises(RequestError, match="the model fell over"):
        await editor.say(name, "Go.")
    editor.script(DONE)
    assert (await editor.say(name, "Go.")).stop_reason == "end_turn"


async def test_a_turn_can_be_steered(editor: Editor) -> None:
    editor.script(command("while [ ! -e told ]; do sleep 0.02; done"), DONE)
    name = await editor.open()
    turn = asyncio.create_task(editor.say(name, "Go."))
    await editor.until(schema.ToolCallStart)
    words = {"sessionId": name, "text": "Use tabs."}
    await editor.agent.ext_notification("qwen-agent/steer", words)
    await editor.ask("logout")  # when this is answered, that has been read
    (editor.work / "told").touch()
    assert (await turn).stop_reason == "end_turn"
    assert editor.all(schema.UserMessageChunk)[-1].content.text == "Use tabs."


async def test_commands_are_offered_and_carried_out(editor: Editor) -> None:
    own = editor.home / "config" / "qwen-agent" / "commands"
    own.mkdir(parents=True)
    (own / "review.md").write_text("Review $ARGUMENTS.\nThoroughly.")
    editor.script(repair(), DONE)
    name = await editor.open()
    await editor.say(name, "/review the cart")
    offered = editor.all(schema.AvailableCommandsUpdate)[0].available_commands
    names = {one.name: one.description for one in offered}
    assert {"undo", "redo", "diff", "test", "compact", "attempts", "mcp", "init"} <= {*names}
    assert names["review"] == "your own: Review $ARGUMENTS."
    await editor.say(name, "/diff")
    assert "```diff\n" in editor.text()
    assert "+    return price + tax" in editor.text()
    await editor.say(name, "/test")
    assert "The tests: 2 passed" in editor.text()
    await editor.say(name, "/mcp")
    assert "No MCP server is named" in editor.text()
    ended = await editor.say(name, "/attempts many")
    assert ended.stop_reason == "end_turn"
    assert "Write /attempts N PROMPT" in editor.text()
    await editor.agent.close_session(session_id=name)
    await editor.agent.load_session(cwd=str(editor.work), session_id=name, mcp_servers=[])
    assert editor.all(schema.UserMessageChunk)[0].content.text == "Review the cart.\nThoroughly."


@pytest.mark.parametrize(
    ("method", "params", "sentence"),
    [
        ("session/new", {"cwd": "work", "mcpServers": []}, "cwd is a path from the root"),
        ("session/new", {"cwd": "/none", "mcpServers": []}, "'/none' is no folder"),
        ("session/new", {"cwd": "/", "mcpServers": []}, "repository"),
        ("session/new", {"cwd": "/"}, "the params are not as the protocol says"),
        (
            "session/new",
            {"cwd": "/", "mcpServers": [5]},
            "mcpServers.0 is not as the protocol says",
        ),
        (
            "session/load",
            {"sessionId": "a", "cwd": "/", "mcpServers": [], "additionalDirectories": ["/tmp", 5]},
            "additionalDirectories.1 is not as the protocol says",
        ),
        (
            "session/new",
            {"cwd": "/", "mcpServers": [{"name": "a", "command": "./a", "args": [], "env": []}]},
            "The MCP server a of your editor is not used: the command './a'",
        ),
        ("session/prompt", {"sessionId": "no", "prompt": []}, "session no is not open"),
        ("session/load", {"sessionId": "a", "cwd": "/", "mcpServers": []}, "repository"),
        ("session/close", {"sessionId": "no"}, "session no is not open"),
        ("authenticate", {"methodId": "key"}, "there is no login 'key': none is needed"),
        ("session/unheard_of", {}, "there is no method session/unheard_of"),
    ],
)
async def test_what_cannot_be_is_refused_in_a_sentence(
    editor: Editor, method: str, params: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(RequestError, match=sentence) as refused:
        await editor.ask(method, **params)
    assert refused.value.code in (-32601, -32602, -32002)


async def test_a_prompt_that_cannot_be_read_is_refused(editor: Editor) -> None:
    name = await editor.open()
    sound = schema.AudioContentBlock(type="audio", data="aGk=", mime_type="audio/wav")
    with pytest.raises(RequestError, match="a prompt has text and pictures, and no audio"):
        await editor.agent.prompt(session_id=name, prompt=[sound])
    with pytest.raises(RequestError, match="the prompt is empty"):
        await editor.say(name, " ")
    with pytest.raises(RequestError, match="40,000,000 characters, and 1,000,000 at most"):
        await editor.say(name, "x" * 40_000_000)
