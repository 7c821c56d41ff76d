"""The draft layer that checkpoints of the family bring along (`mtp.*`); transformers drops it.

From what the model made of a token and the token after it, one layer of attention guesses the one
after that (DeepSeek-V3, arXiv:2412.19437, section 2.2), and from its own result and guess the next.
It shares the model's embedding and output matrix. Of the line it remembers what it was shown: the
last chunk of the prompt, and the reply. Whether a guess is worth its time is `speculate.py`.
"""

import copy
import time
from collections import deque
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from typing import Any, cast, get_args

import torch
from torch import Tensor, nn

from inference.checkpoint import Checkpoint
from inference.extras import DRAFT_MARK
from inference.model import Model
from inference.module import weight_shapes
from inference.odds import NUM_TIMES, Hopes, Record
from inference.packing import quantized
from inference.pictures import FIRST_ID
from inference.prefix import num_common
from inference.quantize import quantize_layers, stacks_of
from inference.slabs import PagePool
from inference.sources import Source, sources_of
from inference.stack import Stack, StackFormat, Workspace
from inference.state import ATTENTION, HybridState, Layout

MAX_CHAIN = 4
"""Guesses in a row: each is made of the one before, and less sure."""
PRIOR = 0.7
TRY_EVERY = 64
"""Where it does not pay, it is believed once in so many looks."""
SLAB_PAGES = 4
"""What it remembers is short."""
MAX_SHOWN = 512
"""Tokens that wait to be shown to it; of more, the last."""


class DraftLayer(nn.Module):
    """The weights, under the family's names."""

    def __init__(self, trunk: Any) -> None:
        """Build one for a model; the kinds of its parts are those of the model's own."""
        super().__init__()
        config = copy.deepcopy(trunk.config)
        config.num_hidden_layers, config.layer_types = 1, ["full_attention"]
        config._attn_implementation = ATTENTION
        norm, width = type(trunk.norm), config.hidden_size
        self.fc = nn.Linear(2 * width, width, bias=False)
        self.pre_fc_norm_embedding = norm(width, eps=config.rms_norm_eps)
        self.pre_fc_norm_hidden = norm(width, eps=config.rms_norm_eps)
        self.layers = nn.ModuleList([type(trunk.layers[0])(config, 0)])
        self.norm = norm(width, eps=config.rms_norm_eps)
        self.layout = Layout((0,), (), (), config.num_key_value_heads, config.head_dim)

    def forward(self, hidden: Tensor, following: Tensor, turns: Any, cache: Any) -> Tensor:
        """Return [1, T, D], to be fed to the output matrix, or to this again.

        Args:
            hidden: [1, T, D], what the model, or this, made of T tokens, after the last norm.
            following: [1, T, D], the embeddings of the tokens after each.
            turns: the rotary embedding of the places of these.
            cache: remembers T more of them.
        """
        joined = [self.pre_fc_norm_embedding(following), self.pre_fc_norm_hidden(hidden)]
        states = self.fc(torch.cat(joined, dim=-1))
        states = self.layers[0](states, position_embeddings=turns, past_key_values=cache)
        normed: Tensor = self.norm(states)
        return normed


class Mtp:
    """A model's draft layer, ready to run."""

    def __init__(self, model: Model, layer: DraftLayer) -> None:
        model.show_hidden()
        self._model, self._module = model, cast(Any, model.module)
        self.layer = layer.eval()
        self._pool = PagePool(layer.layout.kv_shape(model.dtype, model.device), SLAB_PAGES)
        self.records = tuple(Record(PRIOR) for _ in range(MAX_CHAIN))
        """How often the first, second ... guess was right where those before it were."""
        self.kept = Hopes()
        self.times: deque[float] = deque(maxlen=NUM_TIMES)
        """Seconds that a guess took."""

    def new_memory(self) -> HybridState:
        """Return one that was shown nothing."""
        return HybridState(self.layer.layout, self._pool)

    def step(
        self, hidden: Tensor, following: Sequence[int], first: int, memory: HybridState
    ) -> Tensor:
        """Show it tokens; return what it makes of them, [T, D].

        Args:
            hidden: [T, D], of the tokens before each of `following`.
            following: T tokens.
            first: the position of the first of them.
            memory: of those before.
        """
        ids = torch.tensor([following], device=hidden.device)
        positions = torch.arange(first, first + len(following), device=hidden.device)
        turns = self._module.model.rotary_emb(hidden, positions.view(1, 1, -1).expand(3, 1, -1))
        embedded = self._module.get_input_embeddings()(ids.where(ids < FIRST_ID, 0))
        states: Tensor = self.layer(hidden[None], embedded, turns, memory.begin(len(following)))
        memory.commit(following)
        return states[0]

    def best(self, hidden: Tensor) -> int:
        """Return the most likely token after [D]."""
        return int(self._model.head(hidden).argmax())


