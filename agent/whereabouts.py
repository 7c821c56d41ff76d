"""Tells the model when the folder that its commands start in has gone, and when it is back.

Where they start then is decided by the view of the sandbox; without a word the model would go on
with paths that mean something else.
"""

from dataclasses import replace

from inference.messages import ToolCall
from sandbox.base import Cancel, View
from tools.base import ToolResult


class Whereabouts:
    """Looks after every call of one attempt."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._start = view.start()

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Add a line to the result of the call after which commands start elsewhere."""
        start = self._view.start()
        if start == self._start:
            return result
        self._start = start
        place = str(start) if start.parts else "the root of the repository"
        gone = "" if start == self._view.folder else f"{self._view.folder} is gone; "
        return replace(result, text=f"{result.text}\n\n[{gone}commands start in {place} now.]")
