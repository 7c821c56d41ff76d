"""A forward of one form, so many lines of so many tokens, in tensors that never move.

transformers' module runs here as it does anywhere, but all that it meets of a line lies in a
frame: embedded tokens and positions, the states of linear layers, and a table of pages. `load`
copies a line in, `forward` is the same launches at the same addresses every time, and `store`
copies out what became of the states. So `forward` can be recorded (`graph_step.py`); it can as well
be called.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from operator import is_
from typing import Any
from weakref import ref

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from inference.linear_state import Inputs, LinearSlot, Replay, Runner
from inference.packed import LinearStates
from inference.page_kernels import Pages
from inference.state import HybridState, Layout, Read


@dataclass(frozen=True)
class Form:
    """What makes two forwards the same launches."""

    num_lines: int
    """At most: a forward of fewer does the rest for nothing."""
    num_tokens: int
    """That each line reads."""

    @property
    def num_rows(self) -> int:
        """Tokens of all lines."""
        return self.num_lines * self.num_tokens


@dataclass(frozen=True)
class Made:
    """What a forward says of its tokens, line by line; the next one overwrites it."""

    logits: Tensor
    """After each, float32 [lines * tokens, V]."""
    hidden: Tensor
    """What the layers made of them, after the last norm, [lines * tokens, hidden]."""


class FrameStates:
    """The states of all linear layers of some lines, at addresses that never change."""

    def __init__(
        self, examples: Sequence[LinearStates], num_lines: int, dtype: torch.dtype
    ) -> None:
        """Make room for what looks like `examples`, the states of one line, layer by layer.

        `dtype` is that of recurrent states between two forwards.
        """
        self.conv = _room([states.conv[0] for states in examples], num_lines)
        """[layers, lines, channels, width]."""
        self.recurrent = _room([states.recurrent[0] for states in examples], num_lines).to(dtype)
        """[layers, lines, H, Dk, Dv]."""
        self._held: list[ref[LinearStates]] = []

    @staticmethod
    def nbytes(examples: Sequence[LinearStates], num_lines: int) -> int:
        """Return the bytes of such a room."""
        return num_lines * sum(tensor.nbytes for states in examples for tensor in states.tensors)

    def load(self, states: Sequence[HybridState]) -> None:
        """Copy the states of lines in, all or fewer, unless they are what was stored here last."""
        rows = [slot.states for slots in _by_layer(states) for slot in slots]
        held = [kept() for kept in self._held]
        is_here = len(rows) == len(held) and all(map(is_, rows, held))
        self._held = []  # a forward is about to change them
        if not is_here:
            _fill(self.conv[:, : len(states)], [row.conv[0] for row in rows])
            _fill(self.recurrent[:, : len(states)], [row.recurrent[0] for row in rows])

    def store(self, states: Sequence[HybridState]) -> None:
        """Give the lines what became of them: copies, for those here go on changing."""
        convs, recurrents = (
            torch.split(part[:, : len(states)].clone().flatten(0, 1), 1)
            for part in (self.conv, self.recurrent)
        )
        slots = [slot for layer in _by_layer(states) for slot in layer]
        for slot, conv, recurrent in zip(slots, convs, recurrents, strict=True):
            slot.states = LinearStates((conv,), (recurrent,))
        self._held = [ref(slot.states) for slot in slots]  # a line that ends takes them with it


class Frame:
    """A form of forward over one module."""

    def __init__(
        self, module: Any, layout: Layout, form: Form, states: FrameStates, pages: Pages
    ) -> None:
        """Make the buffers.

        Args:
            module: of transformers, with our attention and our linear layers in it.
            layout: its own.
            form: of the forwards; `states` has room for its lines.
            states: where those of the linear layers are; frames for as many lines may share it.
            pages: made for this form.
        """
        hidden, device = module.config.hidden_size, module.device
        sizes = form.num_lines, form.num_tokens
        self._module, self._form = module, form
        self._states, self._pages = states, pages
        self._embedded = torch.zeros(*sizes, hidden, dtype=module.dtype, device=device)
        self._positions = torch.zeros(sizes, dtype=torch.long, device=device)
        self._slots = {
            index: _Slot(states.conv[rank], states.recurrent[rank])
            for rank, index in enumerate(layout.linear)
        }
        self._door = _Door(layout, pages, self._slots)

    def load(self, reads: Sequence[Read]) -> None:
        """Copy in what is to be read; the states are between `begin` and `commit`."""
        device = self._positions.device
        ids = torch.tensor([list(tokens) for _, tokens in reads])
        places = torch.tensor([[len(state) + state.offset] for state, _ in reads])
        embedded = self._module.get_input_embeddings()(ids.to(device))
        self._embedded[: len(reads)].copy_(embedded)
        self._positions[: len(reads)].copy_(places + torch.arange(self._form.num_tokens))
        self._states.load([state for state, _ in reads])
        self._pages.fill([state.table for state, _ in reads])

    def forward(self) -> Made:
        """Read; every call is the same launches."""
        read = self._module.base_model(
            inputs_embeds=self._embedded,
            position_ids=self._positions,
            past_key_values=self._door,
            use_cache=True,
        )
        hidden: Tensor = read.last_hidden_state.flatten(0, 1)
        return Made(self._module.lm_head(hidden).float(), hidden)

    def store(self, reads: Sequence[Read]) -> None:
        """Give the lines their states; those that may go back are told what was put in."""
        states = [state for state, _ in reads]
        self._states.store(states)
        if any(slot.journal is not None for state in states for slot in state.slots.values()):
            self._tell(states)

    def _tell(self, states: Sequence[HybridState]) -> None:
        kinds = zip(*(slot.inputs.tensors for slot in self._slots.values()), strict=True)
        parts = (torch.cat([tensor[: len(states)] for tensor in tensors]) for tensors in kinds)
        rows = map(Inputs, *(torch.split(part, 1) for part in parts))  # layer by layer
        for index, own in self._slots.items():
            for state in states:
                state.slots[index].remember(next(rows), own.replay)


class _Slot:
    """The states of all lines in one linear layer, as its forward meets them."""

    inputs: Inputs
    """Of the last forward."""
    replay: Replay

    def __init__(self, conv: Tensor, recurrent: Tensor) -> None:
        self._conv, self._recurrent = conv, recurrent

    def run(self, inputs: Inputs, run: Runner, replay: Replay) -> Tensor:
        """Put [N, T] inputs in, a row for each line; return the outputs."""
        self.inputs, self.replay = inputs, replay
        outputs, after = run(inputs, LinearStates((self._conv,), (self._recurrent,)))
        self._conv.copy_(_there(after.conv[0]))
        self._recurrent.copy_(_there(after.recurrent[0]))
        return outputs


class _Door(Cache):
    """What transformers' layers see of a frame."""

    def __init__(self, layout: Layout, pages: Pages, slots: dict[int, _Slot]) -> None:
        super().__init__(layers=[])
        self._rank = {index: rank for rank, index in enumerate(layout.attention)}
        self._pages, self._slots = pages, slots

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_options: Any
    ) -> tuple[Any, Any]:
        """Store [N, Hkv, T, Dh]; return what our attention reads, in the place of the keys."""
        rank = self._rank[layer_idx]
        self._pages.write(rank, key_states, value_states)
        return _Seen(self._pages, rank), None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Say that something was read: positions are told, and no mask is made."""
        return 1

    def slot(self, layer_idx: int) -> _Slot:
        """The slot of a linear layer."""
        return self._slots[layer_idx]


@dataclass(frozen=True)
class _Seen:
    """What each line sees of keys and values in one layer."""

    pages: Pages
    rank: int

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """Let [N, Hq, T, Dh] read each its own line: [N, T, Hq, Dh]."""
        return self.pages.attend(self.rank, query, scale)


def _by_layer(states: Sequence[HybridState]) -> list[tuple[LinearSlot, ...]]:
    """The slots of all lines, layer by layer."""
    return list(zip(*(state.slots.values() for state in states), strict=True))


def _room(examples: Sequence[Tensor | None], num_lines: int) -> Tensor:
    """Make [layers, lines, ...] for the states of layers that are all alike, [1, ...] each."""
    first = _there(examples[0])
    assert all(_there(each).shape == first.shape for each in examples)
    return first.new_zeros(len(examples), num_lines, *first.shape[1:])


def _fill(room: Tensor, rows: Sequence[Tensor | None]) -> None:
    """Copy rows, [1, ...] each, to [layers, lines, ...], layer by layer."""
    whole = torch.cat([_there(row) for row in rows])
    room.copy_(whole.view(room.shape))


def _there(state: Tensor | None) -> Tensor:
    """Return a state of a line that has read something."""
    assert state is not None
    return state
