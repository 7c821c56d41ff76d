"""Keys and values in pages of 256 tokens that many lines share; a page is copied on write.

One page holds its tokens' keys and values of *all* attention layers, because all of them read the
same tokens. Pages are cut from slabs (`slabs.py`), and a line that grows takes the page behind its
last one where that is free: what a line sees is a few long runs, which attention reads in place, or
decoded tile by tile (`attention.py`). How a number is stored is `kv_codec.py`; what is copied,
packed or put on disk is what was stored, bit by bit. Nothing here knows tokens or models; who
shares what is decided by `state.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.attention import KvPart
from inference.kv_codec import Stored
from inference.sizes import PAGE_TOKENS
from inference.slabs import Page, PagePool, Slab


@dataclass(frozen=True)
class Run:
    """Tokens that lie side by side in a slab."""

    slab: Slab
    first: int
    num_tokens: int

    @property
    def stored(self) -> Stored:
        """Views of all layers, [L, 2, Hkv, num_tokens, width]."""
        end = self.first + self.num_tokens
        return [stored[..., self.first : end, :] for stored in self.slab.fields]

    def layer(self, index: int) -> Stored:
        """Views of one attention layer, keys and then values: [2, Hkv, num_tokens, width]."""
        end = self.first + self.num_tokens
        return [stored[index, :, :, self.first : end] for stored in self.slab.fields]


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
        self.version = 0
        """Changes whenever its pages do."""
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

    def write(self, layer: int, keys: Tensor, values: Tensor) -> KvPart:
        """Put the new tokens, [1, Hkv, T, Dh] each, into the reserved places of one layer.

        Returns:
            Their keys and values as they will be read from now on.
        """
        codec = self.pool.shape.codec
        numbers = torch.cat((keys, values))
        stored = codec.encode(numbers)
        done = 0
        for run in self.reserved:
            _copy(_tokens(stored, done, done + run.num_tokens), run.layer(layer))
            done += run.num_tokens
        assert done == keys.shape[2], "places are reserved before tokens are written"
        own = codec.decode(stored, numbers)
        return own[:1], own[1:]

    def read(self, layer: int) -> Iterator[KvPart]:
        """Yield the keys and values that one layer has of its past, in order, part by part.

        Each part is good until the next is asked for.
        """
        codec, tile = self.pool.shape.codec, self.pool.tile
        for run in self.past:
            step = run.num_tokens if tile is None else tile.shape[2]
            for first in range(0, run.num_tokens, step):
                end = min(first + step, run.num_tokens)
                stored = _tokens(run.layer(layer), first, end)
                numbers = stored[0]
                if tile is not None:
                    numbers = codec.decode(stored, tile[:, :, : end - first])
                yield numbers[:1], numbers[1:]

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
        """Copy tokens to the CPU, packed: [L, 2, Hkv, end - start, width]."""
        shape = self.pool.shape
        packed = shape.empty(end - start)
        done = 0
        for run in self._runs(start, end):
            _copy(run.stored, _tokens(shape.unpacked(packed), done, done + run.num_tokens))
            done += run.num_tokens
        return packed

    def append(self, packed: Tensor) -> None:
        """Add tokens as `copy_out` returned them, on any device."""
        stored = self.pool.shape.unpacked(packed)
        self.reserve(packed.shape[3])
        done = 0
        for run in self.reserved:
            _copy(_tokens(stored, done, done + run.num_tokens), run.stored)
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
        self.version += 1

    def _drop_behind(self, length: int) -> None:
        """Let pages go that hold nothing of the first `length` tokens."""
        while len(self._pages) > _num_pages(length):
            self.pool.release(self._pages.pop())
            self.version += 1

    def _replace_last(self, used: int) -> None:
        """Put a copy in place of the last page, of which we see `used` tokens."""
        shared = self._pages.pop()
        page = self.pool.take(self._pages[-1] if self._pages else None)
        self._hold(page)
        source = Run(shared.slab, shared.first, used)
        _copy(source.stored, Run(page.slab, page.first, used).stored)
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


def _tokens(stored: Stored, start: int, end: int) -> Stored:
    """The tokens from `start` to `end` of [..., T, width] each."""
    return [part[..., start:end, :] for part in stored]


def _copy(source: Stored, target: Stored) -> None:
    for read, written in zip(source, target, strict=True):
        written.copy_(read)
