"""Kernels for pages are used only where they answer as plain torch does.

Their trial (`trial.py`) is when a model's first line is read, once for each way in which keys can
be stored. Not run on a GPU yet (docs/bench/gpu.md).
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib.util import find_spec

import torch
from torch import Tensor

from inference.kv_codec import KvShape
from inference.page_kernels import Extent, KernelPages, Pages, PlainPages
from inference.pages import PageTable
from inference.slabs import PagePool
from inference.trial import passes

LENGTHS = (0, 1, 255, 256, 257)
"""Of the lines that are asked about: where pages begin and end."""
NUM_TOKENS = (1, 16)
"""New ones of each line; many of them are many rows, which are compiled otherwise."""
NUM_LAYERS = 2
TOLERANCE = 0.02
"""How far an answer may be from the known one, as a share of its length; bfloat16 gives 0.005."""

Maker = Callable[[PagePool, Extent], Pages]
"""Makes pages for lines of a pool."""


@cache
def kernels_for(shape: KvShape, num_query_heads: int) -> Maker | None:
    """Return what uses kernels for such pages; None where plain torch is all there is."""
    if shape.device.type != "cuda" or find_spec("triton") is None:
        return None
    dim = shape.head_dim
    if shape.kind == "int4" or dim < 16 or dim & (dim - 1):  # what tiles cannot be made of
        return None
    return KernelPages if is_good(KernelPages, shape, num_query_heads) else None


def is_good(make: Maker, shape: KvShape, num_query_heads: int) -> bool:
    """Say whether what is made stores and reads as `PlainPages` does."""
    errors = (_error(make, shape, num_query_heads, num_tokens) for num_tokens in NUM_TOKENS)
    return passes("The kernel for keys and values", errors, TOLERANCE)


def _error(make: Maker, shape: KvShape, num_query_heads: int, num_tokens: int) -> float:
    """Return how far what is read is from what plain torch reads; infinity if storing differs."""
    found, stored = _answer(make, shape, num_query_heads, num_tokens)
    known, expected = _answer(PlainPages, shape, num_query_heads, num_tokens)
    if not all(map(torch.equal, stored, expected)):
        return math.inf
    return float((found - known).norm() / known.norm())


def _answer(
    make: Maker, shape: KvShape, num_query_heads: int, num_tokens: int
) -> tuple[Tensor, list[Tensor]]:
    """Let drawn tokens be stored and read; return what was read, and all that is stored."""
    random = torch.Generator().manual_seed(num_tokens)
    pool = PagePool(replace(shape, num_layers=NUM_LAYERS), slab_pages=1)  # each page in its own
    pages = make(pool, Extent(len(LENGTHS), num_tokens, 2, num_query_heads))

    def drawn(*sizes: int) -> Tensor:
        numbers = torch.randn(*sizes, shape.head_dim, generator=random)
        return numbers.to(shape.device, shape.dtype)

    tables = [PageTable(pool) for _ in LENGTHS]
    for table, length in zip(tables, LENGTHS, strict=True):
        table.reserve(length)
        for layer in range(NUM_LAYERS):
            table.write(layer, *(drawn(1, shape.num_heads, length) for _ in "kv"))
        table.commit()
        table.reserve(num_tokens)
    pages.fill(tables)
    read = []
    for layer in range(NUM_LAYERS):
        pages.write(layer, *(drawn(len(tables), shape.num_heads, num_tokens) for _ in "kv"))
        query = drawn(len(tables), num_query_heads, num_tokens)
        seen = pages.attend(layer, query, shape.head_dim**-0.5)
        read.append(seen.to(torch.float32, copy=True))
    for table in tables:
        table.commit()
    return torch.stack(read), [table.copy_out(0, len(table)) for table in tables]
