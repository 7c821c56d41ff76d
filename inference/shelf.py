"""Where states lie that are not on the device: in RAM beside a GPU, and in files.

Both hold packed nodes, each what it adds to the one before (`packed.py`). What is evicted from a
GPU goes to RAM; what a conversation may come back to goes to the disk, in the background. To load
is to follow the nodes back to what the device still has and to copy from there on. A node that
cannot be had any more costs time, never a wrong token: its line is looked up again without it.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace

import torch

from inference.errors import DamagedState
from inference.model import Model
from inference.packed import ROOT, Packed, line_key
from inference.prefix_cache import Node, PrefixCache
from inference.state import Snapshot, unpack
from inference.store import Store
from inference.writer import Writer


class Ram:
    """Packed nodes in pinned memory, which a GPU copies from at full speed; the oldest go first."""

    def __init__(self, budget_bytes: int) -> None:
        self.budget_bytes = budget_bytes
        self._nodes: OrderedDict[str, Packed] = OrderedDict()
        self.nbytes = 0

    def __contains__(self, key: str) -> bool:
        return key in self._nodes

    def get(self, key: str) -> Packed | None:
        """Return a node, which is then the newest."""
        if key in self._nodes:
            self._nodes.move_to_end(key)
        return self._nodes.get(key)

    def put(self, packed: Packed) -> None:
        """Keep a node if it can be kept within the budget."""
        if packed.key in self._nodes or packed.nbytes > self.budget_bytes:
            return
        while self.nbytes + packed.nbytes > self.budget_bytes:
            _, oldest = self._nodes.popitem(last=False)
            self.nbytes -= oldest.nbytes
        if torch.cuda.is_available():
            packed = replace(packed, kv=packed.kv.pin_memory())
        self._nodes[packed.key] = packed
        self.nbytes += packed.nbytes


class Shelf:
    """The tiers below the device, for one tree of snapshots."""

    def __init__(
        self, tree: PrefixCache, model: Model, store: Store | None = None, ram_bytes: int = 0
    ) -> None:
        """Take what the store has into the tree.

        Args:
            tree: its nodes say of themselves whether a shelf has their state.
            model: whose states these are.
            store: files; None for none.
            ram_bytes: what nodes in RAM may hold; 0 where the device is the CPU.
        """
        self._tree, self._model = tree, model
        self._store = store
        self._writer = None if store is None else Writer(store)
        self._ram = Ram(ram_bytes)
        self._linked: dict[str, Node] = {}
        """The stored nodes that could be followed to the root when last seen: on others that may
        be in the store, whole but with something before them gone, nothing is built."""
        self._num_to_look = 0
        """How many there are when those are looked for that the store has let go."""
        nodes = {ROOT: tree.root}
        for entry in store.entries() if store is not None else ():
            node = nodes[entry.key] = tree.node_at(entry.edge, below=nodes[entry.parent])
            node.is_shelved = entry.has_state
            self._linked[entry.key] = node

    def put_later(self, node: Node) -> None:
        """Write a node's state in the background, so that it outlives this process."""
        snapshot = node.snapshot
        if self._writer is None or snapshot is None:
            return
        if node.is_shelved and line_key(snapshot.tokens) in self._linked:
            return
        self._forget_lost()
        self._writer.write_later(node, lambda: self._to_store(node, snapshot))

    def demote(self, node: Node) -> None:
        """Keep in RAM what the device is about to let go."""
        if self._ram.budget_bytes and node.snapshot is not None:
            self._ram.put(self._packed(node, node.snapshot, self._is_at_hand))

    def load(self, node: Node) -> Snapshot | None:
        """Bring a node's state to the device; None if it cannot be had, and the node knows it."""
        base = _nearest_on_device(node)
        try:
            chain = self._chain(node, 0 if base is None else len(base))
            snapshot = unpack(chain, self._model.layout, self._model.pool, base)
        except DamagedState:
            node.is_shelved = False
            self._tree.tidy(node)
            return None
        self._tree.insert(snapshot)
        return snapshot

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written; return whether it was."""
        return self._writer is None or self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write what is still to be written, and end the thread."""
        if self._writer is not None:
            self._writer.close()

    def _to_store(self, node: Node, snapshot: Snapshot) -> Packed:
        """Pack a node for the store; what lies in its place and may lead nowhere makes room."""
        packed = self._packed(node, snapshot, self._is_stored)
        if self._store is not None and packed.key not in self._linked:
            self._store.remove(packed.key)
        self._linked[packed.key] = node
        return packed

    def _packed(self, node: Node, snapshot: Snapshot, is_there: Callable[[str], bool]) -> Packed:
        """Pack what a node adds to the nearest one before it that is there."""
        above = node.parent
        while above is not None and not is_there(line_key(snapshot.tokens[: above.length])):
            above = above.parent
        packed = snapshot.pack(0 if above is None else above.length)
        node.is_shelved = True
        return packed

    def _forget_lost(self) -> None:
        """Take nodes out of the tree whose files have gone; not every time, it looks at all."""
        assert self._store is not None
        if len(self._linked) < self._num_to_look or not self.flush(0):
            return
        for key, node in list(self._linked.items()):
            if key not in self._store:
                del self._linked[key]
                node.is_shelved = key in self._ram
                self._tree.tidy(node)
        self._num_to_look = 2 * len(self._linked) + 32

    def _is_stored(self, key: str) -> bool:
        return self._store is not None and key in self._linked and key in self._store

    def _is_at_hand(self, key: str) -> bool:
        return key in self._ram or self._is_stored(key)

    def _chain(self, node: Node, num_on_device: int) -> list[Packed]:
        """Return the nodes that lead to `node`, from what the device has on.

        Raises:
            DamagedState: one of them is gone.
        """
        chain: list[Packed] = []
        key = line_key(node.tokens)
        while key != ROOT and (not chain or chain[0].num_before > num_on_device):
            packed = self._ram.get(key)
            if packed is None and self._store is not None:
                packed = self._store.get(key, state=not chain)
            if packed is None:
                for lost in (key, *(below.key for below in chain)):
                    self._linked.pop(lost, None)
                raise DamagedState(f"the stored state {key[:8]} is gone")
            chain.insert(0, packed)
            key = packed.parent
        return chain


def _nearest_on_device(node: Node) -> Snapshot | None:
    above: Node | None = node
    while above is not None and above.snapshot is None:
        above = above.parent
    return None if above is None else above.snapshot
