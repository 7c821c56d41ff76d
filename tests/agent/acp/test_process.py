"""The process itself: its first words, what is wrong with a line, and every way it can end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from acp import schema

from agent.frontends.acp.stdio import MAX_FRAME_BYTES
from agent.session import Session
from agent.sessions import list_sessions
from tests.agent.acp.editor import SENT, Editor, environment
from tests.agent.acp.raw import Raw

COMMAND = {"calls": [["bash", {"command": "echo $$ > pid; sleep 600"}]]}


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Raw]:
    """One process for the tests that do not end it; it is whole when all of them have been."""
    raw = Raw(tmp_path_factory.mktemp("raw"))
    yield raw
    name = raw.open("the end")
    assert raw.ask("still", "session/prompt", **raw.prompt(name, "Hi."))["result"]
    assert raw.end() == 0


def test_the_first_answer_is_the_protocol_s_and_says_what_is_true(tmp_path: Path) -> None:
    raw = Raw(tmp_path, initializes=False)
    early = raw.ask(1, "session/new", cwd="/tmp", mcpServers=[])
    assert early["error"] == {"code": -32600, "message": "initialize comes first"}
    bad = raw.ask(2, "initialize", protocolVersion="1")
    assert bad["error"]["code"] == -32602
    answer = raw.ask(3, "initialize", protocolVersion=7, clientCapabilities={"terminal": True})
    assert raw.ask(4, "initialize", protocolVersion=1)["error"]["code"] == -32600
    first = schema.InitializeResponse.model_validate(answer["result"])
    written = first.model_dump(mode="json", by_alias=True, exclude_unset=True)
    assert written == answer["result"]
    assert first.protocol_version == 1
    assert first.agent_capabilities is not None
    assert first.agent_capabilities.load_session
    assert raw.end() == 0


def test_nothing_slow_is_imported_before_the_first_answer() -> None:
    code = (
        "import agent.frontends.acp.start, sys;"
        "print(*{'torch', 'acp', 'pydantic', 'asyncio', 'agent.open_talk'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("\n", "")


@pytest.mark.slow
def test_the_first_answer_takes_no_torch(tmp_path: Path) -> None:
    line = b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":1}}\n'

    def took() -> float:
        """Start the command; return the processor's seconds up to its first answer."""
        with subprocess.Popen(
            [sys.executable, "-m", "agent.cli", "acp"],
            env=environment(tmp_path),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(line)
            process.stdin.flush()
            assert b'"result"' in process.stdout.readline()
            times = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    assert min(took() for _ in range(5)) < 1.0  # 0.25 measured; torch would take seconds


def test_that_a_prompt_has_come_is_told_while_what_came_before_it_goes_on(process: Raw) -> None:
    process.script({"hangs": True})
    name = process.open("quick")

    def prompt(number: int) -> None:
        """Send a prompt; return when it is told that it has come."""
        process.send(id=number, method="session/prompt", params=process.prompt(name, "Go."))
        while '"phase": "begun"' not in json.dumps(message := process.read()):
            assert "result" not in message

    prompt(900)
    prompt(901)
    process.send(method="session/cancel", params={"sessionId": name})
    ended: dict[int, str] = {}
    while len(ended) < 2:
        if "result" in (message := process.read()):
            ended[message["id"]] = message["result"]["stopReason"]
    assert ended == {900: "cancelled", 901: "cancelled"}
    process.script({"text": "Done."})


@pytest.mark.parametrize(
    ("line", "number", "code"),
    [
        (b"{nonsense", None, -32700),
        (b"\xff\xfe", None, -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"logout","params":{"n":NaN}}', None, -32700),
        (b'{"id":' + b"9" * 5000 + b"}", None, -32700),
        (b"[" * 100_000, None, -32700),
        (b"[]", None, -32600),
        (b'"text"', None, -32600),
        (b'{"id":5,"method":"logout"}', 5, -32600),
        (b'{"jsonrpc":"2.0","id":6}', 6, -32600),
        (b'{"jsonrpc":"2.0","id":7,"method":8}', 7, -32600),
        (b'{"jsonrpc":"2.0","id":1.5,"method":"logout"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":true,"method":"logout"}', None, -32600),
        (b'{"jsonrpc":"2.0","id":9,"method":"logout","params":[1]}', 9, -32602),
        (b'{"jsonrpc":"2.0","id":"a","method":"session/none"}', "a", -32601),
        (b'{"jsonrpc":"2.0","id":11,"method":"session/new","params":{"cwd":3}}', 11, -32602),
        (b'{"jsonrpc":"2.0"}', None, -32600),
    ],
)
def test_a_line_that_is_wrong_is_answered_and_harms_nothing(
    process: Raw, line: bytes, number: object, code: int
) -> None:
    process.write(line + b"\n")
    answer = process.answer(number)
    assert answer["error"]["code"] == code
    assert process.ask("after", "logout") == {"jsonrpc": "2.0", "id": "after", "result": {}}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"   ",
        b'{"jsonrpc":"2.0","method":"session/none"}',
        b'{"jsonrpc":"2.0","method":"session/cancel","params":{"sessionId":"none"}}',
        b'{"jsonrpc":"2.0","method":"session/cancel"}',
        b'{"jsonrpc":"2.0","method":"$/cancel_request","params":{"requestId":[]}}',
        b'{"jsonrpc":"2.0","id":77,"result":{}}',
        b'{"jsonrpc":"2.0","id":0,"error":null}',
        b'{"jsonrpc":"2.0","id":{},"result":{}}',
    ],
)
def test_what_asks_for_nothing_is_passed_over(process: Raw, line: bytes) -> None:
    process.write(line + b"\n")
    process.send(id="after", method="logout", params={})
    assert process.read() == {"jsonrpc": "2.0", "id": "after", "result": {}}


