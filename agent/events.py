"""All that a front end can see, each a frozen dataclass; no text is made up here."""

from dataclasses import dataclass
from enum import StrEnum

from inference.door import LoadStage
from inference.messages import BadToolCall, Memory, ToolCall, Usage


class StopReason(StrEnum):
    """Why a turn ended, in the words of the Agent Client Protocol."""

    END_TURN = "end_turn"
    MAX_TOKENS = "max_tokens"
    MAX_TURN_REQUESTS = "max_turn_requests"
    REFUSAL = "refusal"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class RunStarted:
    """A run has a session and a test command."""

    session_id: str
    repository: str
    test_command: str
    sandbox: str


@dataclass(frozen=True)
class ModelLoading:
    """The weights are about to be read, which may take a while."""

    model: str


@dataclass(frozen=True)
class ModelProgress:
    """The model that loads is so far; both counts may grow."""

    stage: LoadStage
    num_bytes: int
    num_total_bytes: int
    bytes_per_s: float
    """Lately; 0 is not known yet."""


@dataclass(frozen=True)
class TestsStarted:
    """In a talk, the test suite begins to run outside the model's turn."""

    __test__ = False  # pytest collects classes that begin with Test

    when: str
    """As in `TestsRan`."""


@dataclass(frozen=True)
class TestsRan:
    """The test suite was run outside the model's turn."""

    __test__ = False  # pytest collects classes that begin with Test

    when: str
    """`before` or `after` the repair, or another word for when: `now`, `with the new test`."""
    summary: str
    """One line: `1 failed, 4 passed`."""
    failed: tuple[str, ...]
    duration_s: float
    ok: bool
    """Whether it came to its end, with at least one test green and none red."""


@dataclass(frozen=True)
class AttemptStarted:
    """The model begins on a clean copy."""

    number: int
    num_attempts: int
    sampled: bool


@dataclass(frozen=True)
class StepStarted:
    """The model is asked for a reply."""

    number: int


@dataclass(frozen=True)
class PrefillProgress:
    """So much of the new prompt is in the state."""

    num_done: int
    num_total: int
    elapsed_s: float


@dataclass(frozen=True)
class TextDelta:
    """More of the model's answer."""

    text: str


@dataclass(frozen=True)
class ThinkingDelta:
    """More of the model's thinking."""

    text: str


@dataclass(frozen=True)
class CallWriting:
    """The model is writing a call, so much of it until now."""

    name: str
    num_bytes: int


@dataclass(frozen=True)
class ReplyEnded:
    """One reply is whole."""

    usage: Usage
    text: str
    """All that the model said in it, besides thinking and calls."""
    memory: Memory | None = None
    """Of the engine after it; None of one that does not say."""


@dataclass(frozen=True)
class CallStarted:
    """A call is about to run."""

    call: ToolCall | BadToolCall


@dataclass(frozen=True)
class CallEnded:
    """What came of a call."""

    name: str
    summary: str
    text: str
    """What the model is told."""
    ok: bool
    diff: str | None
    duration_s: float


@dataclass(frozen=True)
class Steered:
    """What the person typed during the turn has reached the model."""

    text: str


@dataclass(frozen=True)
class PictureShown:
    """The prompt shows the model a picture."""

    name: str
    width: int
    height: int
    """In pixels, as it is in the file."""
    num_tokens: int
    """Of it in the prompt, about."""


@dataclass(frozen=True)
class Compacted:
    """The conversation was put in short form."""

    num_before: int
    """Tokens of it, about."""
    num_after: int
    how: str
    """`dropped` old output, or `summarised` by the model, or `listed` where it could not."""


@dataclass(frozen=True)
class Notice:
    """Something a person should know; one sentence."""

    text: str


@dataclass(frozen=True)
class TurnEnded:
    """The model's turn is over."""

    reason: StopReason
    sentence: str
    """Why, for a person; empty after an accepted `finish`."""


@dataclass(frozen=True)
class Judged:
    """The verdict on one attempt, from a clean copy."""

    number: int
    fixed: bool
    sentence: str


@dataclass(frozen=True)
class OfAttempt:
    """One of the attempts that are made at once tells something."""

    number: int
    event: "Event"


Event = (
    RunStarted
    | ModelLoading
    | ModelProgress
    | TestsStarted
    | TestsRan
    | AttemptStarted
    | StepStarted
    | PrefillProgress
    | TextDelta
    | ThinkingDelta
    | CallWriting
    | ReplyEnded
    | CallStarted
    | CallEnded
    | Steered
    | PictureShown
    | Compacted
    | Notice
    | TurnEnded
    | Judged
    | OfAttempt
)
