"""What a model remembers of the tokens it has read: `HybridState` changes, `Snapshot` does not.

Attention layers remember keys and values of every token, in buffers that grow; linear layers
remember a recurrent and a convolution state of fixed size that cannot be cut back. So a prefix can
be gone back to only where it was copied: a snapshot copies the fixed-size states and *shares* the
keys and values. This file alone touches the cache classes of transformers. It runs no model and
decides nothing about what is worth keeping: that is `prefix_cache.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from transformers import PreTrainedConfig
from transformers.cache_utils import Cache, DynamicCache, DynamicLayer, LinearAttentionLayer

GROWTH = 1.5
PAGE_TOKENS = 256
"""Buffers are whole pages long."""


class KvBuffer:
    """Keys and values of one attention layer, [1, Hkv, capacity, Dh] each; filled from the front.

    Several states may share a buffer as long as they agree on its tokens; each `KvSpan` says how
    many of them are its own. What is filled is never written again while a span can see it.
    """

    def __init__(self, like: Tensor, capacity: int) -> None:
        shape = (*like.shape[:2], capacity, like.shape[3])
        self.keys = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.values = torch.empty(shape, dtype=like.dtype, device=like.device)
        self.filled = 0
        self.spans: WeakSet[KvSpan] = WeakSet()

    @property
    def capacity(self) -> int:
        """How many tokens fit."""
        return int(self.keys.shape[2])

    @property
    def nbytes(self) -> int:
        """Bytes held, whether filled or not."""
        return self.keys.nbytes + self.values.nbytes

    def write(self, start: int, keys: Tensor, values: Tensor) -> None:
        """Put the keys and values of new tokens, [1, Hkv, T, Dh], at `start`."""
        end = start + keys.shape[2]
        self.keys[:, :, start:end] = keys
        self.values[:, :, start:end] = values
        self.filled = end


class KvSpan:
    """The first `length` tokens of a buffer: what one state, or one snapshot, sees of it."""

    def __init__(self, buffer: KvBuffer | None = None, length: int = 0) -> None:
        self.length = length
        self.buffer: KvBuffer | None = None
        if buffer is not None:
            self.attach(buffer)

    def attach(self, buffer: KvBuffer) -> None:
        """See these tokens in another buffer, which holds the same ones."""
        if self.buffer is not None:
            self.buffer.spans.discard(self)
        self.buffer = buffer
        buffer.spans.add(self)

    def share(self) -> "KvSpan":
        """Return a second span of the same tokens."""
        return KvSpan(self.buffer, self.length)

    def append(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Add T tokens, [1, Hkv, T, Dh]; return all of them, [1, Hkv, length, Dh], as views."""
        end = self.length + keys.shape[2]
        buffer = self._writable(keys, end)
        buffer.write(self.length, keys, values)
        self.length = end
        return buffer.keys[:, :, :end], buffer.values[:, :, :end]

    def _writable(self, like: Tensor, end: int) -> KvBuffer:
        """Return a buffer where the places from `length` to `end` are free for this span."""
        old = self.buffer
        if old is None:
            self.attach(KvBuffer(like, _pages(end)))
        elif self._others_see_more(old):
            self._move(old, _pages(max(end, min(old.capacity, int(end * GROWTH)))), [self])
        elif end > old.capacity:
            # Everyone who sees a prefix of it moves along, so that the old buffer can go.
            self._move(old, _pages(int(end * GROWTH)), list(old.spans))
        assert self.buffer is not None
        return self.buffer

    def _others_see_more(self, buffer: KvBuffer) -> bool:
        if buffer.filled == self.length:
            return False
        return any(other.length > self.length for other in buffer.spans if other is not self)

    def _move(self, old: KvBuffer, capacity: int, spans: Sequence["KvSpan"]) -> None:
        new = KvBuffer(old.keys, capacity)
        new.write(0, old.keys[:, :, : self.length], old.values[:, :, : self.length])
        for span in spans:
            span.attach(new)


