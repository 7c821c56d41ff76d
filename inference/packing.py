"""From the numbers of a checkpoint to the tensors that a module holds, a weight at a time.

Two ways: into memory as they are, or quantized into a file that is then mapped. Either way no more
than one weight is held beside what stays.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.checkpoint import Checkpoint
from inference.door import LoadProgress, LoadStage, OnProgress
from inference.errors import ModelUnavailable
from inference.module import stored_tensors, weight_shapes
from inference.nf4 import NotFinite
from inference.quantize import stacks_of
from inference.sources import Source, sources_of
from inference.stack import Stack
from inference.weight_file import Slot, writing

Read = Callable[[Source, int], Iterator[Tensor]]
"""Yields a matrix of a weight, in pieces."""


class _Counter:
    """Tells how much was read."""

    def __init__(self, total: int, stage: LoadStage, on_progress: OnProgress) -> None:
        self._total, self._stage, self._on_progress = total, stage, on_progress
        self._started = time.perf_counter()
        self._num = 0

    def pieces(self, source: Source, matrix: int) -> Iterator[Tensor]:
        for piece in source.pieces(matrix):
            yield piece
            self._num += piece.nbytes
            elapsed_s = time.perf_counter() - self._started
            self._on_progress(LoadProgress(self._num, self._total, self._stage, elapsed_s))


def read_plain(
    module: PreTrainedModel,
    checkpoint: Checkpoint,
    dtype: torch.dtype,
    device: torch.device,
    on_progress: OnProgress,
) -> dict[str, Tensor]:
    """Return all weights of a module that is not quantized, in `dtype` on `device`.

    Raises:
        ModelUnavailable: the checkpoint does not hold them.
    """
    shapes = weight_shapes(module)
    sources = sources_of(shapes, checkpoint.entries, checkpoint.folder)
    counter = _Counter(sum(s.nbytes for s in sources.values()), "read", on_progress)
    return {
        name: _plain(source, shapes[name], dtype, device, counter)
        for name, source in _in_file_order(checkpoint, sources)
    }


def pack(
    module: PreTrainedModel,
    checkpoint: Checkpoint,
    file: Path,
    device: torch.device,
    on_progress: OnProgress,
) -> None:
    """Write all tensors of a module with stacks to a file; what has none stays as it was stored.

    The numbers are quantized on `device`, a weight at a time.

    Raises:
        ModelUnavailable: the checkpoint does not hold them, or the file cannot be written.
    """
    sources = sources_of(weight_shapes(module), checkpoint.entries, checkpoint.folder)
    counter = _Counter(sum(s.nbytes for s in sources.values()), "quantize", on_progress)
    stacks = stacks_of(module)
    slots = packed_slots(module, sources)
    with writing(file, slots, str(checkpoint.folder.resolve())) as writer:
        for name, source in _in_file_order(checkpoint, sources):
            if name in stacks:
                stack = quantized(name, stacks[name], source, device, counter.pieces)
                for part, tensor in stack.named_buffers():
                    writer.write(f"{name}.{part}", [tensor.cpu()])
            else:
                shape = tuple(module.get_parameter(name).shape)
                cpu = torch.device("cpu")
                writer.write(name, [_plain(source, shape, source.dtype, cpu, counter)])


def packed_slots(module: PreTrainedModel, sources: Mapping[str, Source]) -> dict[str, Slot]:
    """Return what is in the file of a module with stacks."""
    return {
        name: Slot(sources[name].dtype if name in sources else tensor.dtype, tuple(tensor.shape))
        for name, tensor in stored_tensors(module)
    }


def _in_file_order(
    checkpoint: Checkpoint, sources: Mapping[str, Source]
) -> Iterator[tuple[str, Source]]:
    """Yield the weights so that each file is read once, as far as that can be."""
    last = {name: max(source.files) for name, source in sources.items()}
    for file in checkpoint.files:
        with checkpoint.reading(file):
            yield from ((name, sources[name]) for name in sources if last[name] == file)


def quantized(name: str, empty: Stack, source: Source, device: torch.device, read: Read) -> Stack:
    """Return a stack like `empty` with the numbers of the weight `name`, on `device`.

    Raises:
        ModelUnavailable: some of them are none, or they cannot be read.
    """
    stack = empty.like(device)
    for matrix in range(len(source.matrices)):
        try:
            stack.put(matrix, (piece.to(device) for piece in read(source, matrix)))
        except NotFinite as error:
            file = min(source.files)
            raise ModelUnavailable(
                f"{file}: {name} holds numbers that are none (NaN or infinite), which cannot be "
                "quantized; download it again."
            ) from error
    return stack


def _plain(
    source: Source,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    device: torch.device,
    counter: _Counter,
) -> Tensor:
    weight = torch.empty(shape, dtype=dtype, device=device)
    rows = weight.view(-1, shape[-1])
    first = 0
    for matrix in range(len(source.matrices)):
        for piece in counter.pieces(source, matrix):
            rows[first : first + len(piece)] = piece
            first += len(piece)
    return weight
