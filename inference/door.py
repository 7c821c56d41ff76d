"""What passes between a conversation and the engine that runs it, here or in another process.

The engine of this process (`engine.py`) and the host's client (`host_client.py`) both have the
methods of `TokenEngine`; who holds one need not know which. Token ids only. No torch.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar

from inference.chat import Cancel
from inference.messages import Memory, Prefill, SamplingOptions, StopReason, Usage
from inference.pictures import Place

DType = Literal["auto", "float32", "bfloat16", "float16"]
StateKind = Literal["float32", "float16"]

KvChoice = Literal["auto", "16bit", "int8", "int4"]
"""How keys and values are kept. 16bit is the type that the model computes in; auto is int8 on a GPU
and 16bit on a CPU."""

Speculation = Literal["auto", "off"]
"""Whether tokens are guessed and read together where that pays. Replies are the same."""

Weights = Literal["auto", "16bit", "int8", "nf4"]
"""What weights are kept in; auto is 16 bit where they fit, else nf4."""

LoadStage = Literal["download", "read", "quantize"]
"""Quantizing reads too; it is done once for a checkpoint."""

CACHE_BYTES = 2_000_000_000
"""What snapshots may hold in memory besides what lines that go on need anyway."""

FINE_LADDER_TOKENS = 2048
"""A snapshot is taken at every multiple: a prompt may leave a known line inside a message."""

LADDER_TOKENS = 8192
"""Where memory is short, snapshots at these multiples are kept longer than the others ..."""

FINE_TOKENS = 16_384
"""... but not so near the end of a line, where most prompts leave it."""

SMALL_PARAMS = 100_000_000
"""Below this float32 on a CPU is as fast as bfloat16, and exact."""

PREFILL_CHUNK = 512
"""Tokens between two looks at `cancel`, about."""

STALL_S = 120.0
"""See `EngineSettings.stall_s`."""


@dataclass(frozen=True)
class EngineSettings:
    """What an engine is made of."""

    source: str
    """A checkpoint folder, or a hub id `owner/name`."""
    device: str = "auto"
    """As torch names it; auto is CUDA when there is one."""
    dtype: DType = "auto"
    """Of the weights; auto is what is fast and fits."""
    weights: Weights = "auto"
    """A checkpoint that was quantized by its makers stays as it is."""
    embedding_on_cpu: bool = False
    """Leave the embedding in the machine's memory, where it is needed least on a GPU."""
    num_cpu_expert_layers: int = 0
    """Leave the experts of so many layers there, too, and run them there."""
    cache_bytes: int = CACHE_BYTES
    store_folder: str = ""
    """Where states outlive the process; "" keeps them in memory only."""
    store_bytes: int = 0
    """What the stored states of all models may hold there."""
    prefill_chunk: int = PREFILL_CHUNK
    """Tokens that are read at a time, about."""
    stall_s: float = STALL_S
    """So long a chunk or a token may take before the engine counts as hung; the first, and where
    the machine has shown to be slow, much longer."""
    kv: KvChoice = "auto"
    """How keys and values are kept."""
    state: StateKind = "float32"
    """What recurrent states are between two forwards; inside they are float32."""
    fast_kernels: bool = True
    """False computes everything in the plainest way, for comparison: the same, but later."""
    speculation: Speculation = "auto"
    """With it the draft layer of the checkpoint is loaded, where there is one."""


@dataclass(frozen=True)
class LoadProgress:
    """Bytes that came so far of those known to come; both grow."""

    num_bytes: int
    num_total_bytes: int
    stage: LoadStage = "download"
    elapsed_s: float = 0.0
    """Since the first of them."""

    @property
    def bytes_per_s(self) -> float:
        """How fast they come; 0 while that is not known."""
        return self.num_bytes / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def left_s(self) -> float | None:
        """How long it will take still, if it goes on so."""
        speed = self.bytes_per_s
        return (self.num_total_bytes - self.num_bytes) / speed if speed else None


OnProgress = Callable[[LoadProgress], None]


@dataclass(frozen=True)
class Token:
    """One token of the reply."""

    id: int