class _AttentionLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """transformers' growing layer, on a span instead of one `torch.cat` a token."""

    def __init__(self, span: KvSpan) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.span = span

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Append [1, Hkv, T, Dh]; return all keys and values."""
        return self.span.append(key_states, value_states)

    def get_seq_length(self) -> int:
        """How many tokens are in it."""
        return self.span.length


@dataclass(frozen=True)
class LinearStates:
    """One linear layer: its states by index, as many as the layer declares; None where unused.

    conv: [1, channels, width], model dtype. recurrent: [1, H, Dk, Dv], float32.
    """

    conv: tuple[Tensor | None, ...]
    recurrent: tuple[Tensor | None, ...]

    def tensors(self) -> Iterator[Tensor]:
        """All that are there."""
        yield from (state for state in (*self.conv, *self.recurrent) if state is not None)


class _LinearLayer(LinearAttentionLayer):
    """transformers' linear layer, which updates its tensors in place, with copies in and out."""

    def copy_out(self) -> LinearStates:
        """Copy all states."""
        indices = range(self.number_of_states)
        return LinearStates(
            conv=tuple(_clone(self.conv_states[i]) for i in indices),
            recurrent=tuple(_clone(self.recurrent_states[i]) for i in indices),
        )

    def copy_in(self, states: LinearStates) -> None:
        """Take copies of `states`, in a layer that has read nothing."""
        for i, (conv, recurrent) in enumerate(zip(states.conv, states.recurrent, strict=True)):
            self.lazy_initialization(conv_states=conv, recurrent_states=recurrent, state_idx=i)
            own_conv, own_recurrent = self.conv_states[i], self.recurrent_states[i]
            if conv is not None and own_conv is not None:
                own_conv.copy_(conv)
                self.has_previous_state[i] = True
            if recurrent is not None and own_recurrent is not None:
                own_recurrent.copy_(recurrent)


@dataclass(frozen=True, eq=False)
class Snapshot:
    """A state as it was after `tokens`; nothing that happens later changes it."""

    tokens: tuple[int, ...]
    config: PreTrainedConfig
    spans: tuple[KvSpan, ...]
    linear: tuple[LinearStates, ...]

    def __len__(self) -> int:
        return len(self.tokens)

    @property
    def state_nbytes(self) -> int:
        """Bytes of the copied states, which are this snapshot's alone."""
        return sum(tensor.nbytes for states in self.linear for tensor in states.tensors())

    @property
    def buffers(self) -> list[KvBuffer]:
        """The buffers that it keeps alive, alone or together with others."""
        return [span.buffer for span in self.spans if span.buffer is not None]

    @property
    def nbytes(self) -> int:
        """Bytes of its states and, as an estimate of what it alone keeps alive, of its own tokens'
        KV.

        A whole buffer is kept as long as any snapshot sees a part of it. `PrefixCache` counts the
        buffers of all its snapshots once each, which is exact.
        """
        kv = sum(
            buffer.nbytes // buffer.capacity * span.length
            for span, buffer in zip(self.spans, self.buffers, strict=True)
        )
        return self.state_nbytes + kv

    def restore(self) -> "HybridState":
        """Make a live state of it; keys and values stay shared until one of the two appends."""
        state = HybridState.empty(self.config)
        with torch.inference_mode():
            state.take(self)
        return state


class HybridState:
    """The live memory of one line of tokens: `tokens` are those it has read."""

    def __init__(self, config: PreTrainedConfig, cache: Cache) -> None:
        self.config = config
        self.cache = cache
        self.tokens: list[int] = []
        self.is_whole = True
        """False while a forward runs, and for ever if it was broken off: layers then disagree."""

    @classmethod
    def empty(cls, config: PreTrainedConfig) -> "HybridState":
        """A state that has read nothing.

        Raises:
            TypeError: a layer is neither full attention nor linear (sliding windows, for instance).
        """
        cache = DynamicCache(config=config)
        cache.layers = [_our_layer(layer) for layer in cache.layers]
        return cls(config, cache)

    def __len__(self) -> int:
        return len(self.tokens)

    def snapshot(self) -> Snapshot:
        """Copy what cannot be shared, share the rest."""
        assert self.is_whole, "a state whose forward was broken off cannot be kept"
        with torch.inference_mode():
            return Snapshot(
                tokens=tuple(self.tokens),
                config=self.config,
                spans=tuple(layer.span.share() for layer in self._attention_layers()),
                linear=tuple(layer.copy_out() for layer in self._linear_layers()),
            )

    def take(self, snapshot: Snapshot) -> None:
        """Become what the snapshot was; only for a state that has read nothing."""
        assert not self.tokens
        self.tokens = list(snapshot.tokens)
        for attention, span in zip(self._attention_layers(), snapshot.spans, strict=True):
            attention.span = span.share()
        for linear, states in zip(self._linear_layers(), snapshot.linear, strict=True):
            linear.copy_in(states)

    def _attention_layers(self) -> Iterator[_AttentionLayer]:
        yield from (layer for layer in self.cache.layers if isinstance(layer, _AttentionLayer))

    def _linear_layers(self) -> Iterator[_LinearLayer]:
        yield from (layer for layer in self.cache.layers if isinstance(layer, _LinearLayer))


def _our_layer(layer: object) -> _AttentionLayer | _LinearLayer:
    """Replace a layer of transformers by ours of the same kind."""
    if type(layer) is DynamicLayer:
        return _AttentionLayer(KvSpan())
    if type(layer) is LinearAttentionLayer:
        return _LinearLayer(number_of_states=layer.number_of_states)
    raise TypeError(f"layers of kind {type(layer).__name__} are not supported")


def _pages(num_tokens: int) -> int:
    return -(-num_tokens // PAGE_TOKENS) * PAGE_TOKENS


def _clone(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()
