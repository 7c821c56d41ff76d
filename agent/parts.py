"""What a turn works with, and the small objects that join in before and after a call.

Nothing is done here. Who writes a new concern (a check after edits, a gate of `finish`, a hook)
writes a file of their own and hands its object in.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from agent.approval import Denied
from agent.in_hand import InHand
from agent.settings import Config
from inference.chat import ChatModel
from inference.messages import ReplyOptions, ToolCall, ToolSpec
from sandbox.base import Cancel
from tools.base import ToolResult
from tools.registry import Registry


class BeforeCall(Protocol):
    """May keep a call from running."""

    def __call__(self, call: ToolCall, cancel: Cancel) -> str | None:
        """Return why it is not run, in words for the model, or None."""
        ...


class AfterCall(Protocol):
    """May add to what a call gave, or put something else in its place."""

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Return the result to go on with, which may be the one given."""
        ...


def allow(call: ToolCall) -> ToolCall:
    """Approve of every call."""
    return call


def nothing() -> str:
    """Be the opening or the open items where there are none."""
    return ""


def nobody() -> None:
    """Be the person of a run that nobody watches."""
    return


@dataclass(frozen=True)
class Parts:
    """What a turn works with."""

    chat: ChatModel
    tools: Registry
    options: ReplyOptions
    config: Config
    checkpoint: Callable[[str], str]
    """Names the files as they are, recording them if they are no longer as the given name says:
    the same name for the same files."""
    deadline_s: float = float("inf")
    """The `time.monotonic()` at which the budget of seconds is spent."""
    approve: Callable[[ToolCall], ToolCall | Denied] = allow
    """Returns the call to run, which a person may have changed, or why not."""
    before_call: tuple[BeforeCall, ...] = ()
    """Asked in order before a call runs; the first reason keeps it from running."""
    after_call: tuple[AfterCall, ...] = ()
    """Given the result of a call that ran, one after the other."""
    on_compacted: tuple[Callable[[], None], ...] = ()
    """Told when older results are no longer before the model."""
    steering: Callable[[], str | None] = nobody
    """Takes what the person has typed since it was asked last."""
    in_hand: InHand = field(default_factory=InHand)
    """Holds the call that runs, for a person who wants that alone to stop."""
    opening: Callable[[], str] = nothing
    """Material that goes with the first prompt of a conversation."""
    open_items: Callable[[], str] = nothing
    """The items still to do, a line each; they outlive a compaction."""
    talks: bool = False
    """Whether somebody is talked with. Then a reply without a call ends the turn, one that was cut
    short is kept as far as they have read it, and each turn has a budget of its own."""

    @property
    def specs(self) -> tuple[ToolSpec, ...]:
        """The tools in the words of the model's own room."""
        return tuple(
            ToolSpec(spec.name, spec.description, spec.parameters) for spec in self.tools.specs()
        )
