"""The events of a turn as updates of the protocol, in the order in which they come."""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from acp import schema

from agent.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    Compacted,
    Event,
    Judged,
    ModelLoading,
    Notice,
    PrefillProgress,
    ReplyEnded,
    Steered,
    TestsRan,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.frontends.acp.calls import Call, Files, ended, started, stopped
from agent.frontends.acp.rpc import Peer
from agent.frontends.acp.waits import Wait
from agent.frontends.acp.words import as_params
from agent.status import Status
from inference.messages import ToolCall, Usage
from tools.errors import ToolFailed
from tools.todo import read_items

Update = (
    schema.UserMessageChunk
    | schema.AgentMessageChunk
    | schema.AgentThoughtChunk
    | schema.ToolCallStart
    | schema.ToolCallProgress
    | schema.AgentPlanUpdate
    | schema.AvailableCommandsUpdate
    | schema.CurrentModeUpdate
    | schema.ConfigOptionUpdate
    | schema.SessionInfoUpdate
    | schema.UsageUpdate
)
OURS = "qwen-agent/"
"""What the names of our own facts in `_meta` begin with."""


class Story:
    """Tells one talk; remembers the call that runs, which the events do not number."""

    def __init__(self, files: Files, num_calls: int = 0) -> None:
        """Begin; `num_calls` have been told of already, by this process or an earlier one."""
        self.files = files
        self.usages: list[Usage] = []
        """What the replies of the turn have cost."""
        self.is_in_terminal = False
        """Whether the call that runs is shown in a terminal, which stays."""
        self._num_before = num_calls
        self._num_calls = num_calls
        self._call: Call | None = None
        """The one that runs."""
        self._wait = Wait()

    @property
    def call_id(self) -> str:
        """The name of the call that was told of last."""
        return f"call-{self._num_calls}"

    @property
    def running_id(self) -> str:
        """The name of the call that runs; empty between calls."""
        return self.call_id if self._call is not None else ""

    def begin(self) -> None:
        """Count the cost of a new turn."""
        self.usages = []

    def tell_again(self) -> None:
        """Number the calls from the first one on, as an editor that asks for all of them knows."""
        self._num_before = max(self._num_before, self._num_calls)
        self._num_calls = 0

    def was_told(self) -> None:
        """Go on with numbers that no call has had."""
        self._call = None
        self._num_calls = max(self._num_before, self._num_calls)

    def call(self, call: Call) -> schema.ToolCallStart:
        """Tell of a new call."""
        self._num_calls += 1
        self.is_in_terminal = False
        return started(self.call_id, call, self.files)

    def end(self) -> Iterator[Update]:
        """Yield what ends what is still shown as going on, when the turn has ended."""
        yield from self._wait.over()
        if self._call is not None:
            yield stopped(self.call_id)
            self._call = None

    def updates(self, event: Event, status: Callable[[], Status]) -> Iterator[Update]:
        """Yield what an event is told as; `status` says how things are after it."""
        yield from self._wait.updates(event)
        match event:
            case TextDelta():
                yield said(event.text)
            case ThinkingDelta():
                yield thought(event.text)
            case CallStarted():
                self._call = event.call
                yield self.call(event.call)
            case CallEnded():
                yield from self._ended(event)
            case ReplyEnded():
                self.usages.append(event.usage)
                yield used(status(), event.usage)
            case Compacted():
                yield used(status(), None)
                yield doing("compacted", before=event.num_before, after=event.num_after)
            case ModelLoading():
                yield doing("loading", model=event.model)
            case PrefillProgress():
                yield doing(
                    "reading",
                    done=event.num_done,
                    total=event.num_total,
                    elapsedS=round(event.elapsed_s, 3),
                )
            case Steered():
                yield typed(event.text)
            case Notice():
                yield noted(event.text)
            case TestsRan():
                yield noted(f"The tests: {event.summary}")
            case AttemptStarted():
                yield noted(f"Attempt {event.number} of {event.num_attempts}")
            case Judged():
                yield noted(event.sentence)
            case TurnEnded() if event.sentence and event.reason != "cancelled":
                yield noted(event.sentence)

    def _ended(self, event: CallEnded) -> Iterator[Update]:
        call, self._call = self._call, None
        assert call is not None, "a call begins before it ends"
        end = ended(self.call_id, call, event, self.files)
        yield end.model_copy(update={"content": None}) if self.is_in_terminal else end
        if event.ok:
            yield from after(call)


