"""How keys and values are written in pages: as they are, or in 8 or 4 bits with a scale.

A codec knows the numbers of one head and token at a time: what is stored of them does not depend
on any other token, so that pages can be cut, shared and stored anywhere, and the same tokens read
in other chunks store the same. New tokens are attended to as they are stored, too. No page, no
model in here; `pages.py` owns the tensors and `attention.py` reads what comes out.

int8: n * scale, n from -127 to 127. The scale is the largest number's 127th part, in bfloat16: that
has the range of any number, and steps are counted in what it was rounded to. Against float32, and
with a zero point besides, no difference could be measured (docs/state.md).
int4: low + n * scale, n from 0 to 15, from the smallest to the largest number, after a rotation
that spreads what one large number holds over all of them (Ashkboos et al. 2024, arXiv:2404.00456).
Queries are rotated alike, so that scores stay what they are, and outputs are rotated back.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from inference.sizes import CPU_TILE_BYTES, GPU_TILE_BYTES

KvKind = Literal["16bit", "int8", "int4"]
"""`16bit` is the type that the model computes in."""

Stored = Sequence[Tensor]
"""What is kept of some tokens, [..., T, width] each; which widths and types, the codec says."""

Fields = tuple[tuple[torch.dtype, int], ...]
"""Type and width of each tensor that is kept."""

SMALLEST = torch.finfo(torch.bfloat16).tiny
"""A scale that is 0 would divide by 0."""


class KvCodec(Protocol):
    """One way to store the D numbers of a head's key or value."""

    name: str
    """Part of what stored states are found by."""
    fields: Fields
    tile_nbytes: int | None
    """How much is decoded at a time, as numbers of the model's type; None: it is read in place."""

    def encode(self, numbers: Tensor) -> Stored:
        """Make what is kept of [..., T, D]."""
        ...

    def decode(self, stored: Stored, out: Tensor) -> Tensor:
        """Return the numbers, in `out` [..., T, D] unless they lie in `stored` as they are."""
        ...

    def turn(self, numbers: Tensor) -> Tensor:
        """Rotate queries [..., D] as keys are, or outputs back; twice is not at all."""
        ...


class Plain:
    """The numbers themselves."""

    tile_nbytes: int | None = None

    def __init__(self, dtype: torch.dtype, dim: int) -> None:
        self.name = str(dtype).removeprefix("torch.")
        self.fields: Fields = ((dtype, dim),)

    def encode(self, numbers: Tensor) -> Stored:
        """Keep them."""
        return (numbers,)

    def decode(self, stored: Stored, out: Tensor) -> Tensor:
        """Return what is kept."""
        return stored[0]

    def turn(self, numbers: Tensor) -> Tensor:
        """Leave them."""
        return numbers


class Int8:
    """A byte a number, and a scale."""

    name = "int8"

    def __init__(self, dim: int, tile_nbytes: int) -> None:
        self.tile_nbytes: int | None = tile_nbytes
        self.fields: Fields = ((torch.int8, dim), (torch.bfloat16, 1))

    def encode(self, numbers: Tensor) -> Stored:
        """Round to 255 steps."""
        largest = numbers.abs().amax(dim=-1, keepdim=True).float()
        scale = (largest / 127).clamp(min=SMALLEST).bfloat16()
        return (numbers / scale.float()).round().clamp(-127, 127).to(torch.int8), scale

    def decode(self, stored: Stored, out: Tensor) -> Tensor:
        """Multiply by the scale."""
        steps, scale = stored
        return out.copy_(steps).mul_(scale.float())  # on a CPU quicker than torch.mul(out=)

    def turn(self, numbers: Tensor) -> Tensor:
        """Leave them."""
        return numbers


