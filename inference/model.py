"""A language model of transformers as one function: token ids and a state in, logits out.

It knows weights and a device; it does not know where the weights came from (`loader.py`), which
tokens are worth keeping (`engine.py`) or how one is chosen (`sampling.py`).
"""

import time
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from inference import stack_kernels
from inference.cpu_layers import adopt_small
from inference.decode_step import DecodeStep
from inference.delta_layer import adopt
from inference.errors import PictureUnreadable
from inference.experts import make_plain
from inference.graph_step import GraphStep
from inference.kernels import Kernels, kernels
from inference.kv_codec import KvKind
from inference.pictures import FIRST_ID, Place
from inference.quantize import stacks_of
from inference.slabs import PagePool
from inference.stack import Stack
from inference.state import ATTENTION, HybridState, Layout, Read
from inference.vision import Vision, positions_of

SHORT_NAMES = {torch.bfloat16: "bf16", torch.float16: "fp16", torch.float32: "fp32"}
"""What people call the kinds of numbers that weights are."""
COMPILED_S = 3.0
"""Seconds that kernels for a GPU take to be tried only where they were compiled first."""


class Step(Protocol):
    """Reads few tokens sooner than the module does: on a CPU, or on a GPU."""

    prepared_s: float
    """Seconds that it has spent so far on what later forwards use again."""

    def takes(self, reads: Sequence[Read], stops: Sequence[int]) -> bool:
        """Say whether it can read these."""
        ...

    def run(self, reads: Sequence[Read], asked: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read them: logits float32 [len(asked), V], and what was made of all, [T, hidden]."""
        ...

    def normed(self, x: Tensor) -> Tensor:
        """Return what `run` made of tokens after the last norm, [T, hidden]."""
        ...


class Model:
    """The text part of a causal model, ready to run. The module is changed: it needs our state."""

    def __init__(
        self,
        module: PreTrainedModel,
        recurrent_dtype: torch.dtype = torch.float32,
        kv: KvKind = "16bit",
        quantization: str = "",
        fast_kernels: bool = True,
    ) -> None:
        """Take a module over.

        Args:
            module: of transformers, with its weights.
            recurrent_dtype: of recurrent states between forwards; float16 halves a snapshot.
            kv: how keys and values are stored.
            quantization: what the weights are kept in; "" where they are as they were.
            fast_kernels: False computes everything in the plainest way, for comparison.
        """
        self.quantization = quantization
        self.fast_kernels = fast_kernels
        self.module = module
        self.recurrent_dtype = recurrent_dtype
        module.train(False)
        module.set_attn_implementation(ATTENTION)
        adopt(module, fast_kernels)
        began = time.perf_counter()
        self.kernels = self._kernels() if fast_kernels else None
        """What few tokens are computed by on a CPU."""
        self.speed_up(module)
        if fast_kernels and self.device.type == "cpu":
            adopt_small(module)
        self.config = module.config.get_text_config(decoder=True)
        self.vision: Vision | None = None
        """What sees pictures, where the checkpoint has it."""
        self._shows_hidden = False
        self._hidden: Tensor | None = None
        self.layout = Layout.of(self.config)
        self.pool = PagePool(self.layout.kv_shape(self.dtype, self.device, kv))
        self._step: Step | None = DecodeStep.of(module, self.kernels, self.layout)
        if fast_kernels and self._step is None:
            self._step = GraphStep.of(module, self.layout, self.pool)
        self.notice = _notice(self.kernels, self.device, time.perf_counter() - began)
        """A sentence where kernels had to be compiled; "" where they were there."""

    def _kernels(self) -> Kernels | None:
        """Compile or find the kernels of a model that is on the CPU, as a whole or in part."""
        return kernels() if self.device.type == "cpu" or _on_cpu(self.module) else None

    def speed_up(self, module: nn.Module) -> None:
        """Give the stacks of this model, or of what runs beside it, kernels."""
        if not self.fast_kernels:
            make_plain(module)
            return
        stack_kernels.adopt(module)
        for stack in _on_cpu(module):
            stack.kernels = self.kernels

    @property
    def device(self) -> torch.device:
        """Where the weights are, and where logits come out."""
        device: torch.device = self.module.device
        return device

    @property
    def dtype(self) -> torch.dtype:
        """What the weights are."""
        dtype: torch.dtype = self.module.dtype
        return dtype

    @property
    def weights(self) -> str:
        """What the weights are, in a word."""
        return self.quantization or SHORT_NAMES.get(
            self.dtype, str(self.dtype).removeprefix("torch.")
        )

    def clock(self) -> float:
        """Return seconds of a clock that stands while something is prepared for later forwards."""
        return time.perf_counter() - (self._step.prepared_s if self._step is not None else 0.0)

    @property
    def few_tokens_by(self) -> str:
        """What reads few tokens: a class name; the module's where nothing is sooner."""
        return type(self._step or self.module).__name__

    @property
    def vocab_size(self) -> int:
        """How many logits there are."""
        return int(self.config.vocab_size)

    @property
    def context_tokens(self) -> int:
        """The longest sequence that the model was made for."""
        return int(self.config.max_position_embeddings)

    @cached_property
    def weights_nbytes(self) -> int:
        """Bytes of the weights; what two layers share counts once."""
        tensors = (*self.module.parameters(), *self.module.buffers())
        return sum(tensor.nbytes for tensor in tensors)

    def show_hidden(self) -> None:
        """From now on leave in a state what was made of its last tokens (`HybridState.hidden`)."""

        self._shows_hidden = True

        def keep(_module: nn.Module, _arguments: Any, output: Any) -> None:
            self._hidden = output.last_hidden_state[0]

        self.module.base_model.register_forward_hook(keep)

    def head(self, normed: Tensor) -> Tensor:
        """Return what the output matrix makes of [D], which has been through the last norm: [V]."""
        if isinstance(self._step, DecodeStep):
            return self._step.head(normed[None])[0]
        logits: Tensor = self.module.lm_head(normed)
        return logits

    def new_state(self) -> HybridState:
        """A state that has read nothing."""
        return HybridState(self.layout, self.pool, self.recurrent_dtype)

    def forward(self, tokens: Sequence[int], state: HybridState) -> Tensor:
        """Read one token or more after those in `state`; logits after the last, float32 [V]."""
        return self.forward_past(tokens, state, ())[-1]

    def forward_past(
        self,
        tokens: Sequence[int],
        state: HybridState,
        stops: Sequence[int],
        places: Sequence[Place] = (),
    ) -> list[Tensor]:
        """Like `forward`, so that the state can keep snapshots of `stops` on its way.

        Args:
            tokens: what is read.
            state: reads them.
            stops: numbers of these tokens, rising, each less than all of them.
            places: the pictures among them, each whole; no stop is inside one.

        Returns:
            The logits after each stop and after the last token, float32 [V] each.

        Raises:
            PictureUnreadable: one is not what it was, or this model sees none.
        """
        logits = self._run(tokens, state, stops, (*stops, len(tokens)), places)
        if not stops:
            return [logits[-1]]
        return [row.clone() for row in logits]  # a view would keep all of them alive

    def forward_all(
        self, tokens: Sequence[int], state: HybridState, stops: Sequence[int] = ()
    ) -> Tensor:
        """Like `forward_past`, with the logits after every token, float32 [T, V]."""
        return self._run(tokens, state, stops, range(1, len(tokens) + 1))

    def forward_lines(self, tokens: Sequence[int], states: Sequence[HybridState]) -> Tensor | None:
        """Read `tokens[i]` after those of `states[i]`, by what reads few tokens sooner.

        Returns:
            The logits after each, float32 [N, V]; None where there is no such thing for this model,
            or not for so many: nothing was read then.
        """
        reads = [(state, (token,)) for state, token in zip(states, tokens, strict=True)]
        if self._step is None or not self._step.takes(reads, ()):
            return None
        for state in states:
            state.begin(1)
        with torch.inference_mode():
            logits, made = self._step.run(reads, range(1, len(tokens) + 1))
            shown = self._normed(made)
        for number, (state, own) in enumerate(reads):
            state.commit(own)
            state.hidden = None if shown is None else shown[number : number + 1].clone()
        return logits

    def _normed(self, made: Tensor) -> Tensor | None:
        """Return what the layers made of tokens as a draft layer wants it, if there is one."""
        if self._step is None or not self._shows_hidden:
            return None
        return self._step.normed(made).to(self.dtype)

    def _run(
        self,
        tokens: Sequence[int],
        state: HybridState,
        stops: Sequence[int],
        asked: Sequence[int],
        places: Sequence[Place] = (),
    ) -> Tensor:
        assert tokens, "one token must be left to run"
        with torch.inference_mode():
            reads = [(state, tokens)]
            if self._step is not None and not places and self._step.takes(reads, stops):
                state.begin(len(tokens), stops)
                logits, made = self._step.run(reads, asked)
                self._hidden = self._normed(made)
            else:
                logits = self._run_module(tokens, state, stops, asked, places)
        state.commit(tokens, [place.shift for place in places])
        state.hidden, self._hidden = self._hidden, None
        return logits

    def _run_module(
        self,
        tokens: Sequence[int],
        state: HybridState,
        stops: Sequence[int],
        asked: Sequence[int],
        places: Sequence[Place],
    ) -> Tensor:
        inputs = self._inputs(tokens, state, places)
        output = self.module(
            **inputs,
            past_key_values=state.begin(len(tokens), stops),
            use_cache=True,
            logits_to_keep=_indices(asked, len(tokens), self.device),
        )
        logits: Tensor = output.logits[0].float()
        return logits

    def _inputs(
        self, tokens: Sequence[int], state: HybridState, places: Sequence[Place]
    ) -> dict[str, Tensor]:
        """Say what is read, and at which positions where they are not the tokens' numbers."""
        ids = torch.tensor([tokens], dtype=torch.long, device=self.device)
        if not places and not state.shifts:
            return {"input_ids": ids}
        first = len(state)
        positions = positions_of(len(tokens), first, first + state.offset, places)
        inputs = {"position_ids": positions[:, None].to(self.device)}
        if not places:
            return inputs | {"input_ids": ids}
        embedded = self.module.get_input_embeddings()(ids.where(ids < FIRST_ID, 0))
        for place in places:
            seen = self._see(place).to(embedded)
            embedded[0, place.start - first : place.end - first] = seen
        return inputs | {"inputs_embeds": embedded}

    def _see(self, place: Place) -> Tensor:
        if self.vision is None:
            raise PictureUnreadable("This model sees no pictures.")
        return self.vision.see(place)


def _on_cpu(module: nn.Module) -> list[Stack]:
    """Return the stacks that are in the memory of the machine."""
    stacks = stacks_of(module).values()
    return [stack for stack in stacks if next(stack.buffers()).device.type == "cpu"]


def _indices(asked: Sequence[int], num_tokens: int, device: torch.device) -> Tensor | int:
    """Say which logits are wanted, in the words of transformers."""
    if tuple(asked) == (num_tokens,):
        return 1  # the last: needs no tensor on the device
    return torch.tensor(asked, device=device) - 1


def _notice(kernels: Kernels | None, device: torch.device, seconds: float) -> str:
    if kernels is not None and kernels.notice:
        return kernels.notice
    if device.type == "cpu" or seconds < COMPILED_S:
        return ""
    return f"Kernels for this GPU were compiled and tried in {seconds:.0f} s; they are kept."
