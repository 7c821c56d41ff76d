"""Mutated frames: whatever comes, the process goes on, and all that it writes is JSON-RPC."""

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.agent.acp.raw import Raw

METHODS = (
    *("initialize", "authenticate", "logout", "session/new", "session/load", "session/resume"),
    *("session/list", "session/close", "session/delete", "session/fork", "session/set_mode"),
    *("session/set_config_option", "session/prompt", "session/cancel", "$/cancel_request"),
    *("_qwen-agent/steer", "_other/thing", "session/update", ""),
)
VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 1.5, 2**70, "", "x" * 3_000, "\0", "\ud800", "../..", "/", "/tmp", [], {}),
    *([[]], {"a": {"b": [1]}}, "ask", "mode", "text", "none"),
    *("thinking", "high", "attempts", "2", ["/tmp"], {"elicitation": {"form": {}}}),
)
MEMORY_MIB = 48
"""By which the process may grow over all of it."""


def frames(chance: random.Random, name: str, folder: str) -> Iterator[bytes]:
    """Yield frames without end: good ones with something in them changed, cut or repeated."""
    good: dict[str, Any] = {
        **{"sessionId": name, "cwd": folder, "mcpServers": [], "modeId": "ask", "methodId": "m"},
        **{"configId": "mode", "value": "ask", "requestId": 3, "text": "Hi.", "cursor": None},
        **{"additionalDirectories": [], "clientCapabilities": {}},
    }
    good["prompt"] = [{"type": "text", "text": "/diff"}]
    number = 0
    while True:
        number += 1
        params = {key: good[key] for key in good if chance.random() < 0.8}
        for key in chance.sample(sorted(good), chance.randrange(3)):
            params[key] = chance.choice(VALUES)
        message: dict[str, Any] = {
            "jsonrpc": "2.0",
            "id": number,
            "method": chance.choice(METHODS),
            "params": params,
        }
        if chance.random() < 0.3:
            message[chance.choice(sorted(message))] = chance.choice(VALUES)
        if chance.random() < 0.2:
            del message[chance.choice(sorted(message))]
        if chance.random() < 0.1:
            message["result"] = chance.choice(VALUES)
        yield from damaged(chance, json.dumps(message).encode())


def damaged(chance: random.Random, line: bytes) -> Iterator[bytes]:
    """Yield a frame, as it is or with bytes of it changed, once or twice."""
    kind = chance.randrange(8)
    at = chance.randrange(len(line))
    if kind == 0:
        line = line[:at]
    elif kind == 1:
        line = line[:at] + bytes([chance.randrange(256)]) + line[at + 1 :]
    elif kind == 2:
        line = line[:at] + line[at:] * 2
    yield line.replace(b"\n", b" ")
    if kind == 3:
        yield line


def fuzz(folder: Path, num_frames: int, seed: int) -> None:
    """Send frames, and see that the process is whole after every hundred and at the end."""
    raw = Raw(folder)
    name = raw.open()
    lines = frames(random.Random(seed), name, str(folder / "work"))
    before_mib = 0
    for number in range(num_frames):
        raw.write(next(lines) + b"\n")
        if number % 100 == 99:
            assert raw.ask(f"whole {number}", "logout")["result"] == {}
            before_mib = before_mib or memory_mib(raw)
    last = raw.open("last")
    assert raw.ask("says", "session/prompt", **raw.prompt(last, "Hi."))["result"]
    assert memory_mib(raw) - before_mib < MEMORY_MIB
    assert raw.end() == 0
    log = (folder / "state" / "qwen-agent" / "acp.log").read_text(errors="replace")
    assert "Traceback" not in log, log


def memory_mib(raw: Raw) -> int:
    """Return how much memory the process has."""
    status = Path(f"/proc/{raw.process.pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) // 1024


def test_mutated_frames_harm_nothing(tmp_path: Path) -> None:
    fuzz(tmp_path, 300, seed=1)


@pytest.mark.slow
def test_ten_thousand_mutated_frames_harm_nothing(tmp_path: Path) -> None:
    fuzz(tmp_path, 10_000, seed=2)
