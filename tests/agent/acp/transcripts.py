"""Whole conversations between an editor and the agent, line by line, as they were found good.

`python -m tests.agent.acp.transcripts` writes them anew; what differs from run to run is taken out.
"""

import json
import re
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.agent.acp.editor import ROOT, command, repair, view
from tests.agent.acp.raw import Raw

GOLDEN = ROOT / "tests" / "golden" / "acp"
Frame = dict[str, Any]
FIGURES = r'"(used|numPrompt|numPrefilled|totalTokens|inputTokens|done|total)":\d+'
TIMES = r'"(prefillS|decodeS|elapsedS|durationS)":[\d.e-]+'


class Recorder:
    """An editor that writes down what is said."""

    def __init__(self, folder: Path, *script: Frame) -> None:
        self.raw = Raw(folder, *script, initializes=False, words=("--sandbox", "direct"))
        self.folder = folder
        self.lines: list[str] = []
        self.name = ""
        self._num_asked = 0

    def ask(self, method: str, then: str = "", **params: Any) -> Frame:
        """Send a request; write down all up to its answer, or up to an update that comes later."""
        self._num_asked += 1
        self._say({"id": self._num_asked, "method": method, "params": params})
        answer = self._hear(lambda message: message.get("id") == self._num_asked)
        if then:
            self._hear(lambda message: then in json.dumps(message))
        return answer

    def prompt(self, text: str) -> None:
        """Send a prompt; every question of the agent is answered, as `answered` says."""
        self.ask("session/prompt", **self.raw.prompt(self.name, text))

    def text(self) -> str:
        """Leave; return what was said, with nothing in it that is of this run alone."""
        assert self.raw.end() == 0
        said = "\n".join(self.lines).replace(self.name, "SESSION")
        said = said.replace(str(self.folder), "/home/person")
        said = re.sub(r'"updatedAt":"[^"]*"', '"updatedAt":"TIME"', said)
        said = re.sub(r'"version":"[^"]*"', '"version":"VERSION"', said)
        said = re.sub(r'"env":\[[^]]*\]', '"env":[]', said)
        return re.sub(FIGURES, r'"\1":0', re.sub(TIMES, r'"\1":0', said)) + "\n"

    def _say(self, message: Frame) -> None:
        self.lines.append(f"> {json.dumps(message, separators=(',', ':'))}")
        self.raw.send(**message)

    def _hear(self, is_last: Callable[[Frame], bool]) -> Frame:
        while True:
            message = self.raw.read()
            if is_glimpse(message):
                continue  # as many as there was time for
            del message["jsonrpc"]
            self.lines.append(f"< {json.dumps(message, separators=(',', ':'))}")
            if "method" in message and "id" in message:
                self._say({"id": message["id"], "result": answered(message)})
            elif is_last(message):
                return message


def answered(question: Frame) -> Frame:
    """Be an editor that says yes, has every file as it is on disk, and runs no command."""
    params = question["params"]
    match question["method"]:
        case "session/request_permission":
            return {"outcome": {"outcome": "selected", "optionId": "allow_once"}}
        case "fs/read_text_file":
            return {"content": Path(params["path"]).read_text()}
        case "fs/write_text_file":
            Path(params["path"]).write_text(params["content"])
            return {}
        case "terminal/create":
            return {"terminalId": "terminal-1"}
        case "terminal/wait_for_exit":
            return {"exitCode": 0}
        case "terminal/output":
            return {"output": "as it is said to be\n", "truncated": False}
        case "terminal/release":
            return {}
    raise AssertionError(question)


def is_glimpse(message: Frame) -> bool:
    """Say whether it shows what a command has printed until now."""
    update = message.get("params", {}).get("update", {})
    contents = update.get("content", []) if update.get("status") == "in_progress" else []
    return any(content.get("type") == "content" for content in contents)


def begun(folder: Path, *script: Frame, **able: Any) -> Recorder:
    """Say hello, and begin a session."""
    recorder = Recorder(folder, *script)
    recorder.ask("initialize", protocolVersion=1, clientCapabilities=able)
    where = {"cwd": str(folder / "work"), "mcpServers": []}
    answer = recorder.ask("session/new", "available_commands_update", **where)
    recorder.name = answer["result"]["sessionId"]
    return recorder


def a_repair(folder: Path) -> str:
    """A file is looked at, mended and tried; then all of it is loaded again."""
    look = {"thinking": "Where is it?", "text": "I look.", **view("shop/cart.py")}
    plan = {"calls": [["todo", {"items": ["[x] look", "[ ] mend"]}]]}
    script = (look, plan, repair(), command("cat shop/cart.py"), {"text": "Mended."})
    files = {"readTextFile": True, "writeTextFile": True}
    recorder = begun(folder, *script, fs=files, terminal=True)
    recorder.prompt("Mend it.")
    recorder.ask("session/close", sessionId=recorder.name)
    where = {"cwd": str(folder / "work"), "mcpServers": []}
    recorder.ask("session/load", "available_commands_update", sessionId=recorder.name, **where)
    return recorder.text()


def settings(folder: Path) -> str:
    """What can be set is set, and what cannot be is refused."""
    recorder = begun(folder, {"text": "Hello."})
    name = recorder.name
    recorder.ask("session/set_mode", "config_option_update", sessionId=name, modeId="auto")
    recorder.ask("session/set_mode", sessionId=name, modeId="never")
    recorder.ask("session/set_config_option", sessionId=name, configId="mode", value="plan")
    recorder.ask("session/set_config_option", sessionId=name, configId="none", value="x")
    recorder.ask("authenticate", methodId="key")
    recorder.ask("logout")
    recorder.ask("session/none")
    recorder.prompt("/diff")
    recorder.ask("session/delete", sessionId=name)
    recorder.ask("session/prompt", **recorder.raw.prompt(name, "Are you there?"))
    return recorder.text()


TRANSCRIPTS: dict[str, Callable[[Path], str]] = {"repair": a_repair, "settings": settings}


def main() -> int:
    """Write the golden files."""
    for name, play in TRANSCRIPTS.items():
        with tempfile.TemporaryDirectory() as folder:
            (GOLDEN / f"{name}.txt").write_text(play(Path(folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
