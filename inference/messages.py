"""The words of the room's door: messages in, pieces of a reply out. No token, no tensor."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

Role = Literal["system", "user", "assistant", "tool"]

ThinkingHistory = Literal["preserve", "strip"]
"""What becomes of the thinking of earlier replies: all of it stays, so that a conversation only
ever grows; or it is dropped when the next user message comes, as Qwen3.5's template does."""


@dataclass(frozen=True)
class ToolSpec:
    """A tool as the model is told of it; `parameters` is a JSON schema of type object."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class ToolCall:
    """A call the model made; strings verbatim, other values as their JSON parsed."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class BadToolCall:
    """A call that could not be read: its raw text, and one line telling the model why."""

    raw: str
    reason: str
    cut_at: int = 0
    """The tokens at which its reply reached its limit in the middle of it; 0 if that is not why."""


@dataclass(frozen=True)
class Picture:
    """A picture in a file that stays as it is; the digest says which one it was."""

    path: str
    """Absolute."""
    digest: str
    """SHA-256 of the file, in hex."""
    width: int
    height: int
    """In pixels, as it is in the file."""
    name: str = "a picture"
    """What the person called it; the model that sees it is not told."""


@dataclass(frozen=True)
class Message:
    """One message of a conversation.

    `token_ids` are the ids of an assistant message after its `assistant` line: the opener that the
    prompt gave it (an open `<think>`, say, so that nobody need guess it) and what the model
    generated, end-of-turn included if it was sampled. They are what the transcript appends: a
    reply is never tokenized again.

    `sections` are more text of a system message, after its `content`. Each is encoded on its own,
    so that a change in one leaves the tokens of those before it as they were.

    `pictures` are what a user message shows, before its `content`.

    `failed` says of a result, for people, that its call went wrong, was refused or was stopped. The
    model reads of that in the content alone.
    """

    role: Role
    content: str
    thinking: str = ""
    tool_calls: tuple[ToolCall | BadToolCall, ...] = ()
    token_ids: tuple[int, ...] = ()
    sections: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    failed: bool = False

    def __post_init__(self) -> None:
        assert self.role == "system" or not self.sections, "only a system message has sections"
        assert self.role == "user" or not self.pictures, "only a user message shows pictures"

    @property
    def is_empty(self) -> bool:
        """Whether it says nothing and asks for nothing: a thought at most."""
        return not self.content.strip() and not self.tool_calls


@dataclass(frozen=True)
class Usage:
    """What one reply cost; num_prompt == num_reused + num_prefilled."""

    num_prompt: int
    num_reused: int
    num_prefilled: int
    num_generated: int
    prefill_s: float
    decode_s: float
    num_repeated: int = 0
    """Of `num_prefilled`, those at the front that had been read before, but where no snapshot was
    near enough: what reuse missed. The rest is new."""
    num_thinking: int = 0
    """Of `num_generated`, those that the reply thought, its tags not counted."""
    num_drafted: int = 0
    """Tokens that were guessed and read together with one that was drawn."""
    num_accepted: int = 0
    """Of `num_drafted`, those that came true."""

    def __post_init__(self) -> None:
        assert self.num_prompt == self.num_reused + self.num_prefilled
        assert 0 <= self.num_accepted <= min(self.num_drafted, self.num_generated)
        assert 0 <= self.num_repeated <= self.num_prefilled
        assert 0 <= self.num_thinking <= self.num_generated


@dataclass(frozen=True)
class Memory:
    """Where the memory of an engine is, for all who share it; nothing is counted twice."""

    weights_bytes: int
    kv_bytes: int
    """Keys and values of the lines that go on."""
    snapshot_bytes: int
    """What letting all snapshots go would free."""


@dataclass(frozen=True)
class Prefill:
    """Progress: `num_done` of `num_total` new prompt tokens are in the state."""

    num_done: int
    num_total: int
    elapsed_s: float


@dataclass(frozen=True)
class Text:
    """More of the answer."""

    text: str


@dataclass(frozen=True)
class Thinking:
    """More of the thinking."""

    text: str


@dataclass(frozen=True)
class WritingCall:
    """A call is being written; it follows as a `ToolCall` or a `BadToolCall` when it is whole."""

    name: str
    """Of its tool."""
    num_bytes: int
    """So much of it is there."""


StopReason = Literal["end_turn", "max_tokens", "cancelled"]


@dataclass(frozen=True)
class ReplyEnd:
    """The last piece: the whole message, why it stopped and what it cost."""

    message: Message
    stop_reason: StopReason
    usage: Usage
    notices: tuple[str, ...] = ()
    """What a person should know of the engine since the last reply; a sentence each."""
    memory: Memory | None = None
    """Of the engine; None of one that does not say."""
    is_thought_open: bool = False
    """Whether it ended inside its thinking, which then was cut short."""


@dataclass(frozen=True)
class Restarting:
    """The engine's process had ended; the reply waits for another, which loads the model anew."""


Piece = Prefill | Text | Thinking | WritingCall | ToolCall | BadToolCall | ReplyEnd | Restarting


@dataclass(frozen=True)
class SamplingOptions:
    """How the next token is drawn; temperature 0 is greedy."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class ReplyOptions:
    """What a caller may choose for one reply.

    How much a model thinks in one step is said by `thinking` and `thinking_budget` alone. Qwen3.8
    also knows a sentence about effort, but at the very front of its prompt: it would have to be
    the same in all steps, since another one there means reading the conversation again.
    """

    sampling: SamplingOptions | None = None
    """None leaves the model's own preset, drawn with `seed`."""
    max_new_tokens: int = 4096
    thinking: bool = True
    seed: int = 0
    thinking_budget: int | None = None
    """Tokens of thinking after which the model is made to answer, at the first good moment and
    not much later; None leaves it to the model. Without effect on a model that cannot think."""

    def __post_init__(self) -> None:
        assert self.thinking_budget is None or self.thinking_budget >= 0, "a budget of tokens"
