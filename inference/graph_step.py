"""A forward over few tokens on a GPU, as one CUDA graph.

A token of a 35B-A3B is some thousand kernels of a few microseconds, and Python needs longer to
launch one than the device to run it. A graph launches them all at once, but it can only do the same
again: the same kernels at the same addresses. So transformers' module is run here between buffers
that never move, a frame for each number of lines and tokens: what it reads of a line is copied in
unless it is there still, what it makes of the states is copied out, and pages are found by a table
that kernels read on the device (`page_kernels.py`).

What cannot be recorded, or says something else when it is, is run as it is, over the same buffers:
later, and with the same result. Never run on a GPU yet (docs/bench/gpu.md); on a CPU, tests hold a
frame to what the module says and to being recordable.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from inference.cuda_graph import Recorder
from inference.delta_layer import DELTA_LAYERS
from inference.frame import Form, Frame, FrameStates, Made
from inference.page_kernels import Extent, Pages
from inference.page_trial import kernels_for
from inference.sizes import PAGE_TOKENS
from inference.slabs import PagePool
from inference.state import HybridState, Layout, Read

LOG = logging.getLogger(__name__)

MAX_ROWS = 16
"""Tokens of one forward, of all its lines."""
SPARE_BYTES = 1 << 28
"""What has to be free on the device beside what a new frame needs."""
TOLERANCE = 0.01
"""How far what a recording says may be from what was recorded, as a share of its length."""

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
        self._window: int = module.config.max_position_embeddings
        self._states: dict[int, FrameStates] = {}
        """By the number of lines: those of one, and of how many there were last beside it."""
        self._frames: dict[Form, _Recorded] = {}
        self.prepared_s = 0.0
        """Seconds that frames were made in."""

    @classmethod
    def of(cls, module: Any, layout: Layout, pool: PagePool) -> "GraphStep | None":
        """Return the step of a module; None where it or the device is not known here."""
        ours = sum(type(layer).__name__ in DELTA_LAYERS for layer in module.modules())
        if module.device.type != "cuda" or not ours or ours != len(layout.linear):
            return None
        if module.device.index not in (None, torch.cuda.current_device()):
            return None
        if not _is_whole(module):
            return None
        num_heads = module.config.num_attention_heads
        pages = kernels_for(pool.shape, num_heads)
        if pages is None:
            return None
        max_pages = -(-module.config.max_position_embeddings // PAGE_TOKENS)
        return cls(
            module,
            layout,
            lambda form: pages(pool, Extent(form.num_lines, form.num_tokens, max_pages, num_heads)),
            Recorder(module.device).record,
        )

    def takes(self, reads: Sequence[Read], stops: Sequence[int] = ()) -> bool:
        """Say whether these can be read here: few, as many by each line, in one go, after some."""
        form = self._form(reads)
        if form is None or stops:
            return False
        lengths = [len(state) for state, _ in reads]
        if not min(lengths) or max(lengths) + form.num_tokens > self._window:
            return False
        return form in self._frames or self._has_room(form, reads[0][0])

    def run(self, reads: Sequence[Read], asked: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read tokens into states that expect them; return the logits after some of them.

        Args:
            reads: states between `begin` and `commit`, and what each reads, as `takes` allows.
            asked: numbers of all these tokens, from 1, line by line.

        Returns:
            Logits, float32 [len(asked), V], and what the layers made of all T tokens, after the
            last norm, [T, hidden].
        """
        form = self._form(reads)
        assert form is not None, "`takes` was asked"
        recorded = self._frames.get(form) or self._made(form, reads)
        recorded.frame.load(reads)
        made = recorded.forward()
        recorded.frame.store(reads)
        num_rows = len(reads) * form.num_tokens  # rows of lines that there are
        rows = [number - 1 for number in asked]
        if len(rows) == num_rows:
            logits = made.logits[:num_rows].clone()
        else:
            logits = torch.stack([made.logits[row] for row in rows])
        return logits, made.hidden[:num_rows].clone()

    def normed(self, x: Tensor) -> Tensor:
        """Return what `run` made of tokens after the last norm: it is."""
        return x

    def _form(self, reads: Sequence[Read]) -> Form | None:
        """Return the form of a forward; None if it has none here.

        Several lines are a power of two, or twice that where such a frame is there: a line that
        comes or goes should not be a new recording.
        """
        num_lines, num_tokens = len(reads), len(reads[0][1])
        if any(len(tokens) != num_tokens for _, tokens in reads):
            return None
        if num_lines > 1:
            num_lines = 1 << (num_lines - 1).bit_length()
            num_lines *= 2 if 2 * num_lines in self._states else 1
        form = Form(num_lines, num_tokens)
        return form if form.num_rows <= MAX_ROWS else None

    def _made(self, form: Form, reads: Sequence[Read]) -> _Recorded:
        """Make a frame, and record it where that is possible."""
        began = time.perf_counter()
        states = self._states.get(form.num_lines)
        if states is None:
            examples = [slot.states for slot in reads[0][0].slots.values()]
            dtype = next(iter(reads[0][0].slots.values())).dtype
            states = FrameStates(examples, form.num_lines, dtype)
        frame = Frame(self._module, self._layout, form, states, self._new_pages(form))
        made = _Recorded(frame, self._recorded(frame, reads))
        self._frames[form], self._states[form.num_lines] = made, states
        self._drop_others(form.num_lines)  # only now: graphs share memory that ends with the last
        self.prepared_s += time.perf_counter() - began
        return made

    def _recorded(self, frame: Frame, reads: Sequence[Read]) -> Callable[[], Made]:
        """Return the forward of a frame, recorded if what comes of that is the same."""
        if self._record is None:
            return frame.forward
        try:
            frame.load(reads)  # recording reads them, more than once
            forward = self._record(frame.forward)
            frame.load(reads)
            expected = frame.forward().logits.clone()
            frame.load(reads)
            error = float((forward().logits - expected).norm() / expected.norm())
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as trouble:
            LOG.warning("A CUDA graph is not used: recording it failed (%s).", trouble)
            return frame.forward
        if not error <= TOLERANCE:
            LOG.warning("A CUDA graph is not used: it is %.1g off here.", error)
            return frame.forward
        return forward

    def _drop_others(self, num_lines: int) -> None:
        """Keep frames for one line, and for one number of several."""
        gone = [number for number in self._states if number not in (1, num_lines)]
        for number in gone:
            del self._states[number]
        self._frames = {f: made for f, made in self._frames.items() if f.num_lines not in gone}

    def _has_room(self, form: Form, example: HybridState) -> bool:
        """Say whether there is memory for one more frame, beside what snapshots will want."""
        device = self._module.device
        if device.type != "cuda":
            return True
        needed = SPARE_BYTES
        if form.num_lines not in self._states:
            states = [slot.states for slot in example.slots.values()]
            needed += 2 * FrameStates.nbytes(states, form.num_lines)  # and what is copied out
        free, total = torch.cuda.mem_get_info(device)
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        allowed = total * torch.cuda.get_per_process_memory_fraction(device)
        return min(free + unused, allowed - torch.cuda.memory_allocated(device)) >= needed


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
