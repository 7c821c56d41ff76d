"""Keys and values in pages of 256 tokens that many lines share; a page is copied on write.

One page holds its tokens' keys and values of *all* attention layers, because all of them read the
same tokens. Pages are cut from slabs, large tensors that are never moved, and a line that grows
takes the page behind its last one where that is free: what a line sees is a few long runs, which
attention reads in place (`attention.py`). Nothing here knows tokens or models; who shares what is
decided by `state.py`.
"""

import mmap
import threading
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

PAGE_TOKENS = 256
SLAB_PAGES = 64
"""16,384 tokens: a line of 262,144 is 16 runs."""


@dataclass(frozen=True)
class KvShape:
    """What one token adds: keys and values of L layers, Hkv heads of Dh numbers each."""

    num_layers: int
    num_heads: int
    head_dim: int
    dtype: torch.dtype
    device: torch.device

    @property
    def token_nbytes(self) -> int:
        """Bytes a token."""
        return 2 * self.num_layers * self.num_heads * self.head_dim * self.dtype.itemsize

    def sizes(self, num_tokens: int) -> tuple[int, ...]:
        """Of a tensor that holds `num_tokens`: [L, 2, Hkv, num_tokens, Dh]."""
        return self.num_layers, 2, self.num_heads, num_tokens, self.head_dim

    def empty(self, num_tokens: int) -> Tensor:
        """Room for `num_tokens`; nothing is written to it."""
        return torch.empty(self.sizes(num_tokens), dtype=self.dtype, device=self.device)


