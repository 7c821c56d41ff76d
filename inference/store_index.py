"""Which stored nodes are there, and which go first when there is no room; removes nothing itself.

A node is worth the tokens that would have to be read again without it, for the bytes it holds; a
day unused halves that. First of all goes what is stranded: what cannot be read, what nobody can
reach from the root, and ends of lines without a state, from which nobody can go on. A node that
others build on can lose only its states; it goes when the last of those has gone.
"""

import errno
import heapq
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from inference.errors import DamagedState
from inference.packed import ROOT
from inference.store_file import Head, read_head
from inference.store_folder import SUFFIX, nodes_in
from inference.whole_files import opened, regular

PASSING_ERRORS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""They say nothing about the file, which must not be evicted for them."""
HALF_LIFE_S = 86_400.0
MIDDLE_WORTH = 1 / 16
"""Of a state in the middle of one line: only a rewind needs it, not the next turn."""


@dataclass(frozen=True)
class Found:
    """A file of the store; `head` is None where it cannot be read."""

    path: Path
    inode: int
    nbytes: int
    last_used: float
    head: Head | None


@dataclass(frozen=True)
class Eviction:
    """Remove a file, or only the states in it."""

    found: Found
    whole: bool


def scan(folder: Path, known: dict[Path, Found]) -> Iterator[Found]:
    """Yield what lies in one model's folder; heads of the files in `known` are not read again.

    Raises:
        OSError: for now nothing can be read.
    """
    for path in nodes_in(folder):
        status = regular(path)
        if status is None:  # another process was faster
            continue
        before = known.get(path)
        if before and (before.inode, before.nbytes) == (status.st_ino, status.st_size):
            head = before.head
        else:
            head = _head_of(path)
        yield Found(path, status.st_ino, status.st_size, status.st_mtime, head)


def first_to_go(
    found: Iterable[Found], now: float, spared: Collection[Path] = ()
) -> Iterator[Eviction]:
    """Yield everything that may go, what is worth least first; `spared` stay as they are.

    Whoever does not carry out a removal must stop there: what follows builds on it.
    """
    tree = _Tree(found, now, spared)
    yield from tree.stranded()
    yield from tree.by_worth()


@dataclass(eq=False)
class _Node:
    """A node that can be reached, with what has not yet gone below it."""

    found: Found
    num_tokens: int
    parent: Optional["_Node"]
    has_state: bool
    num_children: int = 0
    gone: bool = field(default=False)

    @property
    def is_end(self) -> bool:
        return self.num_children == 0


class _Tree:
    def __init__(self, found: Iterable[Found], now: float, spared: Collection[Path]) -> None:
        self._now, self._spared = now, spared
        self._all = list(found)
        self._nodes: dict[Path, _Node] = {}
        for one in sorted(self._all, key=_num_tokens):
            self._add(one)

    def _add(self, found: Found) -> None:
        head, path = found.head, found.path
        if head is None:
            return
        parent = self._nodes.get(path.with_name(head.parent + SUFFIX))
        if (parent.num_tokens if parent else 0) != head.num_before:
            return
        if parent is None and head.parent != ROOT:
            return
        self._nodes[path] = _Node(found, head.num_tokens, parent, head.has_state)
        if parent is not None:
            parent.num_children += 1

    def stranded(self) -> Iterator[Eviction]:
        """What helps nobody, ends before what they build on."""
        lost = [one for one in self._all if one.path not in self._nodes]
        for found in sorted(lost, key=_num_tokens, reverse=True):
            if found.path not in self._spared:
                yield Eviction(found, whole=True)
        for node in reversed(self._nodes.values()):
            yield from self._prune_end(node)

    def by_worth(self) -> Iterator[Eviction]:
        """The rest; worth is counted anew when a node's turn comes, since it rises as others go."""
        heap = [(self._worth(node), i, node) for i, node in enumerate(self._nodes.values())]
        heapq.heapify(heap)
        num_pushed = len(heap)
        while heap:
            worth, _, node = heapq.heappop(heap)
            if node.gone or not node.has_state or node.found.path in self._spared:
                continue
            num_pushed += 1
            if (worth_now := self._worth(node)) > worth:
                heapq.heappush(heap, (worth_now, num_pushed, node))
                continue
            if not node.is_end:
                node.has_state = False
                yield Eviction(node.found, whole=False)
                continue
            node.has_state = False
            yield from self._prune_end(node)
            if (above := _nearest_left(node)) is not None:
                heapq.heappush(heap, (self._worth(above), num_pushed, above))

    def _prune_end(self, node: _Node) -> Iterator[Eviction]:
        """Remove an end without a state, and what then is one."""
        above: _Node | None = node
        while above is not None and above.is_end and not above.has_state and not above.gone:
            if above.found.path in self._spared:
                return
            above.gone = True
            yield Eviction(above.found, whole=True)
            above = above.parent
            if above is not None:
                above.num_children -= 1

    def _worth(self, node: _Node) -> float:
        """How much is saved by a byte of what would go with this node, as a logarithm."""
        above = node.parent
        freed = node.found.nbytes if node.is_end else _state_nbytes(node.found)
        while above is not None and not above.has_state:
            if node.is_end and above.num_children == 1:
                freed += above.found.nbytes
            above = above.parent
        saved = float(node.num_tokens - (above.num_tokens if above else 0))
        if node.num_children == 1:
            saved *= MIDDLE_WORTH
        age_s = max(0.0, self._now - node.found.last_used)
        return math.log2(max(saved, MIDDLE_WORTH) / max(freed, 1)) - age_s / HALF_LIFE_S


def _nearest_left(node: _Node) -> _Node | None:
    above = node.parent
    while above is not None and above.gone:
        above = above.parent
    return above


def _num_tokens(found: Found) -> int:
    return found.head.num_tokens if found.head else 0


def _state_nbytes(found: Found) -> int:
    return found.head.state_nbytes if found.head else 0


def _head_of(path: Path) -> Head | None:
    """Read a head; None where the file is to blame that it cannot be read."""
    try:
        with opened(path) as fd:
            return read_head(fd, path)
    except DamagedState:
        return None
    except OSError as error:
        if error.errno in PASSING_ERRORS:
            raise
        return None
