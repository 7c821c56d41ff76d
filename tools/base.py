"""What a tool is: a name, a schema and words for the model, and one function that runs it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from sandbox.base import Cancel, never
from tools.test_report import TestReport

Arguments = Mapping[str, Any]
"""Values by parameter name: a string, or what the JSON of a non-string parameter holds."""


@dataclass(frozen=True)
class ToolResult:
    """What a call gives back."""

    text: str
    """For the model."""
    summary: str
    """For a person, one line: `edited shop/core.py (+1 -1)`."""
    ok: bool = True
    diff: str | None = None
    """The unified diff of an edit, for front ends to show."""
    done: bool = False
    """True for an accepted `finish`: the turn ends here."""
    report: TestReport | None = None
    """The run of all tests that `text` tells of."""
    full: str = ""
    """All that `text` was cut from; empty if nothing was cut."""


class Tool(Protocol):
    """One thing the model may do."""

    name: str
    description: str

    @property
    def parameters(self) -> Mapping[str, Any]:
        """JSON schema of the arguments: an object with `properties` and `required`."""
        ...

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Do it.

        Raises:
            ToolFailed: with a sentence for the model; nothing was changed.
        """
        ...