class Slab:
    """One tensor [L, 2, Hkv, tokens, Dh] and which of its pages are free."""

    def __init__(self, shape: KvShape, num_pages: int) -> None:
        num_tokens = num_pages * PAGE_TOKENS
        num_bytes = num_tokens * shape.token_nbytes
        self._memory: mmap.mmap | None = None
        with torch.inference_mode(False):  # what was made in it can only be written to in it
            if shape.device.type == "cpu" and num_bytes:
                self._memory = mmap.mmap(-1, num_bytes, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
                flat = torch.frombuffer(self._memory, dtype=shape.dtype)
                self.kv = flat.view(shape.sizes(num_tokens))
            else:
                self.kv = shape.empty(num_tokens)
        self.free = set(range(num_pages))

    def forget(self, index: int) -> None:
        """Give the memory of a page back to the system until somebody writes there again."""
        num_bytes = PAGE_TOKENS * self.kv.stride(3) * self.kv.itemsize  # of one head
        if self._memory is None or num_bytes % mmap.PAGESIZE:
            return
        step = self.kv.stride(2) * self.kv.itemsize
        for start in range(index * num_bytes, len(self._memory), step):
            self._memory.madvise(mmap.MADV_DONTNEED, start, num_bytes)

    def longest_gap(self) -> tuple[int, int]:
        """Return length and first page of the longest row of free pages."""
        best = (0, 0)
        length = 0
        for index in range(self.kv.shape[3] // PAGE_TOKENS):
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


class PagePool:
    """All pages of one model; makes slabs as they are needed and lets them go when empty."""

    def __init__(self, shape: KvShape, slab_pages: int = SLAB_PAGES) -> None:
        self.shape = shape
        self.slab_pages = slab_pages
        self._slabs: list[Slab] = []
        # Snapshots are let go in other threads too: by the one that writes them to disk.
        self._lock = threading.RLock()
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


@dataclass(frozen=True)
class Run:
    """Tokens that lie side by side in a slab."""

    slab: Slab
    first: int
    num_tokens: int

    @property
    def kv(self) -> Tensor:
        """A view of all layers, [L, 2, Hkv, num_tokens, Dh]."""
        return self.slab.kv[..., self.first : self.first + self.num_tokens, :]

    def layer(self, index: int) -> tuple[Tensor, Tensor]:
        """Keys and values of one attention layer, views [1, Hkv, num_tokens, Dh]."""
        kv = self.slab.kv[index, :, None, :, self.first : self.first + self.num_tokens]
        return kv[0], kv[1]


class PageTable:
    """The pages of one line, in order: what a state or a snapshot sees of the pool."""

    def __init__(self, pool: PagePool) -> None:
        self.pool = pool
        self.length = 0
        """Tokens that it sees."""
        self.past: list[Run] = []
        """Where they are."""
        self.reserved: list[Run] = []
        """The places behind them for the tokens that a forward is about to write."""
        self._pages: list[Page] = []

    def __del__(self) -> None:
        for page in self._pages:
            self.pool.release(page)

    def __len__(self) -> int:
        return self.length

    @property
    def pages(self) -> tuple[Page, ...]:
        """All of them, in order."""
        return tuple(self._pages)

    def share(self, length: int | None = None) -> "PageTable":
        """Return a second table of the same tokens, or of the first `length` of them."""
        other = PageTable(self.pool)
        other.length = self.length if length is None else length
        for page in self._pages[: _num_pages(other.length)]:
            other._hold(page)
        other.past = list(self.past) if length is None else other._runs(0, length)
        return other

    def reserve(self, num_new: int) -> None:
        """Make places for `num_new` tokens behind the last; `length` grows when they are written.

        A page that another line has written further, or sees as far as we do and further, is
        copied first.
        """
        end = self.length + num_new
        self._drop_behind(self.length)
        used = self.length % PAGE_TOKENS
        if used and num_new:
            last = self._pages[-1]
            if last.num_holders > 1 and last.filled > used:
                self._replace_last(used)
            self._pages[-1].filled = min(PAGE_TOKENS, used + num_new)
        while len(self._pages) * PAGE_TOKENS < end:
            page = self.pool.take(self._pages[-1] if self._pages else None)
            page.filled = min(PAGE_TOKENS, end - len(self._pages) * PAGE_TOKENS)
            self._hold(page)
        self.reserved = self._runs(self.length, end)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Put the new tokens, [1, Hkv, T, Dh] each, into the reserved places of one layer."""
        done = 0
        for run in self.reserved:
            stored_keys, stored_values = run.layer(layer)
            stored_keys.copy_(keys[:, :, done : done + run.num_tokens])
            stored_values.copy_(values[:, :, done : done + run.num_tokens])
            done += run.num_tokens
        assert done == keys.shape[2], "places are reserved before tokens are written"

    def commit(self) -> None:
        """See the reserved tokens too, now that every layer has written them."""
        self.length += sum(run.num_tokens for run in self.reserved)
        self.past = joined(self.past, self.reserved)
        self.reserved = []

    def truncate(self, length: int) -> None:
        """See the first `length` tokens only."""
        assert length <= self.length
        self.length = length
        self._drop_behind(length)
        self.past, self.reserved = self._runs(0, length), []

    def copy_out(self, start: int, end: int) -> Tensor:
        """Copy tokens to the CPU: [L, 2, Hkv, end - start, Dh]."""
        kv = self.pool.shape.empty(end - start).to("cpu")
        done = 0
        for run in self._runs(start, end):
            kv[..., done : done + run.num_tokens, :] = run.kv
            done += run.num_tokens
        return kv

    def append(self, kv: Tensor) -> None:
        """Add tokens from [L, 2, Hkv, T, Dh], on any device."""
        self.reserve(kv.shape[3])
        done = 0
        for run in self.reserved:
            run.kv.copy_(kv[..., done : done + run.num_tokens, :])
            done += run.num_tokens
        self.commit()

    def _runs(self, start: int, end: int) -> list[Run]:
        """The places of the tokens from `start` to `end`, reserved ones included."""
        runs: list[Run] = []
        while start < end:
            page, inside = self._pages[start // PAGE_TOKENS], start % PAGE_TOKENS
            num_tokens = min(PAGE_TOKENS - inside, end - start)
            runs.append(Run(page.slab, page.first + inside, num_tokens))
            start += num_tokens
        return joined([], runs)

    def _hold(self, page: Page) -> None:
        self.pool.hold(page)
        self._pages.append(page)

    def _drop_behind(self, length: int) -> None:
        """Let pages go that hold nothing of the first `length` tokens."""
        while len(self._pages) > _num_pages(length):
            self.pool.release(self._pages.pop())

    def _replace_last(self, used: int) -> None:
        """Put a copy in place of the last page, of which we see `used` tokens."""
        shared = self._pages.pop()
        page = self.pool.take(self._pages[-1] if self._pages else None)
        self._hold(page)
        source = Run(shared.slab, shared.first, used)
        Run(page.slab, page.first, used).kv.copy_(source.kv)
        self.pool.release(shared)
        self.past = self._runs(0, self.length)


def joined(first: Sequence[Run], second: Sequence[Run]) -> list[Run]:
    """Join two rows of runs; neighbours in one slab become one run."""
    runs = list(first)
    for run in second:
        last = runs[-1] if runs else None
        if last and last.slab is run.slab and last.first + last.num_tokens == run.first:
            runs[-1] = Run(last.slab, last.first, last.num_tokens + run.num_tokens)
        else:
            runs.append(run)
    return runs


def _num_pages(num_tokens: int) -> int:
    return -(-num_tokens // PAGE_TOKENS)
