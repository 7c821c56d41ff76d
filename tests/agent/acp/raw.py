"""The process without an SDK between: lines in, lines out, and how it ends."""

import json
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from tests.agent.acp.editor import AUTO, ROOT, SCRIPTED, environment
from tests.agent.fakes import make_repository

TIMEOUT_S = 60.0


class Raw:
    """One process; leave it by `end`."""

    def __init__(
        self,
        folder: Path,
        *script: dict[str, Any],
        initializes: bool = True,
        words: Sequence[str] = AUTO,
    ) -> None:
        self.folder = folder
        if not (folder / "work").exists():
            make_repository(folder / "work")
        self.script(*(script or [{"text": "Done."}]))
        self._errors = (folder / "stderr").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, *SCRIPTED, str(folder / "script.json"), *words],
            cwd=ROOT,
            env=environment(folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
        )
        self._lines: queue.Queue[bytes] = queue.Queue()
        self._is_deaf = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if initializes:
            self.ask(0, "initialize", protocolVersion=1)

    def script(self, *replies: dict[str, Any]) -> None:
        """Change what the model says."""
        (self.folder / "script.json").write_text(json.dumps(replies))

    def write(self, data: bytes) -> None:
        """Send bytes as they are."""
        assert self.process.stdin is not None
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def send(self, **message: Any) -> None:
        """Send a message."""
        self.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")

    def read(self) -> dict[str, Any]:
        """Return the next message; every line is one."""
        line = self._lines.get(timeout=TIMEOUT_S)
        message = json.loads(line)
        assert message["jsonrpc"] == "2.0"
        assert line.count(b"\n") == 1
        found: dict[str, Any] = message
        return found

    def answer(self, number: object) -> dict[str, Any]:
        """Return the answer to a request, passing over what else comes."""
        while True:
            message = self.read()
            if "method" not in message and message["id"] == number:
                return message

    def ask(self, number: object, method: str, **params: Any) -> dict[str, Any]:
        """Send a request; return its answer."""
        self.send(id=number, method=method, params=params)
        return self.answer(number)

    def open(self, number: object = "open") -> str:
        """Begin a session."""
        answer = self.ask(number, "session/new", cwd=str(self.folder / "work"), mcpServers=[])
        name: str = answer["result"]["sessionId"]
        return name

    def prompt(self, name: str, text: str) -> dict[str, Any]:
        """Return the params of a prompt."""
        return {"sessionId": name, "prompt": [{"type": "text", "text": text}]}

    def end(self) -> int:
        """Leave; return the exit code."""
        self.hang_up()
        try:
            return self.process.wait(TIMEOUT_S)
        finally:
            self.process.kill()
            self._reader.join(TIMEOUT_S)
            self._errors.close()

    def stop_reading(self) -> None:
        """Close what the process writes to, with its next line."""
        self._is_deaf = True

    def hang_up(self) -> None:
        """Close what the process reads, as an editor does that goes away."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout:
            for line in self.process.stdout:
                self._lines.put(line)
                if self._is_deaf:
                    break
