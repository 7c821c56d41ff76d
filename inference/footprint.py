"""What a model weighs in memory: weights, keys and values, states, and what a forward needs.

Pure arithmetic on a `ModelShape`; nothing is read and nothing is loaded. The formats are those that
the engine writes: NF4 with double quantization as bitsandbytes stores it, a matrix or an expert at
a time; int8 with a scale a row; pages of keys and values. What fits where is decided by
`planner.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

from inference.shapes import Group, ModelShape, Part
from inference.sizes import (
    CPU_PIECE,
    CPU_TILE_BYTES,
    GPU_PIECE,
    GPU_TILE_BYTES,
    NF4_BLOCK,
    NF4_NESTED_BLOCK,
    PAGE_TOKENS,
)

Weights = Literal["16bit", "int8", "nf4"]
WEIGHTS: tuple[Weights, ...] = get_args(Weights)
Kv = Literal["16bit", "int8", "int4"]

SCALE_BYTES = 4
STATE_BYTES = 4
"""Of a number of a recurrent state: float32 between forwards."""
LOGIT_BYTES = 6
"""A logit as the model gives it, and once more in float32."""


@dataclass(frozen=True)
class KvFormat:
    """How a key or a value of one token and head is written."""

    bits: int
    """Of each number; 0 stands for those of the model."""
    scale_bytes: int
    """Beside the numbers."""


KV_FORMATS: Mapping[Kv, KvFormat] = {
    "16bit": KvFormat(0, 0),
    "int8": KvFormat(8, 2),
    "int4": KvFormat(4, 4),
}


@dataclass(frozen=True)
class Footprint:
    """Bytes of one model, with numbers of `value_bytes` where nothing is quantized."""

    shape: ModelShape
    value_bytes: int = 2
    is_gpu: bool = True
    state_bytes: int = STATE_BYTES
    """Of a number of a recurrent state that is kept."""

    def weights(self, weights: Weights) -> Mapping[Group, int]:
        """Return the bytes of all weights by use."""
        return self._weights[weights]

    @cached_property
    def _weights(self) -> Mapping[Weights, Mapping[Group, int]]:
        """Counted once: a planner asks thousands of times."""
        found: dict[Weights, dict[Group, int]] = {weights: {} for weights in WEIGHTS}
        for weights, groups in found.items():
            for part in self.shape.parts:
                groups[part.group] = groups.get(part.group, 0) + self.part(part, weights)
        return found

    def part(self, part: Part, weights: Weights) -> int:
        """Return the bytes of some tensors of one shape."""
        if weights == "16bit" or part.is_kept:
            return part.num_values * self.value_bytes
        *count, rows, columns = part.shape
        num = part.num * (count[0] if count else 1)
        is_nf4 = weights == "nf4" and part.group != "embedding"
        if is_nf4 and rows * columns % NF4_BLOCK:
            return part.num_values * self.value_bytes
        return num * (nf4_bytes(rows * columns) if is_nf4 else int8_bytes(rows, columns))

    def experts_of_a_layer(self, weights: Weights) -> int:
        """Return the bytes of the experts of one layer."""
        layers = self.shape.num_expert_layers
        return self.weights(weights).get("experts", 0) // layers if layers else 0

    def draft(self, weights: Weights) -> int:
        """Return the bytes of the layer that guesses tokens, where there is one."""
        parts = self.shape.draft_parts if self.shape.has_draft else ()
        return sum(self.part(part, weights) for part in parts)

    @property
    def vision(self) -> int:
        """Bytes of the tower that sees pictures, which is never quantized."""
        return self.shape.vision_params * self.value_bytes

    def kv_of_a_token(self, kv: Kv) -> int:
        """Return what a token adds to the attention layers."""
        shape, form = self.shape, KV_FORMATS[kv]
        of_a_head = shape.head_dim * form.bits // 8 + form.scale_bytes
        if not form.bits:
            of_a_head = shape.head_dim * self.value_bytes
        return 2 * shape.num_attention_layers * shape.num_kv_heads * of_a_head

    def kv(self, kv: Kv, num_tokens: int) -> int:
        """Return the bytes of all pages that so many tokens fill."""
        return -(-num_tokens // PAGE_TOKENS) * PAGE_TOKENS * self.kv_of_a_token(kv)

    @property
    def recurrent(self) -> int:
        """Bytes of the recurrent states of one line."""
        shape = self.shape
        of_a_head = shape.linear_key_dim * shape.linear_value_dim * self.state_bytes
        return shape.num_linear_layers * shape.linear_value_heads * of_a_head

    @property
    def conv(self) -> int:
        """Bytes of what the convolutions remember: all of their width but the newest token."""
        shape = self.shape
        columns = max(0, shape.conv_width - 1)
        return shape.num_linear_layers * shape.conv_channels * columns * self.value_bytes

    @property
    def snapshot(self) -> int:
        """Bytes of one snapshot without its pages: states, and the logits of what comes next.

        transformers keeps one more column of the convolutions, and no logits.
        """
        return self.recurrent + self.conv + 4 * self.shape.vocab

    def workspace(self, weights: Weights, kv: Kv, num_tokens: int) -> int:
        """Return what a chunk needs while it is read, however long the line before it is."""
        shape, value = self.shape, self.value_bytes
        experts = 4 * shape.experts_per_token * (shape.expert_inner + shape.hidden) * value
        layers = self._layers_on_gpu() if self.is_gpu else self._layers_on_cpu()
        widest = 3 * shape.hidden * value + max(experts, *layers)
        decoded = self.dense(weights) + self.tile(kv)
        return num_tokens * widest + decoded + LOGIT_BYTES * shape.vocab

    def _layers_on_gpu(self) -> tuple[int, ...]:
        """Return the bytes of a token alive at the fullest moment of each kind of layer."""
        shape, value = self.shape, self.value_bytes
        values = shape.linear_value_heads * shape.linear_value_dim
        delta = values * (13 * STATE_BYTES + 5 * value) + 3 * shape.conv_channels * value
        attention = 20 * shape.num_heads * shape.head_dim * value
        return delta, attention, 5 * shape.inner * value, 12 * shape.hidden * value

    def _layers_on_cpu(self) -> tuple[int, ...]:
        """Return the same with the kernels of a CPU, which hold a few tensors at a time."""
        shape, value = self.shape, self.value_bytes
        values = shape.linear_value_heads * shape.linear_value_dim
        num_wide = 2 if value == STATE_BYTES else 3  # what is no float32 is copied to be one
        delta = values * (num_wide * STATE_BYTES + 2 * value) + shape.conv_channels * value
        attention = shape.num_heads * shape.head_dim * (2 * STATE_BYTES + 3 * value)
        return delta, attention, 2 * shape.inner * value, 2 * STATE_BYTES * shape.hidden

    def dense(self, weights: Weights) -> int:
        """Return what a quantized matrix takes while it is multiplied by many rows."""
        if weights == "16bit":
            return 0
        if self.is_gpu and weights == "nf4":
            return self._largest * self.value_bytes  # bitsandbytes makes a whole matrix dense
        piece = min(self._largest, GPU_PIECE if self.is_gpu else CPU_PIECE)
        return piece * (SCALE_BYTES + self.value_bytes)

    @cached_property
    def _largest(self) -> int:
        """Numbers of the largest matrix inside of the layers, experts apart."""
        bodies = (p.shape for p in self.shape.parts if p.group in ("delta", "attention", "mlp"))
        return max((s[0] * s[1] for s in bodies if len(s) == 2), default=0)

    def tile(self, kv: Kv) -> int:
        """Return the keys and values that are decoded at a time."""
        if not KV_FORMATS[kv].bits:
            return 0
        return GPU_TILE_BYTES if self.is_gpu else CPU_TILE_BYTES


def nf4_bytes(num: int) -> int:
    """Return the bytes of numbers that are quantized together: codes, scales, theirs, an offset."""
    num_blocks = -(-num // NF4_BLOCK)
    nested = -(-num_blocks // NF4_NESTED_BLOCK)
    return -(-num // 2) + num_blocks + SCALE_BYTES * nested + SCALE_BYTES


def int8_bytes(rows: int, columns: int) -> int:
    """Return the bytes of a matrix of which every row has a scale."""
    return rows * columns + SCALE_BYTES * rows
