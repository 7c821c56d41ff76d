"""Lines write new keys and values to their pages and read all of them, in calls that repeat.

What changes from token to token is told once, by `fill`, before the layers run; `write` and
`attend` then get tensors that may always lie in the same places. `PlainPages` does it line by line,
by `pages.py` and `attention.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from inference.attention import KvPart, attend
from inference.pages import PageTable
from inference.slabs import PagePool


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
        self._tables = tables

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


def num_new(table: PageTable) -> int:
    """Tokens that a line has reserved places for."""
    return sum(run.num_tokens for run in table.reserved)
