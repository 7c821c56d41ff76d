"""Snapshots by the tokens they have read: the longest one that a prompt starts with.

A radix tree over token ids; a node may carry a snapshot (SGLang's tree, with the admission and
eviction ideas of Marconi, arXiv:2411.19379: a state is all or nothing, so what counts is the work
it saves for the bytes it holds). A node's state is on the device, or on a shelf below it
(`shelf.py`: RAM beside a GPU, files), or on several. Nothing here runs a model.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Optional

from inference.door import FINE_LADDER_TOKENS, FINE_TOKENS, LADDER_TOKENS
from inference.pages import PageTable
from inference.prefix import num_common
from inference.slabs import Page
from inference.state import Snapshot

FAR_TOKENS = 32_768
"""Where reading a token costs about twice what it costs at the start: attention grows."""

NEAR_TOKENS = FINE_TOKENS + FINE_LADDER_TOKENS
"""So far from the end of a line its rungs are kept: the one before a cut at `FINE_TOKENS` too."""

SHELVED_SHARE = 0.05
"""What a state on the device is worth where a shelf has it too: loading is that much cheaper than
reading again."""

Kind = Literal["place", "rung", "stop"]
"""Why a snapshot was taken. A place is one that a conversation comes back to; a rung of the ladder
is where a prompt may leave a line between two places; a stop lies inside a reply, where somebody
was interrupted or a tool call begins, of little use once the line has gone on. What is more than
one is the last of these in `KIND_ORDER`."""
KIND_ORDER: tuple[Kind, ...] = ("stop", "rung", "place")


@dataclass(eq=False)
class Node:
    """The tokens `edge` after those of `parent`; `length` counts all from the root."""

    edge: tuple[int, ...]
    length: int
    parent: Optional["Node"]
    children: dict[int, "Node"] = field(default_factory=dict)
    snapshot: Snapshot | None = None
    kind: Kind = "place"
    is_shelved: bool = False
    """A shelf has the state of this node."""
    last_used: int = 0

    @property
    def tokens(self) -> tuple[int, ...]:
        """All tokens from the root."""
        edges = [self.edge]
        node = self.parent
        while node is not None:
            edges.append(node.edge)
            node = node.parent
        return tuple(token for edge in reversed(edges) for token in edge)


@dataclass(frozen=True)
class Match:
    """What is known of a prompt."""

    node: Node | None
    """The longest that can be gone on from."""
    num_known: int
    """Tokens at the front of the prompt that some line has read."""


class PrefixCache:
    """Keeps snapshots within `budget_bytes`."""

    def __init__(
        self,
        budget_bytes: int,
        live_tables: Callable[[], Iterable[PageTable]] = tuple,
        on_eviction: Callable[[Node], None] | None = None,
    ) -> None:
        """Make an empty tree.

        Args:
            budget_bytes: what states, and pages that no live line needs, may hold together.
            live_tables: the page tables of lines that go on, whose pages cannot be freed here.
            on_eviction: told of a node whose snapshot the budget is about to cost.
        """
        self.budget_bytes = budget_bytes
        self._live_tables = live_tables
        self._on_eviction = on_eviction
        self.root = Node(edge=(), length=0, parent=None)
        self._clock = 0

    def __len__(self) -> int:
        return sum(1 for _ in self.holders())

    @property
    def nbytes(self) -> int:
        """Bytes that could be freed by letting all snapshots go."""
        states, pages = 0, set[Page]()
        page_nbytes = 0
        for node in self.holders():
            assert node.snapshot is not None
            states += node.snapshot.state_nbytes
            pages.update(node.snapshot.table.pages)
            page_nbytes = node.snapshot.table.pool.page_nbytes
        for table in self._live_tables():
            pages.difference_update(table.pages)
        return states + len(pages) * page_nbytes

    def match(self, tokens: Sequence[int]) -> Match:
        """Find the longest state that `tokens` starts with and that leaves something to say.

        A state that has read all of `tokens` will do if it knows what comes next; of one on a shelf
        that is known when it is loaded.
        """
        tokens = tuple(tokens)
        best: Node | None = None
        node = self.root
        for node in self._walk(tokens):
            if node.length < len(tokens) or node.snapshot is None or _has_logits(node):
                best = node if node.snapshot is not None or node.is_shelved else best
        rest = tokens[node.length :]
        child = node.children.get(rest[0]) if rest else None
        num_known = node.length + (num_common(child.edge, rest) if child is not None else 0)
        if best is not None:
            self.touch(best)
        return Match(best, num_known)

    def insert(self, snapshot: Snapshot, kind: Kind = "place") -> Node:
        """Keep a snapshot, and let others go if the budget asks for it; this one last."""
        assert snapshot.tokens, "the empty line needs no snapshot"
        node = self.node_at(snapshot.tokens)
        if node.snapshot is None:
            node.kind = kind
        node.kind = max(node.kind, kind, key=KIND_ORDER.index)
        if node.snapshot is None or (node.snapshot.logits is None and snapshot.logits is not None):
            node.snapshot = snapshot
        self.touch(node)
        self.shrink(spared=node)
        return node

    def shrink(self, spared: Node | None = None) -> None:
        """Let snapshots go until the rest is within the budget; first those that the ladder can
        spare."""
        while self.nbytes > self.budget_bytes and (rungs := self._spare_rungs(spared)):
            self.drop(rungs[0])
        while self.nbytes > self.budget_bytes:
            worst = self._worst(spared)
            if worst is None:
                return
            if self._on_eviction is not None:
                self._on_eviction(worst)
            self.drop(worst)

    def drop(self, node: Node) -> None:
        """Let a snapshot go, and the nodes that then carry nothing."""
        node.snapshot = None
        self.tidy(node)

    def tidy(self, node: Node) -> None:
        """Take nodes out of the tree that carry nothing and divide nothing, from here upwards."""
        while node.parent is not None and node.snapshot is None and not node.is_shelved:
            parent = node.parent
            if len(node.children) > 1 or parent.children.get(node.edge[0]) is not node:
                return  # it divides lines, or is in the tree no more
            if not node.children:
                del parent.children[node.edge[0]]
            else:
                (child,) = node.children.values()
                child.edge, child.parent = node.edge + child.edge, parent
                parent.children[child.edge[0]] = child
            node = parent

    def touch(self, node: Node) -> None:
        """Count a node as used now."""
        self._clock += 1
        node.last_used = self._clock

    def node_at(self, tokens: tuple[int, ...], below: Node | None = None) -> Node:
        """Return the node that ends exactly at `tokens` after those of `below`, made if need be."""
        start = below or self.root
        node = [start, *self._walk(tokens, start)][-1]
        rest = tokens[node.length - start.length :]
        if not rest:
            return node
        child = node.children.get(rest[0])
        if child is None:
            return self._add(node, rest)
        common = num_common(child.edge, rest)
        middle = self._split(child, common)
        return middle if common == len(rest) else self._add(middle, rest[common:])

    def line(self, tokens: tuple[int, ...]) -> list[Node]:
        """Return the nodes that lie wholly on `tokens`, from the root on."""
        return list(self._walk(tokens))

    def holders(self) -> Iterator[Node]:
        """Yield all nodes with a snapshot."""
        return (node for node in self._nodes() if node.snapshot is not None)

    def _nodes(self) -> Iterator[Node]:
        """Yield all nodes, each after the one above it."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            stack.extend(node.children.values())
            yield node

    def _walk(self, tokens: tuple[int, ...], below: Node | None = None) -> Iterator[Node]:
        """Yield the nodes that lie wholly on `tokens`, which come after those of `below`."""
        node, end = below or self.root, 0
        while end < len(tokens) and (child := node.children.get(tokens[end])) is not None:
            if tokens[end : end + len(child.edge)] != child.edge:
                return
            node, end = child, end + len(child.edge)
            yield node

    def _add(self, parent: Node, edge: tuple[int, ...]) -> Node:
        node = Node(edge, parent.length + len(edge), parent)
        parent.children[edge[0]] = node
        return node

    def _split(self, node: Node, length: int) -> Node:
        """Put a node into the edge of `node` after `length` tokens."""
        assert node.parent is not None
        middle = self._add(node.parent, node.edge[:length])
        node.edge, node.parent = node.edge[length:], middle
        middle.children[node.edge[0]] = node
        return middle

    def _spare_rungs(self, spared: Node | None) -> list[Node]:
        """What is no place, not on the coarse ladder and far from the end of every line that goes
        on from it; the longest unused first."""
        to_end: dict[Node, int] = {}
        for node in reversed(list(self._nodes())):
            below = node.children.values()
            to_end[node] = min((len(child.edge) + to_end[child] for child in below), default=0)
        spare = [
            node
            for node in self.holders()
            if node.kind != "place" and node.length % LADDER_TOKENS and to_end[node] > NEAR_TOKENS
            if node is not spared
        ]
        return sorted(spare, key=lambda node: node.last_used)

    def _worst(self, spared: Node | None) -> Node | None:
        """The one that saves the least work a byte; of equals the longest unused; `spared` last."""
        return min(
            self.holders(),
            key=lambda node: (node is spared, _worth(node), node.last_used),
            default=None,
        )


def _has_logits(node: Node) -> bool:
    return node.snapshot is not None and node.snapshot.logits is not None


def _worth(node: Node) -> float:
    """Work that would have to be done again, for every byte that would be freed."""
    snapshot = node.snapshot
    assert snapshot is not None
    if node.kind == "stop" and node.children:
        return 0.0
    work = work_between(_length_of_fallback(node), node.length)
    if node.is_shelved:
        work *= SHELVED_SHARE
    pages = snapshot.table.pages
    num_own = 0
    while num_own < len(pages) and pages[-1 - num_own].num_holders == 1:
        num_own += 1  # pages are shared from the front
    return work / (snapshot.state_nbytes + num_own * snapshot.table.pool.page_nbytes + 1)


def work_between(start: int, end: int) -> float:
    """The work of reading the tokens from `start` to `end`, one at the front being 1."""
    return (end - start) * (1 + (start + end) / 2 / FAR_TOKENS)


def _length_of_fallback(node: Node) -> int:
    """The length of the nearest shorter state on the same line, 0 if there is none."""
    above = node.parent
    while above is not None and above.snapshot is None and not above.is_shelved:
        above = above.parent
    return above.length if above is not None else 0
