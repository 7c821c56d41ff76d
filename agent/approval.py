"""Says yes or no to a call before it runs; the sandbox, not this, is what contains it."""

from dataclasses import dataclass

from agent.settings import ApprovalConfig
from inference.messages import ToolCall


@dataclass(frozen=True)
class Allowed:
    """The call may run."""


@dataclass(frozen=True)
class Denied:
    """The call may not run, and why, in words for the model."""

    reason: str


Decision = Allowed | Denied


def decide(call: ToolCall, config: ApprovalConfig) -> Decision:
    """Decide on a call where nobody is there to be asked.

    Every tool works on a copy and inside the sandbox, so what is left to deny is what the person
    or the repository named.
    """
    if call.name in config.denied_tools:
        return Denied(f"{call.name} is not allowed in this repository; use another tool.")
    return Allowed()
