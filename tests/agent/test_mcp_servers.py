"""Two real MCP servers in a scripted talk, both ways each: the SDK's in Python, one from npm."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from agent.open_talk import open_conversation
from agent.settings import ApprovalMode
from agent.talk_request import TalkRequest
from tests.agent.fakes import Say, ScriptedModel, call, make_repository
from tests.agent.talking import QUIET, YES, Listener, Talk
from tools.mcp_server import McpServer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PACKAGE = "@modelcontextprotocol/server-everything"
START_S = 60.0
NEEDS_NPM = pytest.mark.skipif(not shutil.which("npm"), reason="no npm here")
PYTHON_SERVER = """
import os
from typing import Annotated
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.resolve import Elicit, Resolve
from pydantic import BaseModel

app = MCPServer("calc")

@app.tool()
def add(a: int, b: int = 2) -> int:
    "Add two numbers."
    return a + b

class Taste(BaseModel):
    colour: str

def taste() -> Elicit[Taste]:
    return Elicit("Which colour?", Taste)

@app.tool()
def paint(taste: Annotated[Taste, Resolve(taste)]) -> str:
    return f"painted {taste.colour}"

@app.prompt()
def greet(name: str) -> str:
    "Greet somebody."
    return f"Say hello to {name}."

@app.resource("text://motto")
def motto() -> str:
    return "small is good"

if "PORT" not in os.environ:
    app.run("stdio")
app.run(os.environ.get("WAY", "streamable-http"), port=int(os.environ["PORT"]))
"""


@contextmanager
def remote(name: str, command: list[str], is_sse: bool = False) -> Iterator[McpServer]:
    """A server on a port of this machine, for as long as it is needed."""
    port = free_port()
    environment = {"PATH": os.environ["PATH"], "PORT": str(port)}
    environment |= {"WAY": "sse"} if is_sse else {}
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            deadline = time.monotonic() + START_S
            while time.monotonic() < deadline and process.poll() is None:
                try:
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                except OSError:
                    time.sleep(0.1)
            path = "sse" if is_sse else "mcp"
            yield McpServer(name, url=f"http://127.0.0.1:{port}/{path}", is_sse=is_sse)
        finally:
            process.terminate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def talk_with(server: McpServer, folder: Path, *script: Say, mode: ApprovalMode = "ask") -> Talk:
    """Have one turn in which the tools of a server are called."""
    repository = folder / "work"
    make_repository(repository)
    model, person = (
        ScriptedModel([[*script, Say(text="Done.")]]),
        Listener((YES,), values={"colour": "red"}),
    )
    request = TalkRequest(repository, model="scripted", mode=mode, config=QUIET)
    conversation = open_conversation(
        request, person, lambda _request: model, folder / "state", servers=(server,)
    )
    talk = Talk(conversation, model, person, repository)
    talk.say("Use the server.")
    return talk


@pytest.fixture(params=["stdio", "http"])
def way(request: pytest.FixtureRequest) -> str:
    way: str = request.param
    return way


@pytest.mark.parametrize("way", ["stdio", "http", "sse"])
def test_a_server_of_the_sdk_is_used_in_a_talk(tmp_path: Path, way: str) -> None:
    installed = tmp_path / "installed"
    installed.mkdir()
    program = installed / "calc.py"
    program.write_text(PYTHON_SERVER)
    folders = (installed, Path(sys.prefix), Path(sys.base_prefix))
    local = McpServer("calc", (sys.executable, str(program)), folders=folders)
    with (
        remote("calc", [sys.executable, str(program)], way == "sse")
        if way != "stdio"
        else nullcontext(local) as server
    ):
        talk = talk_with(
            server,
            tmp_path,
            Say((call("calc__add", a=40),)),
            Say((call("calc__add", b="x"),)),
            Say((call("calc__paint"),)),
        )
        assert talk.results[0] == "42"
        assert talk.results[1].startswith("b must be an integer")
        assert talk.results[2] == "painted red"
        calls = ["mcp", "calc__add", "calc__paint"]  # what fails in its form is not asked about
        assert [ask.call.name for ask in talk.person.asked] == calls
        conversation = talk.conversation
        [status] = conversation.servers.statuses()
        assert status.prompts == ("greet name: Greet somebody.",)
        assert status.resources == ("text://motto motto",)
        assert conversation.servers.prompt("calc", "greet", {"name": "you"}).endswith(
            "Say hello to you."
        )
        assert conversation.servers.resource("calc", "text://motto").endswith("small is good")
        conversation.close()


@NEEDS_NPM
def test_a_server_from_npm_is_used_in_a_talk(
    tmp_path_factory: pytest.TempPathFactory, tmp_path: Path, way: str
) -> None:
    installed = tmp_path_factory.getbasetemp() / "npm"
    main = installed / "node_modules" / PACKAGE / "dist" / "index.js"
    if not main.exists():
        words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"]
        done = subprocess.run(
            [*words, "--prefix", str(installed), PACKAGE], check=False, capture_output=True
        )
        if done.returncode:
            pytest.skip(f"npm could not install it: {done.stderr.decode()[-200:]}")
    local = McpServer("all", ("node", str(main), "stdio"), folders=(installed,))
    command = ["node", str(main), "streamableHttp"]
    with remote("all", command) if way == "http" else nullcontext(local) as server:
        talk = talk_with(
            server,
            tmp_path,
            Say((call("all__echo", message="hello"),)),
            Say((call("all__get-sum", a=2, b=3),)),
            Say((call("all__get-tiny-image"),)),
            mode="auto",
        )
        assert "hello" in talk.results[0]
        assert "5" in talk.results[1]
        assert "[image/png, about" in talk.results[2]
        [status] = talk.conversation.servers.statuses()
        assert status.fault == ""
        assert status.prompts
        assert status.resources
        json.dumps([spec.parameters for spec in talk.model.specs])  # as the prompt needs them
        talk.conversation.close()
