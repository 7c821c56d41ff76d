"""The memory of one linear layer while a line goes on: `LinearSlot`, and how to take tokens back.

A recurrent state cannot be cut back. What can be done is to keep one state of before, the base, and
what each token since then put in; to take tokens back is to start at the base and put in again what
stays. A `Journal` holds that, for at most 64 tokens. Tensors in a slot are never written to: a
forward puts new ones in their place, so that snapshots and forks share them for nothing.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import torch
from torch import Tensor

from inference.packed import LinearStates

MAX_ROLLBACK = 64
"""Tokens that can be taken back."""


@dataclass(frozen=True)
class Inputs:
    """What T tokens put into one linear layer; the rest follows from it.

    At the 27B shape this is 20,768 bytes a token and layer, 0.95 MiB a token.
    """

    mixed: Tensor
    """Before the convolution, [1, T, channels], model dtype."""
    log_decay: Tensor
    """[1, T, H], float32, <= 0."""
    beta: Tensor
    """[1, T, H], model dtype."""

    def __len__(self) -> int:
        return int(self.mixed.shape[1])

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor]:
        """All of them, in order."""
        return self.mixed, self.log_decay, self.beta

    def parts(self, stops: Sequence[int]) -> Iterator["Inputs"]:
        """Cut them at `stops`, numbers of tokens between none and all."""
        if not stops:
            yield self
            return
        for start, end in pairwise((0, *stops, len(self))):
            yield Inputs(*(tensor[:, start:end] for tensor in self.tensors))

    def row(self, number: int) -> "Inputs":
        """Those of one of several lines, copied: a view would keep the others alive."""
        return Inputs(*(tensor[number : number + 1].clone() for tensor in self.tensors))

    def first(self, num_tokens: int) -> "Inputs":
        """The first `num_tokens` of them, copied: a view would keep the rest alive."""
        return Inputs(*(tensor[:, :num_tokens].clone() for tensor in self.tensors))


Ran = tuple[Tensor, LinearStates]
"""Outputs [1, T, H, Dv] and the states after T tokens."""


Runner = Callable[[Inputs, LinearStates], Ran]


class Replay(Protocol):
    """Puts inputs into a layer's states and returns the states after them."""

    def __call__(self, inputs: Inputs, states: LinearStates) -> LinearStates:
        """Leave `states` as they are."""
        ...


@dataclass
class Journal:
    """A base and the inputs since; filled by the layer's forward."""

    base: LinearStates
    entries: list[Inputs] = field(default_factory=list)
    replay: Replay | None = None

    @property
    def num_tokens(self) -> int:
        """Tokens since the base."""
        return sum(map(len, self.entries))

    def keep(self, num_tokens: int) -> LinearStates:
        """Forget all but the first `num_tokens` inputs; return the states after those."""
        kept: list[Inputs] = []
        for entry in self.entries:
            if room := num_tokens - sum(map(len, kept)):
                kept.append(entry if len(entry) <= room else entry.first(room))
        self.entries = kept
        if not kept:
            return self.base
        assert self.replay is not None, "the forward that filled the journal says how to replay it"
        return self.replay(joined(kept), self.base)


class LinearSlot:
    """The states of one linear layer, replaced with every forward."""

    def __init__(self, num_states: int, dtype: torch.dtype) -> None:
        self.states = LinearStates((None,) * num_states, (None,) * num_states)
        self.dtype = dtype
        """Of the recurrent state between forwards; inside it is float32."""
        self.journal: Journal | None = None
        self.stops: tuple[int, ...] = ()
        """Where the forward under way is to keep the states on its way, in new tokens."""
        self.passed: list[LinearStates] = []
        """The states at these stops."""

    def begin(self, stops: tuple[int, ...]) -> None:
        """Expect a forward that passes `stops`."""
        self.stops, self.passed = stops, []

    def put(self, states: LinearStates) -> None:
        """Go on from these, in the type that they are kept in between forwards."""
        self.states = states.kept_in(self.dtype)

    def run(self, inputs: Inputs, run: Runner, replay: Replay) -> Tensor:
        """Put the inputs of T tokens in, part by part between the stops; return the outputs."""
        outputs = []
        for part in inputs.parts(self.stops):
            output, states = run(part, self.states)
            self.put(states)
            outputs.append(output)
            self.passed.append(self.states)
        self.remember(inputs, replay)
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=1)

    def remember(self, inputs: Inputs, replay: Replay) -> None:
        """Take note of what was put in, if that may have to be taken back."""
        if self.journal is not None:
            self.journal.entries.append(inputs)
            self.journal.replay = replay

    def settled(self) -> LinearStates:
        """The states by themselves: a row of a stack would keep those of other lines alive."""
        if any(state.untyped_storage().nbytes() > state.nbytes for state in self.states.tensors):
            self.states = self.states.each(torch.clone)
        return self.states


def joined(entries: list[Inputs]) -> Inputs:
    """Put the inputs of several forwards one behind the other."""
    kinds = zip(*(entry.tensors for entry in entries), strict=True)
    return Inputs(*(torch.cat(tensors, dim=1) for tensors in kinds))
