"""Another client, in another language: the TypeScript SDK has a session, and its schema is kept."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tests.agent.acp.editor import DIRECT, ROOT, SCRIPTED, environment, repair
from tests.agent.acp.transcripts import GOLDEN
from tests.agent.fakes import CART, make_repository

PACKAGE = "@agentclientprotocol/sdk@2.4.0"
KINDS = {
    "session/update": "SessionNotification",
    "session/request_permission": "RequestPermissionRequest",
    "fs/read_text_file": "ReadTextFileRequest",
    "fs/write_text_file": "WriteTextFileRequest",
    "terminal/create": "CreateTerminalRequest",
    "terminal/output": "TerminalOutputRequest",
    "terminal/wait_for_exit": "WaitForTerminalExitRequest",
    "terminal/release": "ReleaseTerminalRequest",
}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the SDK in it."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("there is no npm")
    folder = tmp_path_factory.mktemp("node")
    words = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, timeout=120)
    if done.returncode != 0:
        pytest.skip(f"npm cannot install it: {done.stderr.strip()[-200:]}")
    shutil.copy(Path(__file__).with_name("client.mjs"), folder)
    return folder


def test_a_session_with_the_typescript_sdk(node: Path, tmp_path: Path) -> None:
    work = make_repository(tmp_path / "work")
    script = tmp_path / "script.json"
    script.write_text(json.dumps([repair(), {"text": "Mended."}]))
    agent = [sys.executable, *SCRIPTED, str(script), *DIRECT]
    done = subprocess.run(
        ["node", str(node / "client.mjs"), str(work), *agent],
        cwd=ROOT,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["version"], found["stopReason"], found["code"]) == (1, "end_turn", 0)
    assert (found["asked"], found["sessions"]) == (["Edit shop/cart.py"], 1)
    assert {"tool_call", "tool_call_update", "agent_message_chunk"} <= {*found["updates"]}
    assert (work / "shop" / "cart.py").read_text() == CART.replace("price - tax", "price + tax")


def test_all_that_the_agent_says_is_as_the_newest_stable_schema_says(node: Path) -> None:
    file = node / "node_modules" / "@agentclientprotocol" / "sdk" / "schema" / "v1" / "schema.json"
    whole: dict[str, Any] = json.loads(file.read_text())
    num_checked = 0
    for page in GOLDEN.iterdir():
        for line in page.read_text().splitlines():
            message = json.loads(line[2:])
            if line.startswith("< ") and (kind := KINDS.get(message.get("method", ""))):
                schema = {**whole["$defs"][kind], "$defs": whole["$defs"]}
                Draft202012Validator(schema).validate(message["params"])
                num_checked += 1
    assert num_checked > 40