@dataclass(frozen=True)
class GenerationEnd:
    """The last event: why it stopped, what it cost, and all tokens of the reply."""

    stop_reason: StopReason
    usage: Usage
    token_ids: tuple[int, ...]
    notices: tuple[str, ...] = ()
    """What a person should know of the engine since the last reply; a sentence each."""
    memory: Memory | None = None
    """As it is now; None of an engine that does not say."""


class Windowed(Protocol):
    """What a conversation asks of a model."""

    @property
    def context_tokens(self) -> int:
        """The longest sequence that the model was made for."""
        ...

    @property
    def weights(self) -> str:
        """What its weights are kept in, in a word: `bf16`."""
        ...


@dataclass(frozen=True)
class ThinkingLimit:
    """How long a reply may think, in words that an engine understands: token ids and counts."""

    budget: int
    """Tokens of thinking after which a thought is closed as soon as the model thinks of it."""
    grace: int
    """So many tokens later it is closed all the same."""
    open_id: int
    close_id: int
    before: tuple[int, ...] = ()
    """What the template writes before the closing token; left out where the model closes."""
    after: tuple[int, ...] = ()
    """What the template writes after it."""
    is_open: bool = False
    """Whether the prompt ends inside a thought."""

    def __post_init__(self) -> None:
        assert self.budget >= 0, "a budget of tokens"
        assert self.grace >= 0, "tokens after the budget"
        assert min(self.token_ids) >= 0, "ids of a vocabulary"

    @property
    def token_ids(self) -> tuple[int, ...]:
        """All ids that are named here."""
        return (self.open_id, self.close_id, *self.before, *self.after)


@dataclass(frozen=True)
class CallGrammar:
    """What calls of tools a reply may make, in words that another process understands."""

    syntax: Literal["xml", "hermes"]
    tools: str
    """A JSON list of objects with `name` and `parameters`; the same for all replies of a talk."""
    is_thinking: bool = False
    """Whether the prompt ends inside a thought, where nothing is a call."""


B = TypeVar("B")


class TokenEngine(Protocol[B]):
    """Reads and writes token ids on branches of kind `B`."""

    @property
    def model(self) -> Windowed:
        """The model that runs."""
        ...

    @property
    def is_there(self) -> bool:
        """Whether it runs, as far as is known without asking it."""
        ...

    def come_back(self, cancel: Cancel) -> None:
        """Make sure that it runs, which may take as long as loading the model does.

        Raises:
            Cancelled: nobody wants to wait; it goes on loading beside.
            ModelUnavailable: it cannot be had.
        """
        ...

    def find(self, tokens: Sequence[int], live: B | None = None, reuse: bool = True) -> B:
        """Return the longest known line that `tokens` starts with and that leaves one to run.

        Without `reuse` it is the empty line, and nothing of what it reads is kept: the same tokens
        come out, later.
        """
        ...

    def branch(
        self,
        tokens: Sequence[int],
        cancel: Cancel,
        on_progress: Callable[[Prefill], None] | None = None,
        marks: Sequence[int] = (),
        live: B | None = None,
        places: Sequence[Place] = (),
    ) -> B:
        """Find the longest known line and prefill the rest of `tokens`."""
        ...

    def generate(
        self,
        branch: B,
        new_tokens: Sequence[int],
        sampling: SamplingOptions,
        *,
        max_new_tokens: int,
        cancel: Cancel,
        stop_ids: frozenset[int] = frozenset(),
        keep_ids: frozenset[int] = frozenset(),
        marks: Sequence[int] = (),
        thinking: ThinkingLimit | None = None,
        places: Sequence[Place] = (),
        grammar: CallGrammar | None = None,
    ) -> Iterator[Prefill | Token | GenerationEnd]:
        """Read `new_tokens` after those of the branch, write a reply, end with what it cost."""
        ...

    def fork(self, branch: B, reuse: bool = True) -> B:
        """Make a second line from here; without `reuse` nothing is kept of what it reads until a
        prompt is found to go on from it."""
        ...

    def snapshot(self, branch: B) -> object:
        """Keep this place among those that prompts are looked up in."""
        ...
