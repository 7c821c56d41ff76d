"""An editor that drives the real process with the SDK's own client, and checks all that it says."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acp import RequestError, schema
from acp.client.connection import ClientSideConnection
from acp.connection import StreamEvent

from agent.frontends.acp.updates import Update
from tests.agent.fakes import make_repository

ROOT = Path(__file__).parents[3]
LIMIT_BYTES = 64 * 1024 * 1024
SENT: dict[str, type[Any]] = {
    "session/update": schema.SessionNotification,
    "session/request_permission": schema.RequestPermissionRequest,
    "fs/read_text_file": schema.ReadTextFileRequest,
    "fs/write_text_file": schema.WriteTextFileRequest,
    "terminal/create": schema.CreateTerminalRequest,
    "terminal/output": schema.TerminalOutputRequest,
    "terminal/wait_for_exit": schema.WaitForTerminalExitRequest,
    "terminal/kill": schema.KillTerminalRequest,
    "terminal/release": schema.ReleaseTerminalRequest,
    "$/cancel_request": schema.CancelRequestNotification,
}
SCRIPTED = ("-m", "tests.agent.acp.driver")
DIRECT = ("--sandbox", "direct")
AUTO = (*DIRECT, "--mode", "auto")


@dataclass
class Terminal:
    """A command that the editor runs."""

    process: asyncio.subprocess.Process
    first_line: bytes = b""
    """What was read of its output before anybody asked."""
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def text(self) -> str:
        """Return what it printed, once it has ended."""
        assert self.process.stdout is not None
        return (self.first_line + await self.process.stdout.read()).decode()


@dataclass
class Editor:
    """Whoever sits in front of the agent; `answers` are given one after the other."""

    home: Path
    """Where the agent keeps its things."""
    folder: Path
    """Of this test."""
    answers: Sequence[str | None] = ("allow_once",)
    told: list[tuple[str, Update]] = field(default_factory=list)
    """The updates with the session that each is of."""
    asked: list[schema.ToolCallUpdate] = field(default_factory=list)
    asked_in: list[str] = field(default_factory=list)
    """The sessions that they are of."""
    texts: dict[str, Any] = field(default_factory=dict)
    """The files that are open, by their paths, with their texts; or an error to answer with, or
    None not to answer."""
    read: list[str] = field(default_factory=list)
    """The paths of the texts that the agent asked for."""
    terminals: list[Terminal] = field(default_factory=list)
    opens_late: bool = False
    """Whether a terminal is told of when its command has printed a line."""
    refuses: str = ""
    """What of a terminal it says no to: `create` or `wait`."""
    ignores: str = ""
    """What it never answers: `write`, or of a terminal, `output` or `release`."""
    frames: list[dict[str, Any]] = field(default_factory=list)
    """All that the agent wrote."""
    faults: list[str] = field(default_factory=list)
    """What of that is not as the schema says."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set with each update."""

    def __post_init__(self) -> None:
        self.agent: ClientSideConnection
        self.process: asyncio.subprocess.Process

    # ---- what the SDK calls

    async def session_update(self, session_id: str, update: Update, **_more: Any) -> None:
        self.told.append((session_id, update))
        self.heard.set()

    async def request_permission(
        self, session_id: str, tool_call: schema.ToolCallUpdate, options: list[Any], **_more: Any
    ) -> schema.RequestPermissionResponse:
        self.asked.append(tool_call)
        self.asked_in.append(session_id)
        if "never" in self.answers:
            await asyncio.sleep(3600)
        answer = self.answers[min(len(self.asked), len(self.answers)) - 1]
        if answer is None:
            outcome: Any = schema.DeniedOutcome(outcome="cancelled")
        else:
            assert answer in {option.option_id for option in options}
            outcome = schema.AllowedOutcome(outcome="selected", option_id=answer)
        return schema.RequestPermissionResponse(outcome=outcome)

    async def read_text_file(self, path: str, **_more: Any) -> dict[str, Any]:
        self.read.append(path)
        text = self.texts[path] if path in self.texts else Path(path).read_text()
        if text is None:
            await asyncio.sleep(3600)
        if isinstance(text, Exception):
            raise text
        return {"content": text}

    async def write_text_file(self, path: str, content: str, **_more: Any) -> None:
        if self.ignores == "write":
            await asyncio.sleep(3600)
        self.texts[path] = content
        Path(path).write_text(content)

    async def create_terminal(
        self, command: str, args: list[str], env: list[Any], cwd: str, **_more: Any
    ) -> dict[str, Any]:
        if self.refuses == "create":
            raise RequestError(-32603, "no terminal is free")
        process = await asyncio.create_subprocess_exec(
            *(command, *args),
            cwd=cwd,
            env={**os.environ, **{one.name: one.value for one in env}},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        self.terminals.append(terminal := Terminal(process))
        if self.opens_late:
            assert process.stdout is not None
            terminal.first_line = await process.stdout.readline()
        return {"terminalId": str(self.terminals.index(terminal))}

    async def wait_for_terminal_exit(self, terminal_id: str, **_more: Any) -> dict[str, Any]:
        if self.refuses == "wait":
            raise RequestError(-32603, "gone")
        return {"exitCode": await self.terminals[int(terminal_id)].process.wait()}

    async def terminal_output(self, terminal_id: str, **_more: Any) -> dict[str, Any]:
        if self.ignores == "output":
            await asyncio.sleep(3600)
        return {"output": await self.terminals[int(terminal_id)].text(), "truncated": False}

    async def kill_terminal(self, terminal_id: str, **_more: Any) -> None:
        self.terminals[int(terminal_id)].process.kill()

    async def release_terminal(self, terminal_id: str, **_more: Any) -> None:
        self.terminals[int(terminal_id)].released.set()
        if self.ignores == "release":
            await asyncio.sleep(3600)

    def on_connect(self, _connection: Any) -> None:
        """Know the agent already."""

    def look(self, event: StreamEvent) -> None:
        """Check a message against the schema: nothing in it may be unknown there."""
        message = event.message
        if event.direction.value != "incoming":
            return
        self.frames.append(message)
        try:
            self._check(message)
        except (ValueError, AssertionError) as error:  # the SDK would only log it
            self.faults.append(f"{error}: {message}")

    def _check(self, message: dict[str, Any]) -> None:
        method = message.get("method")
        if method is None:
            assert {*message} in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
            return
        read = SENT[method].model_validate(message["params"])
        written = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
        assert written == message["params"]

    # ---- what a test does

    def sit_down(self, folder: Path, *script: dict[str, Any]) -> None:
        """Begin a test: a repository below `folder`, and what the model says from now on."""
        self.folder = folder
        self.answers = ("allow_once",)
        self.told, self.asked, self.asked_in, self.frames = [], [], [], []
        self.texts, self.read, self.terminals, self.refuses, self.ignores = {}, [], [], "", ""
        self.opens_late = False
        if not self.work.exists():
            make_repository(self.work)
        self.script(*script)

    def script(self, *replies: dict[str, Any]) -> None:
        """Change what the model says."""
        (self.home / "script.json").write_text(json.dumps(replies))

    async def leave(self) -> None:
        """Close the connection, and see that the process ends by that."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), 60)
        finally:
            if self.process.returncode is None:
                self.process.kill()
                await self.process.wait()
            await self.agent.close()
        assert self.faults == []

    @property
    def work(self) -> Path:
        return self.folder / "work"

    @property
    def state(self) -> Path:
        return self.home / "state" / "qwen-agent"

    async def open(self, folder: Path | None = None) -> str:
        """Begin a session; return its name."""
        opened = await self.agent.new_session(cwd=str(folder or self.work), mcp_servers=[])
        return opened.session_id

    async def say(self, session_id: str, text: str) -> schema.PromptResponse:
        """Send a prompt and wait for the end of its turn."""
        block = schema.TextContentBlock(type="text", text=text)
        return await self.agent.prompt(session_id=session_id, prompt=[block])

    async def until(self, kind: type[Any], text: str = "") -> None:
        """Wait for an update of a kind, with a text in it."""
        while not any(text in str(update) for update in self.all(kind)):
            self.heard.clear()
            await asyncio.wait_for(self.heard.wait(), 60)

    def all(self, kind: type[Any], session_id: str = "") -> list[Any]:
        """Return the updates of a kind."""
        return [
            update
            for name, update in self.told
            if isinstance(update, kind) and session_id in ("", name)
        ]

    def text(self, session_id: str = "") -> str:
        """Return what the agent said."""
        said = self.all(schema.AgentMessageChunk, session_id)
        return "".join(chunk.content.text for chunk in said)

    async def ask(self, method: str, **params: Any) -> Any:
        """Send a request that the SDK has no function for."""
        return await self.agent._conn.send_request(method, params)


async def started(
    folder: Path,
    words: Sequence[str] = DIRECT,
    program: Sequence[str] = SCRIPTED,
    initializes: bool = True,
    abilities: schema.ClientCapabilities | None = None,
) -> Editor:
    """Start the agent in a process of its own."""
    editor = Editor(folder, folder)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, *program, *words),
        cwd=ROOT,
        env=environment(folder),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=LIMIT_BYTES,
    )
    editor.process = process
    editor.agent = ClientSideConnection(
        editor, process.stdin, process.stdout, observers=[editor.look], use_unstable_protocol=True
    )
    if initializes:
        await editor.agent.initialize(protocol_version=1, client_capabilities=abilities)
    return editor


@asynccontextmanager
async def editing(folder: Path, *script: dict[str, Any], **how: Any) -> AsyncIterator[Editor]:
    """Start it for a while, with a repository to work on and a script."""
    if "program" not in how:
        how["program"] = (*SCRIPTED, str(folder / "script.json"))
    editor = await started(folder, **how)
    editor.sit_down(folder, *script)
    try:
        yield editor
    finally:
        await editor.leave()


def environment(folder: Path) -> dict[str, str]:
    """Keep everything of the agent below a folder."""
    names = {"XDG_STATE_HOME": "state", "XDG_CONFIG_HOME": "config", "XDG_CACHE_HOME": "cache"}
    places = {name: str(folder / place) for name, place in names.items()}
    return {**os.environ, **places, "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "1"}


def view(path: str) -> dict[str, Any]:
    """Reply with a look at a file."""
    return {"calls": [["str_replace_editor", {"command": "view", "path": path}]]}


def repair(back: bool = False) -> dict[str, Any]:
    """Reply with the edit that mends the sum, or with its opposite."""
    old, new = ("price + tax", "price - tax") if back else ("price - tax", "price + tax")
    arguments = {"path": "shop/cart.py", "old_str": old, "new_str": new}
    return {"calls": [["str_replace_editor", {"command": "str_replace", **arguments}]]}


def command(text: str) -> dict[str, Any]:
    """Reply with a command."""
    return {"calls": [["bash", {"command": text}]]}
