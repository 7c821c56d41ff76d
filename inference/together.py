"""Several lines read a token each in one forward, so that the weights are read once for all.

Linear layers see as many rows as there are lines. Where the flat pass knows the model
(`decode_step.py`), each line keeps a state of its own; in transformers' module the states of the
recurrence are stacked, and stay so as long as the same lines go on together: each line has a view
of its row. Attention is done line by line, over the line's own pages, which it may share with
others. What a line reads this way is what it would read alone. When lines are read together is said
by who runs them (`host_worker.py`).
"""

from collections.abc import Sequence
from operator import is_, itemgetter
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import Cache

from inference.branch import Branch
from inference.gain import Gain
from inference.linear_state import Inputs, LinearSlot, Replay, Runner
from inference.model import Model
from inference.packed import LinearStates
from inference.state import HybridState, Seen

MAX_LINES = 16
"""Of one forward; more would only make each wait for longer."""


class Together:
    """Reads a token on each of several lines of one model."""

    def __init__(self, model: Model) -> None:
        self.gain = Gain(model.fast_kernels)
        self._model = model
        self._stacks = {index: _Stack() for index in model.layout.linear}

    def read(self, branches: Sequence[Branch]) -> None:
        """Read what each of these lines offers."""
        start = self._model.clock()
        tokens = [branch.offered for branch in branches if branch.offered is not None]
        logits = self.forward(tokens, [branch.state for branch in branches])
        for branch, row in zip(branches, logits, strict=True):
            branch.offered, branch.logits = None, row.clone()  # a view would keep all alive
        self.gain.learn(len(branches), self._model.clock() - start)

    def forward(self, tokens: Sequence[int], states: Sequence[HybridState]) -> Tensor:
        """Read `tokens[i]` after those of `states[i]`; logits after each, float32 [N, V]."""
        logits = self._model.forward_lines(tokens, states)
        return self._by_module(tokens, states) if logits is None else logits

    def _by_module(self, tokens: Sequence[int], states: Sequence[HybridState]) -> Tensor:
        model = self._model
        positions = [[len(state) + state.offset] for state in states]
        with torch.inference_mode():
            output = model.module(
                input_ids=torch.tensor(tokens, device=model.device)[:, None],
                position_ids=torch.tensor(positions, device=model.device),
                past_key_values=_Doors([state.begin(1) for state in states], self._stacks),
                use_cache=True,
            )
            logits: Tensor = output.logits[:, -1].float()
        for token, state in zip(tokens, states, strict=True):
            state.commit((token,))
        return logits

    def let_go(self) -> None:
        """Hold no states: a line of these has ended."""
        for stack in self._stacks.values():
            stack.put(LinearStates((), ()), ())


class _Doors(Cache):
    """What transformers' layers see of the states of all lines during one forward."""

    def __init__(self, doors: Sequence[Any], stacks: dict[int, "_Stack"]) -> None:
        super().__init__(layers=[])
        self._doors, self._stacks = doors, stacks

    def update(
        self, key_states: Tensor, value_states: Tensor, layer_idx: int, *_args: Any, **_options: Any
    ) -> tuple[Any, Any]:
        """Store [N, Hkv, 1, Dh]; return what our attention reads, in the place of the keys."""
        rows = zip(self._doors, _rows(key_states), _rows(value_states), strict=True)
        return _SeenByAll([door.update(*own, layer_idx)[0] for door, *own in rows]), None

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Say that something was read: positions are told, and no mask is made."""
        return 1

    def slot(self, layer_idx: int) -> "_Slots":
        """The slots of a linear layer."""
        return _Slots([door.slot(layer_idx) for door in self._doors], self._stacks[layer_idx])


class _SeenByAll:
    """What each line sees of keys and values."""

    def __init__(self, lines: Sequence[Seen]) -> None:
        self._lines = lines

    def attend(self, query: Tensor, scale: float) -> Tensor:
        """Let [N, Hq, 1, Dh] read each its own line: [N, 1, Hq, Dh]."""
        rows = zip(self._lines, _rows(query), strict=True)
        return torch.cat([line.attend(row, scale) for line, row in rows])


class _Stack:
    """The states of all lines in one linear layer, as they were read together last."""

    def __init__(self) -> None:
        self._whole = LinearStates((), ())
        self._rows: list[LinearStates] = []

    def of(self, slots: Sequence[LinearSlot]) -> LinearStates:
        """Return the states of these lines, stacked anew if they are others."""
        rows = [slot.states for slot in slots]
        is_known = len(rows) == len(self._rows) and all(map(is_, rows, self._rows))
        if not is_known:
            conv = zip(*(row.conv for row in rows), strict=True)
            recurrent = zip(*(row.recurrent for row in rows), strict=True)
            self._whole = LinearStates(tuple(map(_stacked, conv)), tuple(map(_stacked, recurrent)))
        return self._whole

    def put(self, whole: LinearStates, slots: Sequence[LinearSlot]) -> None:
        """Give each line its row of new states."""
        self._whole, self._rows = whole, []
        for number, slot in enumerate(slots):
            slot.states = whole.each(itemgetter(slice(number, number + 1)))
            self._rows.append(slot.states)


class _Slots:
    """One linear layer's states of all lines, as the layer's forward meets them."""

    def __init__(self, slots: Sequence[LinearSlot], stack: _Stack) -> None:
        self._slots, self._stack = slots, stack

    def run(self, inputs: Inputs, run: Runner, replay: Replay) -> Tensor:
        """Put [N, 1] inputs in, a row each; return the outputs."""
        output, after = run(inputs, self._stack.of(self._slots))
        self._stack.put(after.kept_in(self._slots[0].dtype), self._slots)
        for number, slot in enumerate(self._slots):
            slot.remember(inputs.row(number), replay)
        return output


def _stacked(rows: Sequence[Tensor | None]) -> Tensor | None:
    """Put the states of lines that have read something on top of each other."""
    there = [row for row in rows if row is not None]
    return torch.cat(there) if there else None


def _rows(whole: Tensor) -> list[Tensor]:
    """Views of the lines of [N, ...], [1, ...] each."""
    return [whole[number : number + 1] for number in range(len(whole))]
