"""A plan: how a model is run in the memory of a machine, and how much of it each part takes.

Nothing is decided here; `planner.py` finds the plan that is best, or those that are near. Bytes are
counted by `footprint.py`.
"""

from dataclasses import dataclass, replace
from typing import Literal

from inference.door import CACHE_BYTES, EngineSettings, StateKind
from inference.footprint import Footprint, Kv, Weights
from inference.shapes import ModelShape
from inference.sizes import PAGE_TOKENS

GIB = 1024**3
Device = Literal["cuda", "cpu"]

GPU_SHARE, CPU_SHARE = 0.95, 0.8
"""What of a device's memory is for the engine; the rest is for the screen, the CUDA context and the
allocator, or for the system and the tests that are run."""
MIN_RESERVE_BYTES = GIB
"""Of a GPU, whatever its size."""
NUM_SNAPSHOTS = 2
"""As many as must find room beside the live state; more are kept where there is room."""


@dataclass(frozen=True)
class Room:
    """The memory of a machine that an engine may use."""

    device: Device
    device_bytes: int
    """Of the device that computes: the GPU's, or the machine's."""
    ram_bytes: int
    """For what is kept off a GPU; on a CPU it is the same memory."""
    value_bytes: int = 2
    """Of a number that is not quantized: 4 on a CPU that does not multiply bfloat16."""

    @classmethod
    def of_gpu(cls, total_bytes: int, ram_bytes: int, free_bytes: int | None = None) -> "Room":
        """Describe a GPU and the machine around it, of which others may use a part."""
        usable = min(round(GPU_SHARE * total_bytes), total_bytes - MIN_RESERVE_BYTES)
        return cls("cuda", max(0, usable), _usable(ram_bytes, free_bytes))

    @classmethod
    def of_cpu(cls, ram_bytes: int, value_bytes: int = 2, free_bytes: int | None = None) -> "Room":
        """Describe a machine without one."""
        usable = _usable(ram_bytes, free_bytes)
        return cls("cpu", usable, usable, value_bytes)


def _usable(ram_bytes: int, free_bytes: int | None) -> int:
    """Return what of a machine's memory is for the engine: a share, or what others leave of it."""
    usable = round(CPU_SHARE * ram_bytes)
    return usable if free_bytes is None else min(usable, free_bytes)


@dataclass(frozen=True)
class Wanted:
    """What the person asks for; None leaves it to the planner."""

    context_tokens: int | None = None
    kv: Kv | None = None
    weights: Weights | None = None
    embedding_on_cpu: bool = False
    """True moves it whether there is room on the GPU or not."""
    experts_on_cpu: int = 0
    """Layers whose experts are moved at least. Weights in 16 bits stay where they are."""
    state: StateKind = "float32"
    is_whole: bool = False
    """Whether nothing may live beside the GPU, as of a checkpoint that was quantized elsewhere."""


@dataclass(frozen=True)
class Plan:
    """How a model is run. The first fields are the engine's settings of the same names."""

    weights: Weights
    kv: Kv
    context_tokens: int
    prefill_chunk: int
    embedding_on_cpu: bool
    experts_on_cpu: int
    """Layers whose experts are kept and computed on the CPU."""
    name: str
    footprint: Footprint
    """What the parts of the model weigh here."""
    room: Room

    @property
    def shape(self) -> ModelShape:
        """What the model is made of."""
        return self.footprint.shape

    @property
    def weights_bytes(self) -> int:
        """Weights on the device."""
        return sum(self.footprint.weights(self.weights).values()) - self.ram_bytes

    @property
    def ram_bytes(self) -> int:
        """Weights that a GPU's machine holds beside it."""
        embedding = self.footprint.weights(self.weights)["embedding"]
        experts = self.experts_on_cpu * self.footprint.experts_of_a_layer(self.weights)
        return experts + (embedding if self.embedding_on_cpu else 0)

    @property
    def draft_bytes(self) -> int:
        """Weights of the layer that guesses tokens; they are always on the device."""
        return self.footprint.draft(self.weights)

    @property
    def kv_bytes(self) -> int:
        """Keys and values of a full window."""
        return self.footprint.kv(self.kv, self.context_tokens)

    @property
    def state_bytes(self) -> int:
        """The live state, which is as large as a snapshot."""
        return self.footprint.snapshot

    @property
    def cache_bytes(self) -> int:
        """What snapshots and the pages of other lines may hold."""
        spare = self.room.device_bytes - self._needed_without_snapshots
        return max(NUM_SNAPSHOTS * self.state_bytes, min(spare, CACHE_BYTES))

    def window_of(self, num_lines: int) -> int:
        """Return how many tokens each of so many lines may have read at the same time.

        They share the room of one full window, and what neither that nor snapshots take.
        """
        spare = self.room.device_bytes - self._needed_without_snapshots - self.cache_bytes
        room = self.kv_bytes + max(0, spare) - (num_lines - 1) * self.state_bytes
        tokens = room // (num_lines * self.footprint.kv(self.kv, PAGE_TOKENS)) * PAGE_TOKENS
        return max(0, min(tokens, self.context_tokens))

    @property
    def workspace_bytes(self) -> int:
        """What a chunk needs while it is read at the end of the window."""
        return self.footprint.workspace(self.weights, self.kv, self.prefill_chunk)

    @property
    def needed_bytes(self) -> int:
        """What must fit the device, with as few snapshots as will do."""
        return self._needed_without_snapshots + NUM_SNAPSHOTS * self.state_bytes

    @property
    def _needed_without_snapshots(self) -> int:
        weights = self.weights_bytes + self.draft_bytes
        return weights + self.kv_bytes + self.state_bytes + self.workspace_bytes

    @property
    def fits(self) -> bool:
        """Whether the machine has room for it."""
        beside = self.ram_bytes if self.room.device == "cuda" else 0
        return self.needed_bytes <= self.room.device_bytes and beside <= self.room.ram_bytes

    def settings(self, settings: EngineSettings) -> EngineSettings:
        """Return an engine's settings, changed to run like this."""
        return replace(
            settings,
            device=self.room.device,
            prefill_chunk=self.prefill_chunk,
            cache_bytes=self.cache_bytes,
            weights=self.weights,
            kv=self.kv,
            embedding_on_cpu=self.embedding_on_cpu,
            num_cpu_expert_layers=self.experts_on_cpu,
        )


@dataclass(frozen=True)
class Offer:
    """A plan that fits, and what it costs compared with what was wanted."""

    plan: Plan
    sentence: str = ""
    """Empty where it costs nothing."""
    is_other_model: bool = False
    is_other_device: bool = False
    """Whether it leaves the GPU that there is unused."""
