"""Which tensors of a checkpoint make up each weight of a module; reads no number.

The text part of a checkpoint with vision has names of its own; experts are one tensor a layer
(Qwen3.5) or one a matrix (Qwen3), their first two matrices apart. Each weight is a row of matrices,
each matrix a row of parts on top of each other.
"""

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inference.checkpoint import Entry
from inference.errors import ModelUnavailable

PIECE_BYTES = 1 << 27
"""What is read at a time."""
FUSED = re.compile(r"(.*\.experts)\.(gate_up_proj|down_proj)")
SPLIT = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}
TEXT_PREFIX = re.compile(r"^model\.language_model\.")


@dataclass(frozen=True)
class Part:
    """Rows of a tensor, seen as one long list of rows."""

    entry: Entry
    rows: slice

    def pieces(self) -> Iterator[Tensor]:
        """Read it, so much at a time."""
        columns = self.entry.shape[-1]
        step = max(1, PIECE_BYTES // columns // self.entry.torch_dtype.itemsize // 64) * 64
        for first in range(self.rows.start, self.rows.stop, step):
            yield self.entry.read(slice(first, min(first + step, self.rows.stop)))


@dataclass(frozen=True)
class Source:
    """What one weight of the module is read from."""

    matrices: tuple[tuple[Part, ...], ...]
    """Several for experts, one for everything else."""

    @property
    def dtype(self) -> torch.dtype:
        """Of the numbers in the files."""
        return self.matrices[0][0].entry.torch_dtype

    @property
    def files(self) -> set[Path]:
        """Where they are."""
        return {part.entry.file for parts in self.matrices for part in parts}

    @property
    def nbytes(self) -> int:
        """What is read."""
        return sum(
            (part.rows.stop - part.rows.start) * part.entry.shape[-1] * self.dtype.itemsize
            for parts in self.matrices
            for part in parts
        )

    def pieces(self, matrix: int) -> Iterator[Tensor]:
        """Read a matrix: pieces of [rows, columns], a vector being one row."""
        for part in self.matrices[matrix]:
            yield from part.pieces()


def sources_of(
    shapes: Mapping[str, tuple[int, ...]], entries: Mapping[str, Entry], folder: Path
) -> dict[str, Source]:
    """Return what each weight is read from.

    Args:
        shapes: of the weights, by their names in the module.
        entries: the tensors that there are.
        folder: named in what is raised.

    Raises:
        ModelUnavailable: something is missing or has the wrong shape or kind.
    """
    named = {TEXT_PREFIX.sub("model.", name): entry for name, entry in entries.items()}
    missing = [name for name in shapes if not _found(name, shapes[name], named)]
    _refuse(missing, "no value", folder)
    sources = {name: _source(name, shape, named) for name, shape in shapes.items()}
    wrong = [name for name, source in sources.items() if source is None]
    _refuse(wrong, "a wrong shape", folder)
    return {name: source for name, source in sources.items() if source is not None}


def _refuse(names: list[str], what: str, folder: Path) -> None:
    if names:
        raise ModelUnavailable(
            f"{folder} has {what} for {sorted(names)[0]} ({len(names)} in all); "
            "its weights do not belong to its config.json, download both again."
        )


def _found(name: str, shape: tuple[int, ...], named: Mapping[str, Entry]) -> bool:
    split = _split_names(name, shape)
    return name in named or (bool(split) and all(n in named for each in split for n in each))


def _source(name: str, shape: tuple[int, ...], named: Mapping[str, Entry]) -> Source | None:
    """Return where a weight that is there comes from; None where the shapes do not agree."""
    if name not in named:
        split = _split_names(name, shape)
        matrices = tuple(tuple(_whole(named[n]) for n in names) for names in split)
        is_right = all(_stacked(parts) == shape[1:] for parts in matrices)
        return Source(matrices) if is_right else None
    entry = named[name]
    if entry.shape != shape:
        return None
    if not FUSED.fullmatch(name):
        return Source(((_whole(entry),),))
    count, rows = shape[:2]
    return Source(tuple((Part(entry, slice(n * rows, (n + 1) * rows)),) for n in range(count)))


def _split_names(name: str, shape: tuple[int, ...]) -> list[tuple[str, ...]]:
    """Return the names of the matrices of every expert, where they are not one tensor."""
    fused = FUSED.fullmatch(name)
    if not fused:
        return []
    parts = SPLIT[fused[2]]
    return [tuple(f"{fused[1]}.{n}.{part}.weight" for part in parts) for n in range(shape[0])]


def _whole(entry: Entry) -> Part:
    return Part(entry, slice(0, math.prod(entry.shape[:-1])))


def _stacked(parts: tuple[Part, ...]) -> tuple[int, ...]:
    """Return the shape of matrices on top of each other; () where they do not fit."""
    columns = {part.entry.shape[-1] for part in parts}
    rows = sum(part.rows.stop for part in parts)
    return (rows, *columns) if len(columns) == 1 else ()
