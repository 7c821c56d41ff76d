"""Every default, one frozen dataclass per concern; where the values come from is `config.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from agent.rules import Rule
from inference.door import KvChoice, Speculation, StateKind, Weights
from inference.messages import ThinkingHistory
from inference.remote_server import AUTO, base_url
from sandbox.hosts import check_host

ApprovalMode = Literal["plan", "ask", "edit", "auto"]
ABOUT_MODES: Mapping[ApprovalMode, str] = {
    "plan": "reads only",
    "ask": "asks before each change and command",
    "edit": "asks before commands",
    "auto": "asks nothing, inside of the sandbox",
}
Effort = Literal["off", "normal", "high"]
ABOUT_EFFORTS: Mapping[Effort, str] = {
    "off": "answers at once",
    "normal": "a little, and more after a failure",
    "high": "much, for every reply",
}
ContextKind = Literal["none", "repo"]
EditorChoice = Literal["full", "plain"]
ThemeChoice = Literal["auto", "dark", "light", "mono"]
KeysChoice = Literal["emacs", "vi"]
TOOL_NAMES = (
    *("bash", "str_replace_editor", "search", "outline", "run_tests"),
    *("explore", "todo", "skill", "finish"),
)
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


MAX_ATTEMPTS = 16
"""That a prompt of a talk may have."""
MAX_TOGETHER = 16
"""Attempts at once: of more, an engine reads no token in one forward with the others."""


@dataclass(frozen=True)
class FixConfig:
    """How `fix` makes its attempts."""

    together: int = 1
    """Attempts made at once: for a GPU, where several should cost little more time than one. One
    after the other each begins with what the best so far has mended."""

    def __post_init__(self) -> None:
        if not 1 <= self.together <= MAX_TOGETHER:
            raise ValueError(f"together must be 1 to {MAX_TOGETHER}, not {self.together}")


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
    stale_reads: int = 8
    """So many calls in a row that show nothing new are noted. After half as many more, those that
    ran before are refused; after as many more, the turn ends."""
    max_reads: int = 25
    """So many calls in a row without a change or a test are noted, and every tenth after that.
    They are never refused: in a large repository a repair begins late."""
    text_repeats: int = 10
    """A reply that writes the same passage this many times in a row is stopped and asked again."""

    def __post_init__(self) -> None:
        _positive(self)
        if not self.note_at <= self.refuse_at <= self.stop_at:
            raise ValueError("note_at, refuse_at and stop_at must not decrease")
        if self.text_repeats < 2:
            raise ValueError("text_repeats must be 2 or more")


@dataclass(frozen=True)
class ModelConfig:
    """Which model answers, and how long it may talk."""

    name: str = "auto"
    """`auto`, a folder or a hub id."""
    max_new_tokens: int = 4096
    """Tokens of one reply, besides its thinking."""
    thinking: Effort = "normal"
    """`off` answers without; `normal` thinks more after a failure; `high` as much every time."""
    thinking_tokens: int = 2048
    """Tokens of thinking in one reply."""
    thinking_tokens_after_failure: int = 8192
    """The same after red tests, or a call that failed or was refused: there it pays to think."""
    thinking_history: ThinkingHistory = "preserve"
    """`strip` drops the thinking of earlier turns, as Qwen3.5's template does; all of their replies
    are then read again, without it. `preserve` keeps it, and a conversation only ever grows."""
    kv: KvChoice = "auto"
    """How the model's keys and values are kept. `auto` is `int8` on a GPU and 16 bits or more on a
    CPU; `int4` takes half of `int8` and costs quality."""

    state: StateKind = "float32"
    """What recurrent states are kept in. `float16` halves every snapshot, in memory and on disk,
    and rounds a state after each forward."""

    weights: Weights = "auto"
    """What the weights are kept in: `16bit`, `int8` or `nf4`; auto is 16bit where they fit the
    memory of the device, else nf4. A model that was quantized by its makers stays as it is."""

    context: int = 0
    """Tokens of the window, at most; fewer where there is no memory for them. 0 is as many as
    there is memory for."""

    embedding_on_cpu: bool = False
    """True leaves the embedding in the machine's memory; else it goes there where a GPU is too
    small. Of weights in 8 or 4 bits, like the next."""
    cpu_expert_layers: int = 0
    """So many layers' experts at least are kept and run on the CPU; more where a GPU is too small
    for the rest."""

    grammar: bool = True
    """Whether calls are held to their form while they are written: each that comes to its end can
    be read; what the limit of a reply cuts off cannot."""

    fast_kernels: bool = True
    """False computes everything in the plainest way, for comparison: the same, but later."""
    speculation: Speculation = "auto"
    """`auto` guesses the next tokens where that makes a reply faster, which it does most where the
    model copies; the reply is the same. `off` guesses none and leaves the draft layer unread."""
    read_ahead: bool = True
    """Whether the model reads its instructions, the conversation and a long draft of the next
    prompt while nobody waits for it, so that a reply begins sooner."""
    editor: EditorChoice = "full"
    """What the editor offers and refuses; `plain` is what nano has, for comparison."""

    stall_s: float = 120.0
    """Seconds that the engine may take for a token or a piece of the prompt before it counts as
    hung and another one is started. Where it has shown to be slow it gets ten times its slowest."""

    def __post_init__(self) -> None:
        _positive(self, or_none=("context", "cpu_expert_layers"))
        _one_of(self, thinking=Effort, thinking_history=ThinkingHistory, kv=KvChoice)
        _one_of(self, state=StateKind, speculation=Speculation, editor=EditorChoice)
        _one_of(self, weights=Weights)


@dataclass(frozen=True)
class EngineConfig:
    """A server that answers in the place of the engine inside; it speaks OpenAI's API."""

    url: str = ""
    """As `http://localhost:8000/v1`; empty is the engine inside. Its key, if it wants one, is in
    the environment: QWEN_AGENT_ENGINE_KEY or OPENAI_API_KEY."""
    model: str = AUTO
    """What it calls its model; auto is the only one that it has."""
    context_tokens: int = 0
    """Use so much of its window; 0 is all of it. To be set where a server does not say."""
    can_see: bool = False
    """Whether its model may be shown pictures."""
    connect_s: float = 10.0
    """Seconds until a connection is there, or a question about the server is answered."""
    first_token_s: float = 900.0
    """Seconds until a reply begins: as long as it takes to read a prompt, and to wait for that."""
    between_tokens_s: float = 120.0
    """Seconds without a word in the midst of a reply, after which it counts as broken off."""

    def __post_init__(self) -> None:
        if self.url:
            base_url(self.url)
        if self.context_tokens < 0:
            raise ValueError(f"context_tokens must be 0 or more, not {self.context_tokens}")
        if not (self.connect_s > 0 and self.first_token_s > 0 and self.between_tokens_s > 0):
            raise ValueError("connect_s, first_token_s and between_tokens_s must be more than 0")


