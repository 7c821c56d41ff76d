"""Where the pages of several lines lie and how long these are, in memory that is never moved.

A kernel reads from it what changes from token to token; what it was launched with stays the same.
As a rule a token changes the lengths only, and a page is added every 256 tokens: what is as it was
is not copied again.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from inference.pages import PageTable
from inference.slabs import Page, PagePool


class PageMap:
    """Bounds and addresses of up to B lines of one pool, on its device.

    The pages that were named last are kept, and with them the memory of their slabs: an address
    may be out of date, but it is never one of nothing. That nobody else writes there is up to who
    holds the tables.
    """

    def __init__(self, pool: PagePool, num_lines: int, max_pages: int) -> None:
        num_fields = len(pool.shape.codec.fields)
        device = pool.shape.device
        sizes = 2 * num_lines, num_lines * max_pages * num_fields
        with torch.inference_mode(False):  # what was made in it can only be written to in it
            on_device = torch.zeros(sum(sizes), dtype=torch.int64, device=device)
            on_host = torch.zeros(sum(sizes), dtype=torch.int64, pin_memory=device.type == "cuda")
        self.bounds, addresses = on_device.split(sizes)
        """[B, 2], flat: tokens before the new ones, and with them."""
        self.addresses = addresses.view(num_lines, max_pages, num_fields)
        """Of each page's first token in each field of its slab: of layer 0, keys, head 0."""
        self._bounds, addresses = on_host.split(sizes)
        self._addresses = addresses.view(num_lines, max_pages, num_fields)
        self._pages: list[tuple[Page, ...]] = [()] * num_lines
        self._copied = torch.cuda.Event() if device.type == "cuda" else None

    def fill(self, tables: Sequence[PageTable]) -> None:
        """Name the pages of these lines, places for new tokens included; no others are known."""
        if self._copied is not None:
            self._copied.synchronize()  # has left the host long since, as a rule
        bounds = [bound for table in tables for bound in _bounds(table)]
        bounds += [0] * (len(self.bounds) - len(bounds))
        self._bounds.copy_(torch.tensor(bounds))
        self._send(self._bounds, self.bounds)
        for line, table in enumerate(tables):
            self._name(line, table.pages)
        self._pages[len(tables) :] = [()] * (len(self._pages) - len(tables))
        if self._copied is not None:
            self._copied.record()

    def _name(self, line: int, pages: tuple[Page, ...]) -> None:
        """Copy the addresses of a line from the first page on that is another one."""
        before, self._pages[line] = self._pages[line], pages
        if pages == before:
            return
        pairs = zip(pages, before, strict=False)
        shorter = min(len(pages), len(before))
        first = next((i for i, (page, other) in enumerate(pairs) if page is not other), shorter)
        if first == len(pages):
            return
        rows = [_addresses(page) for page in pages[first:]]
        changed = line, slice(first, len(pages))
        self._addresses[changed].copy_(torch.tensor(rows))
        self._send(self._addresses[changed], self.addresses[changed])

    def _send(self, source: Tensor, target: Tensor) -> None:
        target.copy_(source, non_blocking=True)


def _bounds(table: PageTable) -> tuple[int, int]:
    return len(table), len(table) + num_new(table)


def num_new(table: PageTable) -> int:
    """Return for how many tokens a line has reserved places."""
    return sum(run.num_tokens for run in table.reserved)


def _addresses(page: Page) -> list[int]:
    return [
        stored.data_ptr() + page.first * stored.stride(3) * stored.itemsize
        for stored in page.slab.fields
    ]