def send(peer: Peer, session_id: str, update: Update) -> None:
    """Tell the client an update of a session."""
    told = schema.SessionNotification(session_id=session_id, update=update)
    peer.notify("session/update", as_params(told))


def after(call: Call) -> Iterator[Update]:
    """Yield what a call that went well changes on the screen, besides its result."""
    if not isinstance(call, ToolCall):
        return
    if call.name == "todo" and (plan := _plan(call)):
        yield plan
    if call.name == "finish" and (summary := str(call.arguments.get("summary", "")).strip()):
        yield said(summary)


def said(text: str) -> schema.AgentMessageChunk:
    """Tell what the model says."""
    return schema.AgentMessageChunk(session_update="agent_message_chunk", content=_text(text))


def thought(text: str) -> schema.AgentThoughtChunk:
    """Tell what it thinks."""
    return schema.AgentThoughtChunk(session_update="agent_thought_chunk", content=_text(text))


def typed(text: str) -> schema.UserMessageChunk:
    """Tell what the person has said."""
    return schema.UserMessageChunk(session_update="user_message_chunk", content=_text(text))


def noted(text: str) -> schema.AgentMessageChunk:
    """Tell a sentence of ours, apart from what the model says."""
    return schema.AgentMessageChunk(
        session_update="agent_message_chunk",
        content=_text(f"\n\n*{text}*\n\n"),
        field_meta={f"{OURS}notice": True},
    )


def doing(phase: str, **figures: Any) -> schema.SessionInfoUpdate:
    """Tell what goes on, to whoever shows it: nothing is added to the conversation."""
    return schema.SessionInfoUpdate(
        session_update="session_info_update",
        field_meta={f"{OURS}status": {"phase": phase, **figures}},
    )


def titled(title: str | None, when: datetime | None = None) -> schema.SessionInfoUpdate:
    """Tell how the session is called, and that something happens in it."""
    return schema.SessionInfoUpdate(
        session_update="session_info_update",
        title=title,
        updated_at=(when or datetime.now(UTC)).isoformat(timespec="seconds"),
        field_meta={f"{OURS}status": {"phase": "begun"}},
    )


def used(status: Status, usage: Usage | None) -> schema.UsageUpdate:
    """Tell how full the window is, and what the last reply has cost."""
    cost = {} if usage is None else {f"{OURS}reply": figures_of(usage)}
    return schema.UsageUpdate(
        session_update="usage_update",
        used=status.num_context,
        size=status.context_tokens,
        field_meta=cost or None,
    )


def figures_of(usage: Usage) -> dict[str, Any]:
    """Write what a reply has cost."""
    return {
        "numPrompt": usage.num_prompt,
        "numReused": usage.num_reused,
        "numPrefilled": usage.num_prefilled,
        "numGenerated": usage.num_generated,
        "prefillS": round(usage.prefill_s, 3),
        "decodeS": round(usage.decode_s, 3),
        "numDrafted": usage.num_drafted,
        "numAccepted": usage.num_accepted,
    }


def sum_of(usages: Sequence[Usage]) -> schema.Usage:
    """Add up what the replies of a turn have cost."""
    read, written = sum(one.num_prompt for one in usages), sum(one.num_generated for one in usages)
    return schema.Usage(
        total_tokens=read + written,
        input_tokens=read,
        output_tokens=written,
        thought_tokens=sum(one.num_thinking for one in usages),
        cached_read_tokens=sum(one.num_reused for one in usages),
    )


def _plan(call: ToolCall) -> schema.AgentPlanUpdate | None:
    """Return the list of what is to be done; the first open step is the one that is worked on."""
    rows = call.arguments.get("items")
    if not isinstance(rows, list) or not all(isinstance(row, str) for row in rows):
        return None
    try:
        items = read_items(rows)
    except ToolFailed:
        return None
    first = next((item for item in items if not item.is_done), None)
    entries = [
        schema.PlanEntry(
            content=item.text,
            priority="medium",
            status="completed" if item.is_done else ("in_progress" if item is first else "pending"),
        )
        for item in items
    ]
    return schema.AgentPlanUpdate(session_update="plan", entries=entries)


def _text(text: str) -> schema.TextContentBlock:
    return schema.TextContentBlock(type="text", text=text)