@dataclass(frozen=True)
class SandboxConfig:
    """How long a command may run, and how much it may be run on."""

    command_s: float = 120.0
    """Seconds of one command of the model."""
    tests_s: float = 600.0
    """Seconds of one run of the test suite; more is a hang."""
    allow_hosts: tuple[str, ...] = ()
    """Hosts that commands can reach, as `pypi.org` or `*.pythonhosted.org`; no others, and none if
    it is empty. Only the user's to give."""
    tree_files: int = 200_000
    """Files of a repository that is worked on, which is copied; installed packages do not count."""
    tree_gib: float = 8.0
    """The same in GiB."""

    def __post_init__(self) -> None:
        _positive(self)
        for host in self.allow_hosts:
            check_host(host)


@dataclass(frozen=True)
class ApprovalConfig:
    """What runs without asking, what a person is asked about, what is refused."""

    mode: ApprovalMode = "auto"
    """`plan` reads only; `ask` asks before each change and command; `edit` asks before commands;
    `auto` asks nothing, inside of the sandbox."""
    allow: tuple[str, ...] = ()
    """Rules for what is not asked about: `bash: npm test`, `edit: src/*`, or a tool."""
    deny: tuple[str, ...] = ()
    """Rules for what never runs, in any mode."""
    denied_tools: tuple[str, ...] = ()
    """Names of tools that the model may not call."""

    def __post_init__(self) -> None:
        _one_of(self, mode=ApprovalMode)
        for rule in (*self.allow, *self.deny):
            Rule.parse(rule)
        for name in self.denied_tools:
            if name not in TOOL_NAMES and "__" not in name:  # that of an MCP server is not known
                raise ValueError(f"denied_tools names {name!r}; tools are {', '.join(TOOL_NAMES)}")


