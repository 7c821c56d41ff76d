"""Snapshots by the tokens they have read: the longest one that a prompt starts with.

A radix tree over token ids; a node may carry a snapshot (SGLang's tree, with the admission and
eviction ideas of Marconi, arXiv:2411.19379: a state is all or nothing, so what counts is the work
it saves for the bytes it holds). In memory only.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Optional

from inference.state import Snapshot


@dataclass(eq=False)
class _Node:
    """The tokens `edge` after those of `parent`."""

    edge: tuple[int, ...]
    parent: Optional["_Node"]
    children: dict[int, "_Node"] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    last_used: int = 0


class PrefixCache:
    """Keeps snapshots within `budget_bytes`."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._root = _Node(edge=(), parent=None)
        self._clock = 0

    def __len__(self) -> int:
        return sum(1 for _ in self._holders())

    @property
    def nbytes(self) -> int:
        """Bytes that the snapshots keep alive: their states, and every shared buffer once."""
        snapshots = [node.snapshot for node in self._holders() if node.snapshot is not None]
        buffers = {id(buffer): buffer.nbytes for s in snapshots for buffer in s.buffers}
        return sum(snapshot.state_nbytes for snapshot in snapshots) + sum(buffers.values())

    def longest(self, tokens: Sequence[int]) -> Snapshot | None:
        """Return the longest snapshot that `tokens` starts with and that leaves a token to run."""
        tokens = tuple(tokens)
        best: _Node | None = None
        for node, end in self._walk(tokens):
            if node.snapshot is not None and end < len(tokens):
                best = node
        if best is None:
            return None
        self._touch(best)
        return best.snapshot

    def insert(self, snapshot: Snapshot) -> None:
        """Keep a snapshot, and let others go if the budget asks for it; this one last."""
        if not snapshot.tokens:
            return
        node = self._node_at(snapshot.tokens)
        if node.snapshot is None:
            node.snapshot = snapshot
        self._touch(node)
        while self.nbytes > self.budget_bytes:
            self._drop(self._worst(spared=node))

    def _touch(self, node: _Node) -> None:
        self._clock += 1
        node.last_used = self._clock

    def _walk(self, tokens: tuple[int, ...]) -> Iterator[tuple[_Node, int]]:
        """Yield the nodes that lie wholly on `tokens`, with the length they reach."""
        node, end = self._root, 0
        while (child := node.children.get(tokens[end]) if end < len(tokens) else None) is not None:
            if tokens[end : end + len(child.edge)] != child.edge:
                return
            node, end = child, end + len(child.edge)
            yield node, end

    def _node_at(self, tokens: tuple[int, ...]) -> _Node:
        """Return the node that ends exactly at `tokens`, made if need be."""
        node, end = self._root, 0
        for node, end in self._walk(tokens):  # noqa: B007  the last one is wanted
            pass
        rest = tokens[end:]
        if not rest:
            return node
        child = node.children.get(rest[0])
        if child is None:
            return self._add(node, rest)
        common = _num_common(child.edge, rest)
        middle = self._split(child, common)
        return middle if common == len(rest) else self._add(middle, rest[common:])

    def _add(self, parent: _Node, edge: tuple[int, ...]) -> _Node:
        parent.children[edge[0]] = _Node(edge=edge, parent=parent)
        return parent.children[edge[0]]

    def _split(self, node: _Node, length: int) -> _Node:
        """Put a node into the edge of `node` after `length` tokens."""
        assert node.parent is not None
        middle = self._add(node.parent, node.edge[:length])
        node.edge, node.parent = node.edge[length:], middle
        middle.children[node.edge[0]] = node
        return middle

    def _holders(self) -> Iterator[_Node]:
        """All nodes with a snapshot."""
        stack = [self._root]
        while stack:
            node = stack.pop()
            stack.extend(node.children.values())
            if node.snapshot is not None:
                yield node

    def _worst(self, spared: _Node) -> _Node:
        """The one that saves the fewest tokens a byte; of equals the longest unused."""
        holders = list(self._holders())
        num_users = Counter(id(b) for n in holders if n.snapshot for b in n.snapshot.buffers)

        def worth(node: _Node) -> tuple[float, int]:
            assert node.snapshot is not None
            freed = node.snapshot.state_nbytes + sum(
                buffer.nbytes for buffer in node.snapshot.buffers if num_users[id(buffer)] == 1
            )
            saved = len(node.snapshot) - _length_of_fallback(node)
            return saved / max(freed, 1), node.last_used

        return min((node for node in holders if node is not spared), key=worth, default=spared)

    def _drop(self, node: _Node) -> None:
        """Forget a snapshot, and the nodes that then carry nothing."""
        node.snapshot = None
        while node.snapshot is None and node.parent is not None and len(node.children) < 2:
            parent = node.parent
            if not node.children:
                del parent.children[node.edge[0]]
            else:
                (child,) = node.children.values()
                child.edge, child.parent = node.edge + child.edge, parent
                parent.children[child.edge[0]] = child
            node = parent


def _length_of_fallback(node: _Node) -> int:
    """The length of the nearest shorter snapshot on the same line, 0 if there is none."""
    above = node.parent
    while above is not None and above.snapshot is None:
        above = above.parent
    return len(above.snapshot) if above is not None and above.snapshot is not None else 0


def _num_common(left: tuple[int, ...], right: tuple[int, ...]) -> int:
    """How many tokens two sequences share at their front."""
    for i, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return i
    return min(len(left), len(right))
