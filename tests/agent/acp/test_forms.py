"""What an MCP server of the editor asks the person for, by way of the editor."""

import io
import json
from pathlib import Path
from typing import Any

from acp import schema

from agent.frontends.acp.handshake import _client
from agent.frontends.acp.permission import AtEditor
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.stdio import Wire
from tests.agent.acp.raw import Raw
from tests.tools.test_mcp import HOSTILE, PYTHON, tool
from tools.mcp_form import Form

FORMS = {"elicitation": {"form": {}}}
ACCEPTED = {"action": "accept", "content": {"colour": "blue", "size": 3}}
WRONG = {"action": "accept", "content": {"colour": "green"}}
DECLINED = {"action": "decline"}


def test_what_a_server_asks_for_is_filled_in_at_the_editor(tmp_path: Path) -> None:
    server, tools = tmp_path / "server.py", tmp_path / "tools.json"
    server.write_text(HOSTILE.read_text())
    tools.write_text(json.dumps([tool("form")]))
    paint = {"calls": [["paint__form", {}]]}
    raw = Raw(tmp_path, paint, paint, paint, {"text": "Done."}, initializes=False)
    raw.ask(0, "initialize", protocolVersion=1, clientCapabilities=FORMS)
    handed = {"name": "paint", "command": PYTHON, "args": [str(server), str(tools)], "env": []}
    opened = raw.ask(1, "session/new", cwd=str(tmp_path / "work"), mcpServers=[handed])
    name = opened["result"]["sessionId"]
    raw.send(id=2, method="session/prompt", params=raw.prompt(name, "Paint."))
    answers = [ACCEPTED, WRONG, {"action": "cancel"}]
    asked: list[schema.CreateFormSessionElicitationRequest] = []
    told: list[Any] = []
    while "result" not in (message := raw.read()) or message.get("id") != 2:
        method, params = message.get("method"), message.get("params", {})
        if method == "session/request_permission":
            outcome = {"outcome": "selected", "optionId": "allow_once"}
            raw.send(id=message["id"], result={"outcome": outcome})
        elif method == "elicitation/create":
            asked.append(schema.CreateFormSessionElicitationRequest.model_validate(params))
            raw.send(id=message["id"], result=answers[len(asked) - 1])
        elif params.get("update", {}).get("rawOutput"):
            told.append(json.loads(params["update"]["rawOutput"]["text"].split("\n")[0]))
    assert raw.end() == 0
    assert told == [ACCEPTED, DECLINED, DECLINED]
    assert [(one.session_id, one.tool_call_id) for one in asked] == [
        (name, f"call-{number}") for number in (1, 2, 3)
    ]
    assert asked[0].message == "The MCP server paint asks: What is it like?"
    assert asked[0].requested_schema.model_dump(exclude_none=True) == {
        "type": "object",
        "properties": {
            "colour": {"type": "string", "title": "The colour", "enum": ["red", "blue"]},
            "size": {"type": "integer", "title": "size"},
        },
        "required": ["colour", "size"],
    }


def test_an_editor_that_claims_no_forms_is_shown_none() -> None:
    for abilities in (None, {}, {"elicitation": {}}, {"elicitation": {"url": {}}}, {"x": 1}, 3):
        client = _client({"protocolVersion": 1, "clientCapabilities": abilities})
        assert not client.has_forms
    assert _client({"protocolVersion": 1, "clientCapabilities": FORMS}).has_forms
    written = io.BytesIO()
    person = AtEditor(Peer(Wire(io.BytesIO(), written)), has_forms=False)
    assert person.fill(Form("paint", "What?", ())) is None
    assert written.getvalue() == b""