class Int4:
    """Half a byte a number after a Hadamard rotation; a scale and the smallest number.

    The first half of the numbers lies in the low bits, the second in the high ones.
    """

    name = "int4 rotated"

    def __init__(self, dim: int, tile_nbytes: int, device: torch.device) -> None:
        assert has_rotation(dim), "the loader refuses others"
        self.tile_nbytes: int | None = tile_nbytes
        self.fields: Fields = ((torch.uint8, dim // 2), (torch.bfloat16, 2))
        self._signs = hadamard(dim).to(device)

    def encode(self, numbers: Tensor) -> Stored:
        """Rotate, and round to 16 steps."""
        numbers = self.turn(numbers).float()
        low, high = numbers.amin(-1, keepdim=True), numbers.amax(-1, keepdim=True)
        low = low.bfloat16()
        scale = ((high - low) / 15).clamp(min=SMALLEST).bfloat16()
        steps = ((numbers - low) / scale).round().clamp(0, 15).to(torch.uint8)
        first, second = steps.chunk(2, dim=-1)
        return (first | second << 4), torch.cat((scale, low), dim=-1)

    def decode(self, stored: Stored, out: Tensor) -> Tensor:
        """Undo all but the rotation."""
        pairs, limits = stored
        scale, low = limits.float().chunk(2, dim=-1)
        for half, steps in zip(out.chunk(2, dim=-1), (pairs & 15, pairs >> 4), strict=True):
            torch.add(low, steps * scale, out=half)
        return out

    def turn(self, numbers: Tensor) -> Tensor:
        """Rotate by a Hadamard matrix, which is its own inverse."""
        turned = numbers @ self._signs.to(numbers.dtype)
        return turned * float(numbers.shape[-1] ** -0.5)


def has_rotation(dim: int) -> bool:
    """Whether heads of `dim` numbers can be rotated: powers of two, from 4 on."""
    return dim >= 4 and dim & (dim - 1) == 0


def hadamard(dim: int) -> Tensor:
    """Return Sylvester's matrix of 1 and -1, symmetric, [dim, dim]; its square is dim times I."""
    signs = torch.ones(1, 1)
    while len(signs) < dim:
        signs = torch.cat((torch.cat((signs, signs), 1), torch.cat((signs, -signs), 1)))
    return signs


def codec_for(kind: KvKind, dim: int, dtype: torch.dtype, device: torch.device) -> KvCodec:
    """Return the codec of heads of `dim` numbers, on `device`."""
    tile_nbytes = CPU_TILE_BYTES if device.type == "cpu" else GPU_TILE_BYTES
    if kind == "int8":
        return Int8(dim, tile_nbytes)
    if kind == "int4":
        return Int4(dim, tile_nbytes, device)
    return Plain(dtype, dim)


@dataclass(frozen=True)
class KvShape:
    """What one token adds: keys and values of L layers, Hkv heads of Dh numbers each."""

    num_layers: int
    num_heads: int
    head_dim: int
    dtype: torch.dtype
    """Of the numbers that the model computes with."""
    device: torch.device
    kind: KvKind = "16bit"
    codec: KvCodec = field(init=False, compare=False)

    def __post_init__(self) -> None:
        codec = codec_for(self.kind, self.head_dim, self.dtype, self.device)
        object.__setattr__(self, "codec", codec)

    @property
    def head_nbytes(self) -> int:
        """Bytes of one key or value of one head."""
        return sum(width * dtype.itemsize for dtype, width in self.codec.fields)

    @property
    def token_nbytes(self) -> int:
        """Bytes a token."""
        return 2 * self.num_layers * self.num_heads * self.head_nbytes

    def sizes(self, num_tokens: int, width: int) -> tuple[int, ...]:
        """Of a tensor with `width` numbers a head: [L, 2, Hkv, num_tokens, width]."""
        return self.num_layers, 2, self.num_heads, num_tokens, width

    @property
    def packed(self) -> tuple[torch.dtype, int]:
        """Type and width of the one tensor that holds all fields: bytes where there are several."""
        fields = self.codec.fields
        return fields[0] if len(fields) == 1 else (torch.uint8, self.head_nbytes)

    def empty(self, num_tokens: int) -> Tensor:
        """Room for `num_tokens` in packed form, on the CPU; nothing is written to it."""
        dtype, width = self.packed
        return torch.empty(self.sizes(num_tokens, width), dtype=dtype)

    def unpacked(self, packed: Tensor) -> Stored:
        """The fields of a tensor in packed form, as views."""
        fields = self.codec.fields
        if len(fields) == 1:
            return (packed,)
        parts = torch.split(packed, [width * dtype.itemsize for dtype, width in fields], dim=-1)
        return [part.view(dtype) for part, (dtype, _) in zip(parts, fields, strict=True)]
