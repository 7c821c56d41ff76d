"""NF4 with double quantization: numbers in, four bits a number out, and back; knows no layer.

The format is that of QLoRA (Dettmers et al. 2023, arXiv:2305.14314, sections 3 and 4) as
bitsandbytes writes it: blocks of 64 numbers share their largest one, which is kept in 8 bits in
blocks of 256, after the mean of all of them was taken off: 4.127 bits a number. The values are
bitsandbytes' own bit for bit; on a CPU they are found by tables, several times as fast.
bitsandbytes takes seconds to import: only quantizing does, and multiplying on a GPU.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from inference.sizes import NF4_BLOCK, NF4_NESTED_BLOCK

BLOCK, NESTED_BLOCK = NF4_BLOCK, NF4_NESTED_BLOCK
NUMBERS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
    -0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
    0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""What the four bits of a number mean: as many normally distributed numbers are near each."""
CELLS = 4096
"""Cells of [-1, 1], so narrow that none holds two bounds."""
PIECE = 1 << 18
"""Numbers that are encoded at a time on a CPU."""


@dataclass(frozen=True)
class Nf4:
    """`n` numbers, n a multiple of 64; may be a part of a larger tensor."""

    packed: Tensor
    """[n / 2] uint8, the first number of a pair in the high bits."""
    absmax: Tensor
    """[n / 64] uint8."""
    nested: Tensor
    """[n / 64 / 256, rounded up] float32."""
    offset: Tensor
    """[] float32."""


class NotFinite(ValueError):
    """What is to be quantized is no number (NaN), or an infinite one."""


def check_finite(largest: Tensor) -> None:
    """See that the largest numbers of some blocks or rows are numbers; then all of theirs are.

    Raises:
        NotFinite: they are not.
    """
    if not torch.isfinite(largest).all():
        raise NotFinite


