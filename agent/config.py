"""Every default, one frozen dataclass per concern, and the files that may change them.

Settings are defaults, then the user's `config.toml`, then flags. The repository's own
`.qwen-agent.toml` comes last and may only narrow: it never loosens a limit, never names a command
and never chooses a model. It is not the place for arguments of one run: those are a `FixRequest`.
"""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from agent.errors import ConfigError
from inference.messages import ThinkingHistory

REPOSITORY_FILE = ".qwen-agent.toml"
MAX_FILE_BYTES = 64 * 1024
ContextKind = Literal["none", "repo"]
TOOL_NAMES = ("bash", "str_replace_editor", "search", "run_tests", "finish")


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
        if not 0 <= self.disk_gib < math.inf:
            raise ValueError(f"disk_gib must be 0 or more, not {self.disk_gib}")

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


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where sessions are kept."""
    return _xdg(environment, "XDG_STATE_HOME", ".local/state") / "qwen-agent"


def snapshots_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the states of conversations are kept."""
    return _xdg(environment, "XDG_CACHE_HOME", ".cache") / "qwen-agent" / "snapshots"


def config_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where the user's settings are."""
    return _xdg(environment, "XDG_CONFIG_HOME", ".config") / "qwen-agent" / "config.toml"


def load_config(path: Path) -> Config:
    """Read the user's settings; no file means the defaults.

    Raises:
        ConfigError: a key nobody knows or a value that cannot be meant.
    """
    config = Config()
    for table, values in _read(path).items():
        known = {entry.name for entry in fields(Config)}
        if table not in known or not isinstance(values, dict):
            raise ConfigError(f"{path}: {table} is not a table of settings ({_listed(known)})")
        section = _changed(getattr(config, table), values, f"{path}: {table}")
        config = replace(config, **{table: section})
    return config


def narrow(config: Config, repository: Path) -> tuple[Config, tuple[str, ...]]:
    """Apply the repository's own settings where they narrow; return them with what was ignored.

    Raises:
        ConfigError: the file cannot be read as TOML or holds a value of the wrong kind.
    """
    path = repository / REPOSITORY_FILE
    ignored: list[str] = []
    for table, values in _read(path).items():
        if table not in ("budget", "sandbox", "approval") or not isinstance(values, dict):
            ignored.append(table)
            continue
        section: Any = getattr(config, table)
        asked = _changed(section, values, f"{path}: {table}", ignored)
        if isinstance(section, ApprovalConfig):
            names = dict.fromkeys((*section.denied_tools, *asked.denied_tools))
            narrowed: Any = ApprovalConfig(tuple(names))
        else:
            narrowed = _smaller(section, asked)
            ignored += [
                f"{table}.{entry.name}"
                for entry in fields(section)
                if getattr(asked, entry.name) > getattr(section, entry.name)
            ]
        config = replace(config, **{table: narrowed})
    return config, tuple(ignored)


Section = TypeVar("Section", Budget, SandboxConfig)


def _smaller(ours: Section, asked: Section) -> Section:
    names = [entry.name for entry in fields(ours)]
    return replace(ours, **{n: min(getattr(ours, n), getattr(asked, n)) for n in names})


def _changed(
    section: Any, values: Mapping[str, Any], where: str, ignored: list[str] | None = None
) -> Any:
    """Return `section` with `values`; unknown keys go to `ignored`, or are an error without it."""
    changes: dict[str, Any] = {}
    known = {entry.name for entry in fields(section)}
    for key, value in values.items():
        if key not in known:
            if ignored is None:
                raise ConfigError(f"{where}.{key} is no setting; known are {_listed(known)}")
            ignored.append(f"{where.rsplit(' ', 1)[-1]}.{key}")
            continue
        changes[key] = _of_kind(value, getattr(section, key), f"{where}.{key}")
    try:
        return replace(section, **changes)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _of_kind(value: Any, default: Any, where: str) -> Any:
    """Return `value` as the type of `default`."""
    if isinstance(default, tuple) and isinstance(value, list):
        if all(isinstance(entry, str) for entry in value):
            return tuple(value)
    elif isinstance(default, float) and type(value) in (int, float):
        return float(value)
    elif type(value) is type(default):
        return value
    raise ConfigError(f"{where} must be a {_kind(default)}, not {value!r}")


def _kind(default: Any) -> str:
    kinds: dict[type, str] = {tuple: "list of strings", float: "number", int: "whole number"}
    return kinds.get(type(default), "string")


def _positive(section: Any) -> None:
    for entry in fields(section):
        value = getattr(section, entry.name)
        # `not >` and not `<=`: a TOML file can say nan.
        if isinstance(value, int | float) and not value > 0:
            raise ValueError(f"{entry.name} must be more than 0, not {value}")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names))


def _read(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            return {}
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes")
    try:
        return tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid TOML: {error}") from error


def _xdg(environment: Mapping[str, str], name: str, default: str) -> Path:
    """Return the base folder `name`; the specification says that a relative one is ignored.

    Raises:
        ConfigError: it is not set, and the user has no home folder.
    """
    value = environment.get(name, "")
    if value.startswith("/"):
        return Path(value)
    try:
        return Path.home() / default
    except RuntimeError as error:
        raise ConfigError(f"you have no home folder; set {name} to a folder of yours") from error
