"""A node of the prefix tree off the device: what it adds to its parent, as plain CPU tensors.

This is the form in which a state lies in RAM beside a GPU, and in a file (`store.py`). `state.py`
packs and unpacks; this file knows neither pages nor a model.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inference.errors import DamagedState
from inference.pictures import Shift

ROOT = ""
"""The key of the empty line."""


@dataclass(frozen=True)
class LinearStates:
    """One linear layer: its states by index, as many as the layer declares; None where unused.

    conv: [1, channels, width], model dtype. recurrent: [1, H, Dk, Dv], float32 unless asked
    otherwise.
    """

    conv: tuple[Tensor | None, ...]
    recurrent: tuple[Tensor | None, ...]

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that are there."""
        return tuple(state for state in (*self.conv, *self.recurrent) if state is not None)

    def each(self, change: Callable[[Tensor], Tensor]) -> "LinearStates":
        """Return them with a change made to all that are there."""
        return LinearStates(_each(change, self.conv), _each(change, self.recurrent))

    def kept_in(self, dtype: torch.dtype) -> "LinearStates":
        """Return them with recurrent states in the type that they are kept in."""
        return LinearStates(self.conv, _each(lambda state: state.to(dtype), self.recurrent))


def _each(
    change: Callable[[Tensor], Tensor], states: Iterable[Tensor | None]
) -> tuple[Tensor | None, ...]:
    return tuple(None if state is None else change(state) for state in states)


@dataclass(frozen=True, eq=False)
class Packed:
    """The tokens `edge` after those of the parent, and the state at their end if it was kept."""

    key: str
    """`line_key` of the whole line up to the end of `edge`."""
    parent: str
    """The key of the line before `edge`; ROOT where nothing is before."""
    num_before: int
    """Tokens of that line."""
    edge: tuple[int, ...]
    kv: Tensor
    """[L, 2, Hkv, len(edge), Dh], keys and values of the L attention layers; L may be 0. Where they
    are stored with scales (`kv_codec.py`), as bytes: those of a head's numbers, then its scales."""
    linear: tuple[LinearStates, ...] | None
    """One a linear layer; None: nobody can go on from here, only from a later node."""
    logits: Tensor | None = None
    """What comes after the last token, float32 [V], where it was kept."""
    shifts: tuple[Shift, ...] = ()
    """What the pictures of the whole line do to the positions after them."""

    @property
    def num_tokens(self) -> int:
        """Length of the whole line."""
        return self.num_before + len(self.edge)

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors."""
        states = sum(t.nbytes for layer in self.linear or () for t in layer.tensors)
        return self.kv.nbytes + states + (0 if self.logits is None else self.logits.nbytes)


def line_key(tokens: Sequence[int]) -> str:
    """Return the name of a line of tokens: 32 hex digits, ROOT for the empty one.

    A name, not a proof: whoever finds a node by it compares the tokens.
    """
    if not tokens:
        return ROOT
    words = torch.tensor(tokens, dtype=torch.int32).numpy().tobytes()
    return hashlib.sha256(words).hexdigest()[:32]


def check_chain(chain: Sequence[Packed], before: Sequence[int] = ()) -> tuple[int, ...]:
    """Return the tokens of a line of nodes, the first of which comes after `before`.

    Raises:
        DamagedState: a node does not continue the one before, or its tokens are not its key's.
    """
    tokens = tuple(before)
    parent = line_key(tokens)
    for node in chain:
        if node.parent != parent or node.num_before != len(tokens):
            raise DamagedState(f"the stored node {node.key} does not continue the one before it")
        tokens += node.edge
        parent = node.key
        if line_key(tokens) != node.key:
            raise DamagedState(f"the stored node {node.key} holds other tokens than its name says")
    return tokens
