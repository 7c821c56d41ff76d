"""What a model remembers of the tokens it has read: `HybridState` changes, `Snapshot` does not.

Attention layers remember keys and values of every token, in pages that lines share (`pages.py`);
linear layers remember a state of fixed size (`linear_state.py`). A line can be gone back to only
where a snapshot was taken, or at most 64 tokens back where that was asked for beforehand. This file
alone knows how transformers' layers meet their cache. It runs no model and decides nothing about
what is worth keeping: that is `prefix_cache.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, LinearAttentionLayer

from inference.attention import KvPart, attend
from inference.errors import DamagedState
from inference.kv_codec import KvCodec, KvKind, KvShape
from inference.linear_state import MAX_ROLLBACK, Journal, LinearSlot
from inference.packed import LinearStates, Packed, check_chain, line_key
from inference.pages import PageTable
from inference.pictures import Shift
from inference.slabs import PagePool

ATTENTION = "paged"
"""The name under which transformers finds our attention. It has no mask function, on purpose:
transformers then makes no mask."""


@dataclass(frozen=True)
class Layout:
    """Which layers of a model remember what, by layer index, in order."""

    attention: tuple[int, ...]
    linear: tuple[int, ...]
    num_states: tuple[int, ...]
    """How many states each linear layer declares; Qwen's have one."""
    num_kv_heads: int
    head_dim: int

    @classmethod
    def of(cls, config: PreTrainedConfig) -> "Layout":
        """Read it off a model's text configuration.

        Raises:
            TypeError: a layer is neither full attention nor linear (sliding windows, for instance).
        """
        layers = list(enumerate(DynamicCache(config=config).layers))
        for _, layer in layers:
            if type(layer) not in (DynamicLayer, LinearAttentionLayer):
                raise TypeError(f"layers of kind {type(layer).__name__} are not supported")
        linear = [(i, layer) for i, layer in layers if type(layer) is LinearAttentionLayer]
        head_dim = getattr(config, "head_dim", None)
        return cls(
            attention=tuple(i for i, layer in layers if type(layer) is DynamicLayer),
            linear=tuple(i for i, _ in linear),
            num_states=tuple(layer.number_of_states for _, layer in linear),
            num_kv_heads=config.num_key_value_heads,
            head_dim=head_dim or config.hidden_size // config.num_attention_heads,
        )

    def kv_shape(self, dtype: torch.dtype, device: torch.device, kind: KvKind = "16bit") -> KvShape:
        """What one token adds to the attention layers, stored as `kind` says."""
        return KvShape(len(self.attention), self.num_kv_heads, self.head_dim, dtype, device, kind)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state as it was after `tokens`; nothing that happens later changes it."""

    tokens: tuple[int, ...]
    layout: Layout
    table: PageTable
    linear: tuple[LinearStates, ...]
    logits: Tensor | None = None
    """What comes after the last token, float32 [V], where that was known."""
    shifts: tuple[Shift, ...] = ()
    """What pictures in the line do to the positions after them."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def state_nbytes(self) -> int:
        """Bytes of all but the pages: the part that grows with no token."""
        states = sum(tensor.nbytes for layer in self.linear for tensor in layer.tensors)
        return states + (0 if self.logits is None else self.logits.nbytes)

    @property
    def nbytes(self) -> int:
        """Bytes that it keeps alive, alone or together with others."""
        return self.state_nbytes + len(self.table.pages) * self.table.pool.page_nbytes

    def restore(self) -> "HybridState":
        """Make a live state of it; pages stay shared until one of the two writes to them."""
        dtype = next((t.dtype for s in self.linear for t in s.recurrent if t is not None), None)
        state = HybridState(self.layout, self.table.pool, dtype or torch.float32)
        state.tokens = list(self.tokens)
        state.shifts = list(self.shifts)
        state.table = self.table.share()
        for slot, states in zip(state.slots.values(), self.linear, strict=True):
            slot.states = states
        return state

    def pack(self, num_before: int) -> Packed:
        """Copy what lies after the first `num_before` tokens, and the states, off the device."""
        return Packed(
            key=line_key(self.tokens),
            parent=line_key(self.tokens[:num_before]),
            num_before=num_before,
            edge=self.tokens[num_before:],
            kv=self.table.copy_out(num_before, len(self)),
            linear=tuple(states.each(Tensor.cpu) for states in self.linear),
            logits=None if self.logits is None else self.logits.cpu(),
            shifts=self.shifts,
        )


