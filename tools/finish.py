"""`finish`: the model says that it is done. Whether the work is good is judged elsewhere."""

from collections.abc import Mapping
from typing import Any, ClassVar

from sandbox.base import Cancel, never
from tools.base import Arguments, ToolResult


class Finish:
    """Ends the turn."""

    name = "finish"
    description = "End the task once the work is done and the tests pass."
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "summary": {"type": "string", "description": "What was wrong and what you changed."}
        },
        "required": ["summary"],
    }

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Accept the summary."""
        first_line = next(iter(arguments["summary"].strip().split("\n")), "")
        return ToolResult("Finished.", first_line or "finished", done=True)
