"""Lines write new keys and values to their pages and read all of them, in calls that repeat.

What changes from token to token is told once, by `fill`, before the layers run; `write` and
`attend` then get tensors that may always lie in the same places. `PlainPages` does it line by line,
by `pages.py` and `attention.py`. `KernelPages` does it for all lines in three launches a layer,
which can be recorded in a CUDA graph: every grid is fixed, and kernels read on the device where
pages lie and how long lines are. The keys of a line are shared among enough programs to fill the
card ("Flash-Decoding for long-context inference", Dao et al. 2023). They are read as they are
stored: of keys in 8 bits the scale is multiplied into a score, of values into a weight, so that
products are of whole numbers. There is no kernel for 4 bits. When kernels are used is
`page_trial.py`.
"""

import importlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from inference.attention import KvPart, attend
from inference.kv_codec import Int4, KvShape
from inference.page_map import PageMap, num_new
from inference.pages import PageTable
from inference.sizes import PAGE_TOKENS
from inference.slabs import PagePool

MAX_PARTS = 128
"""Shares that the keys of a line are read in."""
STRIP = 64
"""Numbers of a head that are joined by one program."""


@dataclass(frozen=True)
class Extent:
    """What calls are made for."""

    num_lines: int
    num_tokens: int
    """New ones of each line."""
    max_pages: int
    """Of each line."""
    num_query_heads: int


class Pages(Protocol):
    """The pages of B lines of one pool, to which each adds T new tokens.

    Lines may be fewer than B, and have fewer new tokens than T: those come first, and what is said
    of the others is not written and reads zeros.
    """

    def fill(self, tables: Sequence[PageTable]) -> None:
        """Go on with these lines, which have reserved places for their new tokens.

        They are held by the caller until `write` and `attend` are done, on the device as well.
        Without any line, none is known any more.
        """
        ...

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the new tokens, [B, Hkv, T, Dh] each, into the reserved places of one layer."""
        ...

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Let the new tokens, [B, Hq, T, Dh], read their line up to themselves in one layer.

        Returns:
            [B, T, Hq, Dh] in the dtype of `query`; good until the next call.
        """
        ...


class PlainPages:
    """In plain torch, line by line."""

    def __init__(self, pool: PagePool, extent: Extent) -> None:
        self._codec = pool.shape.codec
        self._extent = extent
        self._tables: Sequence[PageTable] = ()
        self._own: list[KvPart] = []
        """What each line wrote last."""

    def fill(self, tables: Sequence[PageTable]) -> None:
        """Remember the tables."""
        assert len(tables) <= self._extent.num_lines
        assert all(len(table.pages) <= self._extent.max_pages for table in tables)
        self._tables, self._own = tables, []

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Write each line's tokens as a line that is alone does."""
        self._own = []
        for line, table in enumerate(self._tables):
            new = slice(line, line + 1), slice(None), slice(num_new(table))
            self._own.append(table.write(layer, keys[new], values[new]))

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Let each line's tokens read as those of a line that is alone do."""
        read = query.new_zeros(query.shape).transpose(1, 2)
        for line, (table, own) in enumerate(zip(self._tables, self._own, strict=True)):
            new = slice(num_new(table))
            turned = self._codec.turn(query[line : line + 1, :, new])
            seen = attend(turned, table.read(layer), own, scale)
            read[line, new] = self._codec.turn(seen)[0]
        return read


