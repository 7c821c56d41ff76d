"""Keeps the whole of an output that was cut, in a file that the model's commands can read.

The folder belongs to the session and is shown to commands read-only, so nothing that runs can put
a link where the next file is written.
"""

from dataclasses import replace
from pathlib import Path

from inference.messages import ToolCall
from sandbox.base import Cancel
from tools.base import ToolResult

OUTPUTS = "outputs"
"""Its name in the folder of the session."""


class KeptOutputs:
    """Writes one file for each output that was cut; an `AfterCall`."""

    def __init__(self, folder: Path) -> None:
        """Keep them in `folder`, which is made if it is missing."""
        folder.mkdir(mode=0o700, exist_ok=True)
        self.folder = folder

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Name the file in the result."""
        if not result.full:
            return result
        number = 1 + sum(1 for _ in self.folder.iterdir())
        path = self.folder / f"{number:03}-{call.name}.txt"
        path.write_bytes(result.full.encode("utf-8", "replace"))
        words = f"[All of it is in {path}; read parts with bash: sed -n '1,200p' or grep -n.]"
        return replace(result, text=f"{result.text}\n{words}")
