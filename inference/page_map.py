"""Where the pages of several lines lie and how long these are, in memory that is never moved.

A kernel reads from it what changes from token to token; what it was launched with stays the same.
As a rule a token changes the lengths only, and a page is added every 256 tokens: what is as it was
is not copied again.
"""

from collections.abc import Sequence
from functools import partial
from weakref import ref

import torch
from torch import Tensor

from inference.pages import PageTable
from inference.slabs import PagePool


class PageMap:
    """Bounds and addresses of up to B lines of one pool, on its device.

    It holds no page: whoever runs kernels holds the tables for as long as these run, and what is
    here of lines that have ended is never read.
    """

    def __init__(self, pool: PagePool, num_lines: int, max_pages: int) -> None:
        num_fields = len(pool.shape.codec.fields)
        device = pool.shape.device
        is_cuda = device.type == "cuda"
        bounds, addresses = (num_lines, 2), (num_lines, max_pages, num_fields)
        new = partial(torch.zeros, dtype=torch.int64)
        with torch.inference_mode(False):  # what was made in it can only be written to in it
            self.bounds = new(bounds, device=device)
            """Of each line: its tokens before the new ones, and with them."""
            self.addresses = new(addresses, device=device)
            """Of each page's first token in each field of its slab: of layer 0, keys, head 0."""
            self._bounds = new(bounds, pin_memory=is_cuda)
            self._addresses = new(addresses, pin_memory=is_cuda)
        self._named: list[tuple[ref[PageTable], int] | None] = [None] * num_lines
        """Of each line: the table that was named last, and its version."""
        self._copied = torch.cuda.Event() if is_cuda else None  # type: ignore[no-untyped-call]

    def fill(self, tables: Sequence[PageTable]) -> None:
        """Name the pages of these lines, places for new tokens included; no others are known.

        Copies are made on the stream on which what reads them is run.
        """
        num_lines, max_pages, _ = self.addresses.shape
        assert len(tables) <= num_lines
        assert all(len(table.pages) <= max_pages for table in tables)
        if self._copied is not None:
            self._copied.synchronize()  # has left the host long since, as a rule
        bounds = [_bounds(table) for table in tables] + [(0, 0)] * (num_lines - len(tables))
        self._bounds.copy_(torch.tensor(bounds))
        self._send(self._bounds, self.bounds)
        for line, table in enumerate(tables):
            self._name(line, table)
        if self._copied is not None:
            self._copied.record()

    def _name(self, line: int, table: PageTable) -> None:
        """Copy the addresses of a line, unless they are there."""
        named = self._named[line]
        if named is not None and named[0]() is table and named[1] == table.version:
            return
        self._named[line] = ref(table), table.version
        changed = line, slice(len(table.pages))
        self._addresses[changed].copy_(torch.tensor([page.addresses for page in table.pages]))
        self._send(self._addresses[changed], self.addresses[changed])

    def _send(self, source: Tensor, target: Tensor) -> None:
        target.copy_(source, non_blocking=True)


def _bounds(table: PageTable) -> tuple[int, int]:
    return len(table), len(table) + num_new(table)


def num_new(table: PageTable) -> int:
    """Return for how many tokens a line has reserved places."""
    return sum(run.num_tokens for run in table.reserved)