@dataclass(frozen=True)
class VerifyConfig:
    """What is checked after an edit and before the end."""

    syntax: bool = True
    """After an edit, say what it broke in the syntax of the file."""
    tests: bool = True
    """After an edit, run the tests nearest to it."""
    tests_s: float = 20.0
    """Seconds for those tests; what once took longer is not run after edits."""
    max_files: int = 5
    """Test files run after one edit."""
    finish_tests: bool = True
    """Refuse `finish` while tests are red that were to be mended or were green before."""
    finish_todo: bool = True
    """Refuse `finish` while items of the todo list are open."""
    max_refusals: int = 2
    """So often `finish` is refused with nothing changed in between; the next one is accepted."""

    def __post_init__(self) -> None:
        if not (self.tests_s > 0 and self.max_files > 0 and self.max_refusals > 0):
            raise ValueError("tests_s, max_files and max_refusals must be more than 0")


@dataclass(frozen=True)
class HooksConfig:
    """Shell commands, run in order; the first that fails ends the row."""

    before_tool: tuple[str, ...] = ()
    """Before every call. A failure refuses it."""
    after_edit: tuple[str, ...] = ()
    """After every edit that was made. What it changes in the file, and a failure, are told."""
    before_finish: tuple[str, ...] = ()
    """Before the work counts as done. A failure refuses that."""


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
    """What the model is told of the repository at first, and how much of the conversation stays."""

    kind: ContextKind = "none"
    """`repo` packs the files of the repository into the prompt."""
    max_tokens: int = 262_144
    """Tokens of it, at most."""
    window_share: float = 0.5
    """Of the model's window, at most; the rest is for the conversation."""
    compact_at: float = 0.75
    """A conversation is put in short form when it fills this share of what the window has beside
    the system message and the prompts; 1 is never."""
    compact_to: float = 0.5
    """Dropping old output is enough when this share is left; otherwise a summary is written."""
    tail_share: float = 0.25
    """The last steps stay as they are, up to this share."""

    def __post_init__(self) -> None:
        _positive(self)
        _one_of(self, kind=ContextKind)
        if self.window_share >= 1:
            raise ValueError(f"window_share must be less than 1, not {self.window_share}")
        if not self.tail_share <= self.compact_to < self.compact_at <= 1:
            raise ValueError("tail_share, compact_to and compact_at must increase, up to 1")
        if self.tail_share > 0.5:
            raise ValueError(f"tail_share must be 0.5 at most, not {self.tail_share}")


@dataclass(frozen=True)
class ReplConfig:
    """How the interactive session looks and feels."""

    theme: ThemeChoice = "auto"
    """`dark` or `light`, after the ground of the terminal; `mono` uses no colour."""
    keys: KeysChoice = "emacs"
    """How lines are edited: `emacs` or `vi`."""

    def __post_init__(self) -> None:
        _one_of(self, theme=ThemeChoice, keys=KeysChoice)


@dataclass(frozen=True)
class Config:
    """All settings of the agent."""

    model: ModelConfig = field(default_factory=ModelConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    budget: Budget = field(default_factory=Budget)
    fix: FixConfig = field(default_factory=FixConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    approval: ApprovalConfig = field(default_factory=ApprovalConfig)
    verify: VerifyConfig = field(default_factory=VerifyConfig)
    hooks: HooksConfig = field(default_factory=HooksConfig)
    context: ContextConfig = field(default_factory=ContextConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    repl: ReplConfig = field(default_factory=ReplConfig)

    @classmethod
    def from_record(cls, record: Mapping[str, Mapping[str, Any]]) -> "Config":
        """Undo `asdict`, after a time in JSON; what an earlier version did not know is default."""
        sections: dict[str, Any] = {}
        for entry in fields(cls):
            values = record.get(entry.name, {})
            lists = {key: tuple(v) for key, v in values.items() if isinstance(v, list)}
            sections[entry.name] = type(getattr(cls(), entry.name))(**{**values, **lists})
        return cls(**sections)


def _positive(section: Any, or_none: tuple[str, ...] = ()) -> None:
    """See that all numbers are more than 0; some may be 0."""
    for entry in fields(section):
        value = getattr(section, entry.name)
        # `not >` and not `<=`: a TOML file can say nan.
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if entry.name in or_none and value < 0:
            raise ValueError(f"{entry.name} must be 0 or more, not {value}")
        if is_number and not value > 0 and entry.name not in or_none:
            raise ValueError(f"{entry.name} must be more than 0, not {value}")


def _one_of(section: Any, **kinds: Any) -> None:
    """See that texts are among those that their types name."""
    for name, kind in kinds.items():
        *others, last = get_args(kind)
        if (value := getattr(section, name)) not in (*others, last):
            raise ValueError(f"{name} is {', '.join(others)} or {last}, not {value!r}")