def unpack(
    chain: Sequence[Packed], layout: Layout, pool: PagePool, base: Snapshot | None = None
) -> Snapshot:
    """Make a snapshot of stored nodes, each continuing the one before.

    Args:
        chain: the nodes of a line, the last one with its states. The first comes after some of the
            tokens of `base`, or is at the root.
        layout: of the model.
        pool: where pages are taken.
        base: a snapshot of which the line is a continuation, to share the pages of its tokens.

    Raises:
        DamagedState: the nodes do not fit together, or are not of this model.
    """
    before = () if base is None else base.tokens[: chain[0].num_before]
    tokens = check_chain(chain, before)
    last = chain[-1]
    if last.linear is None or len(last.linear) != len(layout.linear):
        raise DamagedState(f"the stored node {last.key} has no state to go on from")
    if base is not None and tokens[: len(base)] != base.tokens:
        raise DamagedState(f"the stored node {last.key} does not continue what is in memory")
    shape, device = pool.shape, pool.shape.device
    dtype, width = shape.packed
    table = PageTable(pool) if base is None else base.table.share()
    for node in chain:
        kv = node.kv
        if kv.shape != shape.sizes(len(node.edge), width) or kv.dtype != dtype:
            raise DamagedState(f"the stored node {node.key} is of another model")
        if node.num_tokens > len(table):
            table.append(kv[..., len(table) - node.num_before :, :])
    linear = tuple(states.each(lambda state: state.to(device, copy=True)) for states in last.linear)
    logits = None if last.logits is None else last.logits.to(device, copy=True)
    return Snapshot(tokens, layout, table, linear, logits, last.shifts)