def encode(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the packed numbers, [n / 2] uint8, and the scale of each block, [n / 64] float32."""
    if values.device.type != "cpu":
        _bitsandbytes()
        quantize = torch.ops.bitsandbytes.quantize_4bit.default
        packed, absmax = quantize(values.contiguous(), BLOCK, "nf4", torch.uint8)
        check_finite(absmax)
        return packed.view(-1), absmax
    flat = values.reshape(-1)
    packed = torch.empty(flat.numel() // 2, dtype=torch.uint8)
    absmax = torch.empty(flat.numel() // BLOCK)
    for first in range(0, flat.numel(), PIECE):  # what a piece needs stays in the CPU's cache
        piece = flat[first : first + PIECE].view(-1, BLOCK)
        places = slice(first // BLOCK, first // BLOCK + len(piece))
        packed[first // 2 :][: piece.numel() // 2] = _encode(piece.float(), absmax[places])
    return packed, absmax


def _encode(blocks: Tensor, absmax: Tensor) -> Tensor:
    """Fill in the scales of some blocks, [m, 64] float32, and return their packed numbers."""
    check_finite(torch.amax(blocks.abs(), dim=1, out=absmax))
    scaled = (blocks * (1.0 / absmax.clamp(min=1e-38))[:, None]).clamp_(-1, 1).view(-1)
    cells = torch.add(scaled, 1).mul_(CELLS / 2).int().clamp_(max=CELLS - 1)
    bounds, below = _cells()
    above = torch.gt(scaled, torch.index_select(bounds, 0, cells)).view(torch.uint8)
    pairs = torch.index_select(below, 0, cells).add_(above).view(torch.int16)
    return torch.bitwise_or(pairs << 4, pairs >> 8).to(torch.uint8)


def nest(absmax: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Quantize the scales themselves; return the last three fields of `Nf4`."""
    offset = absmax.mean()
    quantize = _bitsandbytes().functional.quantize_blockwise
    codes, state = quantize(absmax - offset, blocksize=NESTED_BLOCK)
    return codes, state.absmax, offset


def scales(absmax: Tensor, nested: Tensor, offset: Tensor) -> Tensor:
    """Undo `nest`: [..., n] uint8, [..., m] and [...] float32 to [..., n] float32."""
    num = absmax.shape[-1]
    values = torch.index_select(scale_code(absmax.device), 0, absmax.reshape(-1).int())
    values = values.view(absmax.shape)
    if num > NESTED_BLOCK:
        nested = nested.repeat_interleave(NESTED_BLOCK, dim=-1)[..., :num]
    return values.mul_(nested).add_(offset[..., None])


def decode(packed: Tensor, absmax: Tensor, out: Tensor) -> Tensor:
    """Write numbers to `out`.

    Args:
        packed: [n / 2] uint8.
        absmax: [n / 64] float32, of the blocks that these numbers are.
        out: [n] float32; it is returned.
    """
    pairs = out.view(torch.float64)
    torch.index_select(_pairs(packed.device), 0, packed.int(), out=pairs)
    out.view(-1, BLOCK).mul_(absmax[:, None])
    return out


def multiply(x: Tensor, matrix: Nf4, num_rows: int) -> Tensor:
    """Return `x`, [T, K], times a matrix [N, K] of NF4 on a GPU, by bitsandbytes' fused kernel."""
    bnb = _bitsandbytes()
    state = bnb.functional.QuantState(
        absmax=matrix.absmax,
        shape=torch.Size((num_rows, x.shape[-1])),
        code=code(x.device),
        blocksize=BLOCK,
        quant_type="nf4",
        dtype=x.dtype,
        offset=matrix.offset,
        state2=bnb.functional.QuantState(
            absmax=matrix.nested,
            code=scale_code(x.device),
            blocksize=NESTED_BLOCK,
            dtype=torch.float32,
        ),
    )
    product: Tensor = bnb.matmul_4bit(x, matrix.packed.view(-1, 1), state)
    return product


@cache
def has_kernel() -> bool:
    """Say whether `multiply` can be used: whether bitsandbytes is installed; nothing is loaded."""
    return find_spec("bitsandbytes") is not None


def _bitsandbytes() -> Any:
    """Return the package, which has no types."""
    import bitsandbytes

    return bitsandbytes


@cache
def code(device: torch.device) -> Tensor:
    """The sixteen numbers, rising, [16] float32."""
    return torch.tensor(NUMBERS, device=device)


@cache
def scale_code(device: torch.device) -> Tensor:
    """What the 8 bits of a scale mean, rising, [256] float32.

    The more zeros a number has after the point, the fewer bits are left for what follows them
    (Dettmers 2015, arXiv:1511.04561).
    """
    numbers = [0.0, 1.0]
    for exponent in range(7):
        edges = torch.linspace(0.1, 1, 2**exponent + 1)
        middles = 10 ** (exponent - 6) * (edges[:-1] + edges[1:]) / 2
        numbers += [*middles.tolist(), *(-middles).tolist()]
    return torch.tensor(sorted(numbers), device=device)


@cache
def _pairs(device: torch.device) -> Tensor:
    """The two numbers of each byte, as one item of 8 bytes: [256], to be copied only."""
    numbers = code(device)
    pairs = torch.stack([numbers.repeat_interleave(16), numbers.repeat(16)], dim=1)
    return pairs.contiguous().view(torch.float64).view(-1)


@cache
def _cells() -> tuple[Tensor, Tensor]:
    """What a number in a cell of [-1, 1] becomes.

    The first bound between two codes that is not below the cell, [CELLS] float32, and how many
    bounds are below it, [CELLS] uint8.
    """
    numbers = code(torch.device("cpu"))
    bounds = (numbers[1:] + numbers[:-1]) / 2
    # A cell's left edge, a little further left: rounding may put a number into the next cell.
    left = torch.arange(CELLS, dtype=torch.float32) * (2 / CELLS) - 1 - 1e-6
    below = torch.bucketize(left, bounds)
    return torch.cat([bounds, torch.tensor([torch.inf])])[below], below.to(torch.uint8)
