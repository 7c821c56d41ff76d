"""Which files fit, in which form and order, so that a change costs as little reading as possible.

The model reads a context from the first place where it differs from what it has read before. So
what has not changed for long comes first, and what was chosen once stays where it is:

1. Of the blocks chosen last time, all before the first that is gone or reads otherwise now are kept
   as they are. Nothing that happens to another file moves or cuts them.
2. The files left are chosen anew, in the room that is left. If all of them fit, all are whole.
   Otherwise those come first that say most about the code, and among equals the last changed:
   whole ones take three quarters of the room, outlines the rest, whole ones what remains.
3. What is chosen is put after what is kept, least recently changed first.

It opens no file and counts no token itself.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal

Form = Literal["whole", "outline"]

NUM_MISSES = 64
"""After so many files in a row that do not fit, the others are not tried."""
WHOLE_QUARTERS = 3
"""Of the room, for whole files."""


@dataclass(frozen=True)
class Candidate:
    """A file that may be packed."""

    path: str
    changed_s: float
    """When it last changed, in seconds since 1970; infinite for what is not committed."""
    rank: int = 0
    """0 is chosen before 1."""


@dataclass(frozen=True)
class Block:
    """A file as the model reads it."""

    path: str
    form: Form
    text: str
    num_tokens: int

    @property
    def entry(self) -> "Entry":
        """What is remembered of it."""
        return Entry(self.path, self.form, sha256(self.text.encode("utf-8", "replace")).hexdigest())


@dataclass(frozen=True)
class Entry:
    """A block that was chosen, for the next time."""

    path: str
    form: Form
    digest: str


MakeBlock = Callable[[str, Form], Block | None]
"""Gives the block of a path in a form; None if it has no such form, or is not to be shown."""


def choose(
    candidates: Sequence[Candidate],
    make_block: MakeBlock,
    room: int,
    before: Sequence[Entry] = (),
) -> tuple[Block, ...]:
    """Return the blocks to pack, in order; together they have at most `room` tokens.

    Chosen again with `before` from the result and nothing changed, the result is the same.
    """
    kept = _kept({candidate.path for candidate in candidates}, make_block, room, before)
    taken = {block.path for block in kept}
    left = [candidate for candidate in candidates if candidate.path not in taken]
    left.sort(key=lambda candidate: (candidate.rank, -candidate.changed_s, candidate.path))
    room -= sum(block.num_tokens for block in kept)
    if room <= 0:
        return tuple(kept)
    chosen: dict[str, Block] = {}
    # Until nothing more fits: what is chosen the next time must not depend on how often we ask.
    while more := _all_whole(left, make_block, room) or _some(left, make_block, room):
        chosen |= {block.path: block for block in more}
        left = [candidate for candidate in left if candidate.path not in chosen]
        room -= sum(block.num_tokens for block in more)
    order = sorted(candidates, key=lambda candidate: (candidate.changed_s, candidate.path))
    return (*kept, *(chosen[c.path] for c in order if c.path in chosen))


def _kept(
    paths: set[str], make_block: MakeBlock, room: int, before: Sequence[Entry]
) -> list[Block]:
    """Return the blocks of last time that stand before the first change."""
    kept: list[Block] = []
    for entry in before:
        block = make_block(entry.path, entry.form) if entry.path in paths else None
        if block is None or block.entry != entry or block.num_tokens > room:
            break
        kept.append(block)
        room -= block.num_tokens
    return kept


def _all_whole(left: Sequence[Candidate], make_block: MakeBlock, room: int) -> list[Block]:
    """Return all files whole; none if they do not fit together."""
    blocks: list[Block] = []
    for candidate in left:
        if (block := make_block(candidate.path, "whole")) is None:
            continue
        room -= block.num_tokens
        if room < 0:
            return []
        blocks.append(block)
    return blocks


def _some(left: Sequence[Candidate], make_block: MakeBlock, room: int) -> list[Block]:
    """Return what fits: whole files in most of the room, outlines of others in the rest.

    Whole files in all of it, if that gives nothing.
    """
    whole = _fill(left, make_block, "whole", room * WHOLE_QUARTERS // 4)
    taken = {block.path for block in whole}
    others = [candidate for candidate in left if candidate.path not in taken]
    room -= sum(block.num_tokens for block in whole)
    some = whole + _fill(others, make_block, "outline", room)
    return some or _fill(left, make_block, "whole", room)


def _fill(left: Sequence[Candidate], make_block: MakeBlock, form: Form, room: int) -> list[Block]:
    """Take the files that fit, one after the other."""
    blocks: list[Block] = []
    num_misses = 0
    for candidate in left:
        if num_misses >= NUM_MISSES:
            break
        if (block := make_block(candidate.path, form)) is None:
            continue
        if block.num_tokens > room:
            num_misses += 1
            continue
        num_misses = 0
        blocks.append(block)
        room -= block.num_tokens
    return blocks
