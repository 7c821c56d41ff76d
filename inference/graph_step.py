"""A forward over few tokens on a GPU, as one CUDA graph.

A token of a 35B-A3B is some thousand kernels of a few microseconds, and Python needs longer to
launch one than the device to run it. A graph launches them all at once, but it can only do the same
again: the same kernels at the same addresses. So transformers' module is run here between buffers
that never move, a frame for each number of lines and tokens: what it reads of a line is copied in
unless it is there still, what it makes of the states is copied out, and pages are found by a table
that kernels read on the device (`page_kernels.py`).

What cannot be recorded is run as it is, over the same buffers: later, and with the same result.
Never run on a GPU yet (docs/bench/gpu.md); on a CPU, tests hold a frame to what the module says and
to being recordable.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from inference.cuda_graph import CudaGraph
from inference.delta_layer import DELTA_LAYERS
from inference.frame import Form, Frame, FrameStates, Made, Read
from inference.page_kernels import Extent, Pages
from inference.page_trial import kernels_for
from inference.slabs import PAGE_TOKENS, PagePool
from inference.state import HybridState, Layout

LOG = logging.getLogger(__name__)

MAX_ROWS = 16
"""Tokens of one forward, of all its lines."""
SPARE_BYTES = 1 << 28
"""What has to be free on the device beside the buffers of a new frame."""


Record = Callable[[Callable[[], Made]], Callable[[], Made]]
"""Turns a forward into one that does the same again, in the same tensors, sooner."""


@dataclass(frozen=True)
class _Recorded:
    """A frame, and what runs its forward."""

    frame: Frame
    forward: Callable[[], Made]


class GraphStep:
    """The text part of a causal model for few tokens at a time, on a CUDA device."""

    def __init__(
        self, module: Any, layout: Layout, new_pages: Callable[[Form], Pages], record: Record | None
    ) -> None:
        """Take the weights of a module; they stay its own.

        Args:
            module: of transformers, with our attention and our linear layers in it.
            layout: its own.
            new_pages: makes what a frame finds keys and values by.
            record: records a forward; None to call it, every time.
        """
        self._module, self._layout = module, layout
        self._new_pages, self._record = new_pages, record
        self._states: dict[int, FrameStates] = {}
        """By the number of lines: those of one, and of how many there were last beside it."""
        self._frames: dict[Form, _Recorded] = {}

    @classmethod
    def of(cls, module: Any, layout: Layout, pool: PagePool) -> "GraphStep | None":
        """Return the step of a module; None where it or the device is not known here."""
        ours = sum(type(layer).__name__ in DELTA_LAYERS for layer in module.modules())
        if module.device.type != "cuda" or not ours or ours != len(layout.linear):
            return None
        if not _is_whole(module):
            return None
        num_heads = module.config.num_attention_heads
        pages = kernels_for(pool.shape, num_heads)
        if pages is None:
            return None
        max_pages = -(-module.config.max_position_embeddings // PAGE_TOKENS)
        memory = torch.cuda.graph_pool_handle()
        return cls(
            module,
            layout,
            lambda form: pages(pool, Extent(form.num_lines, form.num_tokens, max_pages, num_heads)),
            partial(CudaGraph, device=module.device, memory=memory),
        )

    def takes(self, reads: Sequence[Read], stops: Sequence[int] = ()) -> bool:
        """Say whether these can be read here: few, as many by each line, in one go, after some."""
        form = _form(reads)
        states = [state for state, _ in reads]
        if form is None or stops or not all(map(len, states)):
            return False
        return form in self._frames or self._has_room(form, states[0])

    def run(self, reads: Sequence[Read], asked: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read tokens into states that expect them; return the logits after some of them.

        Args:
            reads: states between `begin` and `commit`, and what each reads, as `takes` allows.
            asked: numbers of all these tokens, from 1, line by line.

        Returns:
            Logits, float32 [len(asked), V], and what the layers made of all T tokens, after the
            last norm, [T, hidden].
        """
        form = _form(reads)
        assert form is not None, "`takes` was asked"
        recorded = self._frames.get(form) or self._made(form, reads)
        recorded.frame.load(reads)
        made = recorded.forward()
        recorded.frame.store(reads)
        rows = [number - 1 for number in asked]
        is_all = len(rows) == form.num_rows
        logits = made.logits.clone() if is_all else torch.stack([made.logits[row] for row in rows])
        return logits, made.hidden.clone()

    def normed(self, x: Tensor) -> Tensor:
        """Return what `run` made of tokens after the last norm: it is."""
        return x

    def _made(self, form: Form, reads: Sequence[Read]) -> _Recorded:
        """Make a frame, and record it where that is possible."""
        states = self._states_for(form.num_lines, reads[0][0])
        pages = self._new_pages(form)
        frame = Frame(self._module, self._layout, form, states, pages)
        frame.load(reads)  # recording reads them, more than once
        self._frames[form] = _Recorded(frame, self._recorded(frame.forward))
        return self._frames[form]

    def _recorded(self, forward: Callable[[], Made]) -> Callable[[], Made]:
        if self._record is None:
            return forward
        try:
            return self._record(forward)
        except RuntimeError as error:
            self._record = None
            LOG.warning("CUDA graphs are not used: recording one failed (%s).", error)
            return forward

    def _states_for(self, num_lines: int, example: HybridState) -> FrameStates:
        """Return room for the states of so many lines; that of another number of several goes."""
        if num_lines not in self._states:
            for other in [number for number in self._states if number > 1 and num_lines > 1]:
                del self._states[other]
                self._frames = {f: r for f, r in self._frames.items() if f.num_lines != other}
            examples = [slot.states for slot in example.slots.values()]
            self._states[num_lines] = FrameStates(examples, num_lines)
        return self._states[num_lines]

    def _has_room(self, form: Form, example: HybridState) -> bool:
        """Say whether there is memory for one more frame, beside what snapshots will want."""
        if self._module.device.type != "cuda":
            return True
        device = self._module.device
        free, _ = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        if form.num_lines in self._states:
            return free + unused >= SPARE_BYTES
        examples = [slot.states for slot in example.slots.values()]
        return free + unused >= FrameStates.nbytes(examples, form.num_lines) + SPARE_BYTES


def _form(reads: Sequence[Read]) -> Form | None:
    """Return the form of a forward; None if it has none here."""
    form = Form(len(reads), len(reads[0][1]))
    is_even = all(len(tokens) == form.num_tokens for _, tokens in reads)
    return form if is_even and form.num_rows <= MAX_ROWS else None


def _is_whole(module: Any) -> bool:
    """Say whether all that computes is on one device; an embedding may be elsewhere."""
    embedding = set(module.get_input_embeddings().modules())
    tensors = (
        tensor
        for part in module.modules()
        if part not in embedding
        for tensor in (*part.parameters(recurse=False), *part.buffers(recurse=False))
    )
    return all(tensor.device == module.device for tensor in tensors)
