"""The memory of pages: slabs, large tensors that are never moved, and who holds which page of them.

Nothing here knows a line of tokens; that is `pages.py`. On a CPU what no page needs goes back to
the system.
"""

import math
import mmap
import threading
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from inference.kv_codec import KvShape
from inference.sizes import PAGE_TOKENS

SLAB_PAGES = 64
"""16,384 tokens: a line of 262,144 is 16 runs."""


class Slab:
    """A tensor [L, 2, Hkv, tokens, width] for each field, and which of its pages are free."""

    def __init__(self, shape: KvShape, num_pages: int) -> None:
        num_tokens = num_pages * PAGE_TOKENS
        self._rooms = [
            _room(shape.sizes(num_tokens, width), dtype, shape.device)
            for dtype, width in shape.codec.fields
        ]
        self.fields = [stored for stored, _ in self._rooms]
        self.num_pages = num_pages
        self.free = set(range(num_pages))

    def forget(self, index: int) -> None:
        """Give the memory of a page back to the system until somebody writes there again.

        Not that of its scales: what one head has of them is less than a page of the system.
        """
        for stored, memory in self._rooms:
            num_bytes = PAGE_TOKENS * stored.stride(3) * stored.itemsize  # of one head
            if memory is None or num_bytes % mmap.PAGESIZE:
                continue
            step = stored.stride(2) * stored.itemsize
            for start in range(index * num_bytes, len(memory), step):
                memory.madvise(mmap.MADV_DONTNEED, start, num_bytes)

    def longest_gap(self) -> tuple[int, int]:
        """Return length and first page of the longest row of free pages."""
        best = (0, 0)
        length = 0
        for index in range(self.num_pages):
            length = length + 1 if index in self.free else 0
            best = max(best, (length, index - length + 1), key=lambda gap: gap[0])
        return best


@dataclass(eq=False)
class Page:
    """Places for 256 tokens in a slab."""

    slab: Slab
    index: int
    filled: int = 0
    """How many of them some line has written: nobody may write these while another holds it."""
    num_holders: int = 0

    @property
    def first(self) -> int:
        """Where it begins in its slab, in tokens."""
        return self.index * PAGE_TOKENS

    @cached_property
    def addresses(self) -> list[int]:
        """Of its first token in each field of the slab: of layer 0, keys, head 0."""
        return [
            stored.data_ptr() + self.first * stored.stride(3) * stored.itemsize
            for stored in self.slab.fields
        ]


class PagePool:
    """All pages of one model; makes slabs as they are needed and lets them go when empty."""

    def __init__(self, shape: KvShape, slab_pages: int = SLAB_PAGES) -> None:
        self.shape = shape
        self.slab_pages = slab_pages
        self._slabs: list[Slab] = []
        # Snapshots are let go in other threads too: by the one that writes them to disk.
        self._lock = threading.RLock()
        self._tile: Tensor | None = None
        self.num_pages = 0
        """Pages that some line holds."""

    @property
    def page_nbytes(self) -> int:
        """Bytes of one page."""
        return PAGE_TOKENS * self.shape.token_nbytes

    @property
    def nbytes(self) -> int:
        """Bytes of the pages that are held; the system has the memory of the others."""
        return self.num_pages * self.page_nbytes

    @property
    def tile(self) -> Tensor | None:
        """Room [2, Hkv, tokens, Dh] for numbers that are decoded; None where none are.

        One for all lines: what is in it is read before the next tile is decoded.
        """
        shape, nbytes = self.shape, self.shape.codec.tile_nbytes
        if self._tile is None and nbytes is not None:
            token_nbytes = 2 * shape.num_heads * shape.head_dim * shape.dtype.itemsize
            sizes = 2, shape.num_heads, max(1, nbytes // token_nbytes), shape.head_dim
            with torch.inference_mode(False):
                self._tile = torch.empty(sizes, dtype=shape.dtype, device=shape.device)
        return self._tile

    def take(self, behind: Page | None) -> Page:
        """Return a page nobody holds, if possible the one behind `behind`."""
        with self._lock:
            self.num_pages += 1
            if behind is not None and behind.index + 1 in behind.slab.free:
                behind.slab.free.discard(behind.index + 1)
                return Page(behind.slab, behind.index + 1)
            gaps = [(*slab.longest_gap(), slab) for slab in self._slabs]
            length, index, slab = max(gaps, key=lambda gap: gap[0], default=(0, 0, None))
            if slab is None or not length:
                slab, index = Slab(self.shape, self.slab_pages), 0
                self._slabs.append(slab)
            slab.free.discard(index)
            return Page(slab, index)

    def hold(self, page: Page) -> None:
        """Count one more line that sees this page."""
        with self._lock:
            page.num_holders += 1

    def release(self, page: Page) -> None:
        """Count one line less; without any, the page is free."""
        with self._lock:
            page.num_holders -= 1
            if page.num_holders:
                return
            self.num_pages -= 1
            slab = page.slab
            slab.forget(page.index)
            slab.free.add(page.index)
            if len(slab.free) == self.slab_pages and len(self._slabs) > 1:
                self._slabs.remove(slab)


def _room(
    size: tuple[int, ...], dtype: torch.dtype, device: torch.device
) -> tuple[Tensor, mmap.mmap | None]:
    """Make a tensor that anybody may write to, and on a CPU the memory that it lies in."""
    num_bytes = math.prod(size) * dtype.itemsize
    with torch.inference_mode(False):  # what was made in it can only be written to in it
        if device.type != "cpu" or not num_bytes:
            return torch.empty(size, dtype=dtype, device=device), None
        memory = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return torch.frombuffer(memory, dtype=dtype).view(size), memory
