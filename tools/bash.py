"""`bash`: one command line in the sandbox, from the workspace root; a call leaves no state."""

import dataclasses
import os
import shutil
from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.readable import readable
from tools.truncate import cut_middle

MAX_CHARACTERS = 12_000
MAX_TIMEOUT_S = 600


class Bash:
    """Runs commands for the model."""

    name = "bash"
    description = "Run a shell command in the workspace; no network, nothing to type into."
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout_s": {
                "type": "integer",
                "description": "Seconds; 120 if left out, 600 at most.",
            },
        },
        "required": ["command"],
    }

    def __init__(self, sandbox: Sandbox, view: View, limits: Limits | None = None) -> None:
        self._sandbox = sandbox
        self._view = view
        self._limits = limits or Limits()
        folders = os.pathsep.join(map(str, view.path))
        self._shell = "bash" if shutil.which("bash", path=folders) else "sh"

    def words(self, command: str) -> list[str]:
        """Return what runs a command line.

        Raises:
            ToolFailed: there is none.
        """
        if not command.strip():
            raise ToolFailed("command is empty.")
        return [self._shell, "-c", command]

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Run the command and return what it printed.

        Raises:
            ToolFailed: no command, or a time limit that is none.
            SandboxUnavailable: no isolation can be had; the command did not run.
        """
        command: str = arguments["command"]
        words = self.words(command)
        timeout_s: float = arguments.get("timeout_s", self._limits.wall_s)
        if timeout_s < 1:
            raise ToolFailed("timeout_s must be 1 or more.")
        limits = dataclasses.replace(self._limits, wall_s=min(timeout_s, MAX_TIMEOUT_S))
        result = self._sandbox.run(words, self._view, limits, cancel)
        output = readable(result.output).strip("\n")
        return ToolResult(
            _text(output, result, limits),
            f"ran {first_line(command)} ({_outcome(result)})",
            ok=not result.timed_out and not result.cancelled,
            full=output if len(output) > MAX_CHARACTERS else "",
        )


def _text(output: str, result: CommandResult, limits: Limits) -> str:
    num_total = result.num_output_bytes if result.truncated else None
    rows = [cut_middle(output, MAX_CHARACTERS, num_total)]
    if result.timed_out:
        rows.append(f"[timed out after {limits.wall_s:g} s]")
    elif result.cancelled:
        rows.append("[cancelled]")
    elif result.exit_code != 0:
        rows.append(f"[exit code {result.exit_code}]")
    rows = list(filter(None, rows)) or ["[no output]"]
    return "\n".join([*rows, *(f"[{notice}]" for notice in result.notices)])


def _outcome(result: CommandResult) -> str:
    words = "cancelled" if result.cancelled else f"exit {result.exit_code}"
    words = "timed out" if result.timed_out else words
    return f"{words}; put aside: {len(result.notices)}" if result.notices else words


def first_line(command: str) -> str:
    """Name a command in a line for a person."""
    line = command.strip().split("\n")[0]
    return line if len(line) <= 60 else line[:57] + "..."