@dataclass(frozen=True)
class _Tiling:
    """How queries are laid out: those that read one key head are the rows of matrices."""

    groups: int
    """Query heads that read one key head."""
    rows: int
    """Of a program: the fewest that tensor cores multiply, or as many as its registers hold."""
    num_blocks: int
    """Programs that share the rows."""
    keys: int
    """At a time: a tile of keys and one of values, twice, must fit what programs share."""
    num_warps: int

    @classmethod
    def of(cls, shape: KvShape, extent: Extent) -> "_Tiling":
        groups = extent.num_query_heads // shape.num_heads
        num_rows = extent.num_tokens * groups
        rows = next((rows for rows in (16, 32) if num_rows <= rows), 64)
        keys = 64 if shape.head_dim <= 128 else 32
        return cls(groups, rows, -(-num_rows // rows), keys, num_warps=8 if rows == 64 else 4)


class KernelPages:
    """By Triton's kernels; all that they need is made beforehand."""

    def __init__(self, pool: PagePool, extent: Extent) -> None:
        shape, device = pool.shape, pool.shape.device
        assert not isinstance(shape.codec, Int4), "there is no kernel for it"
        self._kernels: Any = importlib.import_module("inference.triton_pages")
        self._map = PageMap(pool, extent.num_lines, extent.max_pages)
        self._extent, self._shape = extent, shape
        self._slab_tokens = pool.slab_pages * PAGE_TOKENS
        self._tiling = tiling = _Tiling.of(shape, extent)
        self._num_heads = extent.num_lines * shape.num_heads
        wanted = _num_programs(device) / (self._num_heads * tiling.num_blocks)
        self._num_parts = min(MAX_PARTS, math.ceil(wanted))
        self._num_rows = tiling.num_blocks * tiling.rows
        num_kept = self._num_heads * self._num_parts * self._num_rows
        new = partial(torch.empty, device=device)
        sizes = extent.num_lines, extent.num_tokens, extent.num_query_heads, shape.head_dim
        with torch.inference_mode(False):  # what was made in it can only be written to in it
            self._outputs = new((num_kept, shape.head_dim), dtype=torch.float32)
            self._weights = new((num_kept,), dtype=torch.float32)
            self._read = new(sizes, dtype=shape.dtype)

    def fill(self, tables: Sequence[PageTable]) -> None:
        """Tell the device."""
        self._map.fill(tables)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store a key and a value a program."""
        extent, shape = self._extent, self._shape
        self._check(keys, shape.num_heads)
        self._check(values, shape.num_heads)
        self._kernels.write[extent.num_lines * extent.num_tokens, shape.num_heads](
            self._map.bounds,
            self._map.addresses,
            keys,
            values,
            layer,
            *self._sizes,
            *keys.stride()[:3],
            *values.stride()[:3],
            **self._form,
            num_warps=1,
        )

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        """Read shares of the keys, and join what was read."""
        self._check(query, self._extent.num_query_heads)
        tiling = self._tiling
        self._kernels.attend[self._num_heads, self._num_parts, tiling.num_blocks](
            self._map.bounds,
            self._map.addresses,
            query,
            self._outputs,
            self._weights,
            layer,
            *self._sizes,
            scale,
            *query.stride()[:3],
            **self._form,
            GROUPS=tiling.groups,
            ROWS=tiling.rows,
            BLOCK=tiling.keys,
            DOT=self._kernels.NUMBERS[_multiplied(self._shape)],
            num_warps=tiling.num_warps,
            num_stages=2,
        )
        self._join()
        return self._read

    def _join(self) -> None:
        shape, tiling = self._shape, self._tiling
        num_rows = self._extent.num_tokens * tiling.groups
        strip = min(STRIP, shape.head_dim)
        self._kernels.join[self._num_heads, num_rows, shape.head_dim // strip](
            self._outputs,
            self._weights,
            self._read,
            self._extent.num_tokens,
            self._num_parts,
            self._num_rows,
            HEADS=shape.num_heads,
            GROUPS=tiling.groups,
            DIM=shape.head_dim,
            STRIP=strip,
            PARTS=_power_of_two(self._num_parts),
        )

    @property
    def _sizes(self) -> tuple[int, int, int]:
        """What kernels count by."""
        return self._extent.num_tokens, self._extent.max_pages, self._slab_tokens

    @property
    def _form(self) -> dict[str, Any]:
        """What kernels are compiled for."""
        shape = self._shape
        return {
            "HEADS": shape.num_heads,
            "DIM": shape.head_dim,
            "PAGE": PAGE_TOKENS,
            "QUANTIZED": shape.kind == "int8",
        }

    def _check(self, numbers: Tensor, num_heads: int) -> None:
        """See that a kernel would read what is there."""
        extent, shape = self._extent, self._shape
        sizes = extent.num_lines, num_heads, extent.num_tokens, shape.head_dim
        assert numbers.shape == sizes
        assert numbers.dtype == shape.dtype
        assert numbers.stride(3) == 1


def _num_programs(device: torch.device) -> int:
    """Return how many programs fill a device: two a core."""
    if device.type != "cuda":  # in Triton's interpreter, one after the other
        return 8
    return 2 * torch.cuda.get_device_properties(device).multi_processor_count


def _multiplied(shape: KvShape) -> torch.dtype:
    """Return the type of numbers that are multiplied; Triton's interpreter has no 16 bits."""
    return shape.dtype if shape.device.type == "cuda" else torch.float32


def _power_of_two(number: int) -> int:
    """Return the first power of two that is as large."""
    return 1 << (number - 1).bit_length()
