"""Every default, one frozen dataclass per concern; where the values come from is `config.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from inference.messages import ThinkingHistory

ContextKind = Literal["none", "repo"]
TOOL_NAMES = ("bash", "str_replace_editor", "search", "run_tests", "finish", "explore")
MAX_DISK_GIB = 1_000_000
"""A pebibyte; more is not meant."""


@dataclass(frozen=True)
class Budget:
    """How much one run may use; what is spent is judged by the tests all the same."""

    max_steps: int = 60
    """Replies of the model in one attempt."""
    max_time_s: float = 3600.0
    """Seconds for all attempts together, the model's and the tests' included."""
    max_tokens: int = 1_000_000
    """Tokens prefilled and generated in all attempts together."""
    max_calls: int = 200
    """Tool calls in one attempt."""

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True)
class GuardConfig:
    """When a turn that goes in circles is told so, refused and stopped."""

    note_at: int = 3
    """The same call on the same files with the same result, this many times: a note is added."""
    refuse_at: int = 4
    """From this time on the call is not run."""
    stop_at: int = 5
    """This time the turn ends."""
    max_bad_calls: int = 3
    """So many unreadable calls in a row end the turn."""
    max_nudges: int = 2
    """So often a reply without a call is answered by asking for one."""

    def __post_init__(self) -> None:
        _positive(self)
        if not self.note_at <= self.refuse_at <= self.stop_at:
            raise ValueError("note_at, refuse_at and stop_at must not decrease")


@dataclass(frozen=True)
class ModelConfig:
    """Which model answers, and how long it may talk."""

    name: str = "auto"
    """`auto`, a folder or a hub id."""
    max_new_tokens: int = 4096
    """Tokens of one reply."""
    thinking_history: ThinkingHistory = "preserve"
    """`strip` drops the thinking of earlier turns, as Qwen3.5's template does; all of their replies
    are then read again, without it. `preserve` keeps it, and a conversation only ever grows."""

    def __post_init__(self) -> None:
        _positive(self)
        if self.thinking_history not in get_args(ThinkingHistory):
            raise ValueError(
                f"thinking_history is preserve or strip, not {self.thinking_history!r}"
            )


@dataclass(frozen=True)
class SandboxConfig:
    """How long a command may run."""

    command_s: float = 120.0
    """Seconds of one command of the model."""
    tests_s: float = 600.0
    """Seconds of one run of the test suite; more is a hang."""

    def __post_init__(self) -> None:
        _positive(self)


@dataclass(frozen=True)
class ApprovalConfig:
    """What is refused however it is asked for."""

    denied_tools: tuple[str, ...] = ()
    """Names of tools that the model may not call."""

    def __post_init__(self) -> None:
        for name in self.denied_tools:
            if name not in TOOL_NAMES:
                raise ValueError(f"denied_tools names {name!r}; tools are {', '.join(TOOL_NAMES)}")


@dataclass(frozen=True)
class CacheConfig:
    """What is kept of earlier conversations, so that a restart reads no token again."""

    disk_gib: float = 20.0
    """GiB of states on disk, all models together; 0 keeps nothing there."""

    def __post_init__(self) -> None:
        if not 0 <= self.disk_gib <= MAX_DISK_GIB:
            raise ValueError(f"disk_gib must be 0 to {MAX_DISK_GIB}, not {self.disk_gib}")

    @property
    def disk_bytes(self) -> int:
        """The same in bytes."""
        return int(self.disk_gib * 1024**3)


@dataclass(frozen=True)
class ContextConfig:
    """What the model is told of the repository before it is asked anything."""

    kind: ContextKind = "none"
    """`repo` packs the files of the repository into the prompt."""
    max_tokens: int = 262_144
    """Tokens of it, at most."""
    window_share: float = 0.5
    """Of the model's window, at most; the rest is for the conversation."""

    def __post_init__(self) -> None:
        _positive(self)
        if self.kind not in get_args(ContextKind):
            raise ValueError(f"kind is none or repo, not {self.kind!r}")
        if self.window_share >= 1:
            raise ValueError(f"window_share must be less than 1, not {self.window_share}")


@dataclass(frozen=True)
class Config:
    """All settings of the agent."""

    model: ModelConfig = field(default_factory=ModelConfig)
    budget: Budget = field(default_factory=Budget)
    guard: GuardConfig = field(default_factory=GuardConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    approval: ApprovalConfig = field(default_factory=ApprovalConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)

    @classmethod
    def from_record(cls, record: Mapping[str, Mapping[str, Any]]) -> "Config":
        """Undo `asdict`, after a time in JSON; what an earlier version did not know is default."""
        sections: dict[str, Any] = {}
        for entry in fields(cls):
            values = record.get(entry.name, {})
            lists = {key: tuple(v) for key, v in values.items() if isinstance(v, list)}
            sections[entry.name] = type(getattr(cls(), entry.name))(**{**values, **lists})
        return cls(**sections)


def _positive(section: Any) -> None:
    for entry in fields(section):
        value = getattr(section, entry.name)
        # `not >` and not `<=`: a TOML file can say nan.
        if isinstance(value, int | float) and not value > 0:
            raise ValueError(f"{entry.name} must be more than 0, not {value}")