def test_a_line_that_is_too_long_is_read_past(process: Raw) -> None:
    piece = b"x" * (1 << 20)
    for _ in range(MAX_FRAME_BYTES // len(piece) + 2):
        process.write(piece)
    process.write(b"\n")
    assert process.answer(None)["error"]["message"] == "the message is too large"
    assert "result" in process.ask("after", "logout")
    status = Path(f"/proc/{process.process.pid}/status").read_text()
    peak_kib = int(status.split("VmHWM:")[1].split()[0])
    assert peak_kib < 400 * 1024


def test_a_number_is_used_once_at_a_time(process: Raw) -> None:
    process.script({"hangs": True})
    name = process.open()
    for _ in range(2):
        process.send(id="twice", method="session/prompt", params=process.prompt(name, "Go."))
    answer = process.answer("twice")
    assert answer["error"]["message"] == "a request with the id 'twice' is open"
    while "agent_message_chunk" not in json.dumps(process.read()):
        pass
    process.send(method="session/cancel", params={"sessionId": name})
    assert process.answer("twice")["result"]["stopReason"] == "cancelled"
    process.script({"text": "Done."})
    noise = (process.folder / "stderr").read_text()
    assert "somebody prints" in noise, "and not between the messages"


@pytest.mark.parametrize(
    "how",
    [
        "closed",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("SIGTERM", "SIGHUP", "unread")),
    ],
)
def test_when_the_editor_is_gone_all_is_kept_and_nothing_runs_on(tmp_path: Path, how: str) -> None:
    raw = Raw(tmp_path, COMMAND)
    name = raw.open()
    raw.send(id=5, method="session/prompt", params=raw.prompt(name, "Go."))
    _wait(lambda: (tmp_path / "work" / "pid").is_file() and _pid(tmp_path) > 0)
    match how:
        case "closed":
            raw.hang_up()
        case "unread":
            raw.stop_reading()
            while raw.process.poll() is None:
                with suppress(BrokenPipeError):
                    raw.send(id=time.time_ns(), method="logout")
                time.sleep(0.05)
        case _:
            raw.process.send_signal(getattr(signal, how))
    assert raw.process.wait(60) == 0
    with pytest.raises(ProcessLookupError):
        os.kill(_pid(tmp_path), 0)
    raw.end()
    (kept,) = list_sessions(tmp_path / "state" / "qwen-agent")
    assert (kept.id, kept.title, kept.exit_code, kept.num_damaged) == (name, "Go.", 0, 0)


def test_a_session_of_another_process_is_not_touched(process: Raw) -> None:
    work = str(process.folder / "work")
    start = {"kind": "talk", "repository": work, "model": "m"}
    session = Session.create(process.folder / "state" / "qwen-agent", start)
    where = {"sessionId": session.id, "cwd": work, "mcpServers": []}
    assert "in use" in process.ask(2, "session/load", **where)["error"]["message"]
    answer = process.ask(3, "session/delete", sessionId=session.id)
    assert answer["error"]["message"] == f"session {session.id} is in use"
    session.close()
    assert process.ask(4, "session/delete", sessionId=session.id)["result"] == {}
    assert not session.folder.exists()


@pytest.mark.slow
def test_settings_that_cannot_be_read_are_told_to_the_editor(tmp_path: Path) -> None:
    file = tmp_path / "config" / "qwen-agent" / "config.toml"
    file.parent.mkdir(parents=True)
    file.write_text("[none]\n")
    raw = Raw(tmp_path)
    answer = raw.ask(1, "session/new", cwd=str(tmp_path / "work"), mcpServers=[])
    assert "none is not a table of settings" in answer["error"]["message"]
    assert raw.end() == 0


def test_the_check_of_updates_sees_what_the_schema_does_not_know(tmp_path: Path) -> None:
    editor = Editor(tmp_path, tmp_path)
    update: dict[str, Any] = {"sessionUpdate": "usage_update", "used": 1, "size": 2}
    message = {"method": "session/update", "params": {"sessionId": "s", "update": update}}
    editor._check(message)
    update["colour"] = "blue"
    with pytest.raises(AssertionError):
        editor._check(message)
    assert {*SENT} >= {"session/update", "session/request_permission"}


def _wait(is_so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < end
        time.sleep(0.02)


def _pid(folder: Path) -> int:
    return int((folder / "work" / "pid").read_text().strip() or 0)