class HybridState:
    """The live memory of one line of tokens: `tokens` are those it has read."""

    def __init__(
        self, layout: Layout, pool: PagePool, recurrent_dtype: torch.dtype = torch.float32
    ) -> None:
        self.layout = layout
        self.tokens: list[int] = []
        self.shifts: list[Shift] = []
        self.table = PageTable(pool)
        self.slots = {
            index: LinearSlot(num_states, recurrent_dtype)
            for index, num_states in zip(layout.linear, layout.num_states, strict=True)
        }
        self.is_whole = True
        """False while a forward runs, and for ever if it was broken off: layers then disagree."""
        self.hidden: Tensor | None = None
        """What the model made of the tokens read last, [T, D], where somebody wants to know."""
        self._num_since_base = 0
        self._passed: tuple[int, ...] = ()
        """Lengths of the line at the stops of the last forward."""

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def offset(self) -> int:
        """How far the position of the next token is from its number (`rope_deltas`)."""
        return sum(shift for _, shift in self.shifts)

    def begin(self, num_new: int, stops: Sequence[int] = ()) -> Cache:
        """Make places for a forward over new tokens; return what its layers write through.

        Args:
            num_new: how many tokens.
            stops: after how many of them a snapshot can be taken when the forward is done; rising,
                and less than all.
        """
        assert self.is_whole, "the state's last forward was broken off"
        self.is_whole = False
        self._passed = tuple(len(self) + stop for stop in stops)
        for slot in self.slots.values():
            slot.begin(tuple(stops))
        if self._num_since_base + num_new > MAX_ROLLBACK:
            self._close_journals()
        self.table.reserve(num_new)
        return _Door(self)

    def commit(self, tokens: Sequence[int], shifts: Sequence[Shift] = ()) -> None:
        """Count tokens as read, after the last layer of the forward.

        Args:
            tokens: those that were read.
            shifts: of the pictures among them.
        """
        self.table.commit()
        self.hidden = None
        self.tokens.extend(tokens)
        self.shifts.extend(shifts)
        self._num_since_base += len(tokens)
        self.is_whole = True

    def snapshot(self, logits: Tensor | None = None, length: int | None = None) -> Snapshot:
        """Keep this moment: pages and states are shared, for nothing here is written over.

        Args:
            logits: what comes next, float32 [V], if that is known.
            length: of the line at a stop of the last forward, to keep that moment instead.

        Raises:
            ValueError: the last forward had no stop there.
        """
        assert self.is_whole, "a state whose forward was broken off cannot be kept"
        if length is None:
            linear = [slot.settled() for slot in self.slots.values()]
        elif length not in self._passed:
            raise ValueError(f"the last forward kept nothing of {length} tokens")
        else:
            number = self._passed.index(length)
            linear = [slot.passed[number] for slot in self.slots.values()]
        return Snapshot(
            tokens=tuple(self.tokens[:length]),
            layout=self.layout,
            table=self.table.share(length),
            linear=tuple(linear),
            logits=logits,
            shifts=_until(len(self) if length is None else length, self.shifts),
        )

    def allow_rollback(self, num_tokens: int) -> None:
        """Make sure that the next `num_tokens`, 64 at most, can be taken back.

        What was read since the last call can still be, as long as all of it is 64 tokens at most.
        """
        assert 0 <= num_tokens <= MAX_ROLLBACK
        has_base = all(slot.journal is not None for slot in self.slots.values())
        if has_base and self._num_since_base + num_tokens <= MAX_ROLLBACK:
            return
        self._num_since_base = 0
        for slot in self.slots.values():
            slot.journal = Journal(slot.states)

    def rollback(self, num_tokens: int) -> None:
        """Take the last tokens back, as if they had never been read.

        Raises:
            ValueError: that many were not allowed for by `allow_rollback`.
        """
        if num_tokens == 0:
            return
        journals = [slot.journal for slot in self.slots.values()]
        num_kept = self._num_since_base - num_tokens
        if num_kept < 0 or any(journal is None for journal in journals):
            raise ValueError(f"{num_tokens} tokens cannot be taken back")
        self.is_whole = False
        self._passed = ()
        for slot in self.slots.values():
            assert slot.journal is not None
            slot.put(slot.journal.keep(num_kept))
        self.table.truncate(len(self) - num_tokens)
        del self.tokens[-num_tokens:]
        self.hidden = None if self.hidden is None else self.hidden[:-num_tokens]
        self.shifts = list(_until(len(self), self.shifts))
        self._num_since_base = num_kept
        self.is_whole = True

    def _close_journals(self) -> None:
        for slot in self.slots.values():
            slot.journal = None


Read = tuple[HybridState, Sequence[int]]
"""A state, and the tokens that it is to read."""


class _Door(Cache):
    """What transformers' layers see of a state during one forward."""

    def __init__(self, state: HybridState) -> None:
        super().__init__(layers=[])
        self._state = state
        self._rank = {index: rank for rank, index in enumerate(state.layout.attention)}

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_options: Any
    ) -> tuple[Any, Any]:
        """Store [1, Hkv, T, Dh]; return what our attention reads, in the place of the keys."""
        rank = self._rank[layer_idx]
        table = self._state.table
        own = table.write(rank, key_states, value_states)
        return Seen(table.read(rank), own, table.pool.shape.codec), None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """How many tokens were read before this forward."""
        return len(self._state)

    def slot(self, layer_idx: int) -> LinearSlot:
        """The slot of a linear layer."""
        return self._state.slots[layer_idx]


@dataclass(frozen=True)
class Seen:
    """Keys and values before the new tokens, part by part, and those of the new ones."""

    past: Iterator[KvPart]
    own: KvPart
    codec: KvCodec

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """Let [1, Hq, T, Dh] read them: [1, T, Hq, Dh]."""
        return self.codec.turn(attend(self.codec.turn(query), self.past, self.own, scale))


def _paged_attention(
    _module: nn.Module,
    query: Tensor,
    seen: Seen,
    _values: None,
    _mask: None,
    scaling: float,
    **_options: Any,
) -> tuple[Tensor, None]:
    """Attend as transformers' attention functions do: [1, Hq, T, Dh] to [1, T, Hq, Dh]."""
    return seen.attend(query, scaling), None


AttentionInterface.register(ATTENTION, _paged_attention)


def _until(length: int, shifts: Sequence[Shift]) -> tuple[Shift, ...]:
    return tuple(shift for shift in shifts if shift[0] <= length)