class MtpSource:
    """The guesses of one reply: a `Source` (speculate.py)."""

    def __init__(self, mtp: Mtp, state: HybridState) -> None:
        """Begin.

        Args:
            mtp: makes the guesses.
            state: of the branch; it holds what the model made of the last tokens.
        """
        self._mtp, self._state = mtp, state
        self._memory = mtp.new_memory()
        self._shown: list[Tensor] = []
        """What the model made of the last tokens read, until the layer is shown it."""
        self._end = 0
        """How many tokens the line had then."""
        self._unread: Sequence[int] = ()
        self._guess: list[int] = []
        self._num_looks = 0

    @property
    def guess_s(self) -> float:
        """Seconds that one guess takes."""
        return float(median(self._mtp.times)) if self._mtp.times else 0.0

    def hopes(self, unread: Sequence[int]) -> Sequence[float]:
        """Note what was read; the record is what there is to say."""
        self._unread, self._guess = unread, []
        self._num_looks += 1
        self._follow()
        if not self._shown:
            return ()
        if self._num_looks > TRY_EVERY:
            return (1.0,)
        return self._mtp.kept.of(self._chances(MAX_CHAIN))

    def guess(self, num_guesses: int) -> list[int]:
        """Show the layer what it has not seen, then let it go on from its own guesses."""
        started = time.perf_counter()
        self._num_looks = 0
        tokens = list(self._unread[1:])
        num_alone = len(tokens) + num_guesses - 1
        place = len(self._state) + self._state.offset + 1
        with torch.inference_mode():
            states = self._show()
            self._memory.allow_rollback(num_alone)
            for number in range(num_alone):
                if number == len(tokens):
                    tokens.append(self._mtp.best(states))
                token = tokens[number : number + 1]
                states = self._mtp.step(states[None], token, place + number, self._memory)[-1]
            tokens.append(self._mtp.best(states))
            self._memory.rollback(num_alone)
        self._mtp.times.append((time.perf_counter() - started) / num_guesses)
        self._guess = tokens[-num_guesses:]
        return self._guess

    def learn(self, came: Sequence[int]) -> None:
        """See what came after the last look."""
        if not self._guess:
            return
        num_right = num_common(self._guess, came)
        self._mtp.kept.note(self._chances(len(self._guess)), num_right)
        for number in range(min(num_right + 1, len(self._guess), len(came))):
            self._mtp.records[number].note(number < num_right)

    def _chances(self, num_guesses: int) -> list[float]:
        return [record.chance for record in self._mtp.records[:num_guesses]]

    def _follow(self) -> None:
        """Take what the model made of the tokens read since the last look, where it is there."""
        hidden, num_new = self._state.hidden, len(self._state) - self._end
        self._end = len(self._state)
        if hidden is None or len(hidden) < num_new:
            self._shown.clear()
        if hidden is not None and num_new:
            self._shown = [torch.cat([*self._shown, hidden[-num_new:]])[-MAX_SHOWN:]]

    def _show(self) -> Tensor:
        """Show the layer all that waits; return what it makes of the last of it, [D]."""
        hidden = torch.cat(self._shown)
        self._shown.clear()
        line = self._state.tokens[len(self._state) - len(hidden) + 1 :]
        first = len(self._state) + self._state.offset - len(line)
        following = [*line, self._unread[0]]
        return self._mtp.step(hidden, following, first, self._memory)[-1]


def read_mtp(folder: Path, model: Model) -> Mtp | None:
    """Return the draft layer of a checkpoint; None where it has none, or not as plain numbers.

    Raises:
        ModelUnavailable: it has a damaged one.
    """
    if model.quantization not in ("", *get_args(StackFormat)):
        return None
    checkpoint = Checkpoint(folder)
    if DRAFT_MARK not in checkpoint.entries:
        return None
    trunk: Any = model.module
    with torch.device("meta"):
        layer = DraftLayer(trunk.model)
        named = nn.ModuleDict({"mtp": layer})
        if model.quantization:
            quantize_layers(named, cast(StackFormat, model.quantization), Workspace())
    shapes, stacks = weight_shapes(named), stacks_of(named)
    for name, source in sources_of(shapes, checkpoint.entries, folder).items():
        parent, _, leaf = name.rpartition(".")
        weight: Stack | nn.Parameter
        if name in stacks:
            weight = quantized(name, stacks[name], source, model.device, Source.pieces)
        else:
            pieces = (source.pieces(number) for number in range(len(source.matrices)))
            plain = torch.cat(list(chain.from_iterable(pieces))).view(shapes[name])
            weight = nn.Parameter(plain.to(model.device, model.dtype), requires_grad=False)
        setattr(named.get_submodule(parent), leaf, weight)
    model.speed_up(named)
    return Mtp(model, layer)
