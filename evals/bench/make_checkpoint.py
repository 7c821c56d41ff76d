"""Checkpoints of any size with random weights, written as the hub has them: in several files.

    python -m evals.bench.make_checkpoint 35b-a3b FOLDER

No more than a piece of a tensor is in memory. A `ConsumedCheckpoint` is for disks that do not hold
all of it: each file is written when it is about to be read, by the reader of every checkpoint, and
removed after that. Weights depend on their names alone, so they are the same either way.
"""

import argparse
import json
import math
import os
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedConfig

from evals.bench.shapes import INITIAL_STD, SHAPES
from inference.checkpoint import Checkpoint, Entry
from inference.module import empty_module
from inference.weight_file import Slot, WeightWriter

FILE_BYTES = 4 << 30
"""Of a weight file, about; the largest tensor may make it more."""
PIECE = 1 << 24
"""Numbers that are drawn at a time."""


@dataclass(frozen=True)
class PlannedCheckpoint:
    """A folder, and what its weight files will hold."""

    folder: Path
    config: PreTrainedConfig
    files: dict[str, dict[str, Slot]]

    @property
    def nbytes(self) -> int:
        """Bytes of all weights."""
        return sum(map(_nbytes, self.files.values()))

    @property
    def largest_file_nbytes(self) -> int:
        """Bytes of the largest file."""
        return max(map(_nbytes, self.files.values()))


def plan_checkpoint(
    config: PreTrainedConfig, folder: Path, file_bytes: int = FILE_BYTES
) -> PlannedCheckpoint:
    """Divide the weights of a configuration into files."""
    groups: list[dict[str, Slot]] = [{}]
    for name, weight in empty_module(config, torch.bfloat16).named_parameters():
        slot = Slot(torch.bfloat16, tuple(weight.shape))
        if groups[-1] and _nbytes(groups[-1]) + slot.nbytes > file_bytes:
            groups.append({})
        groups[-1][name] = slot
    names = (f"model-{n:05}-of-{len(groups):05}.safetensors" for n in range(1, len(groups) + 1))
    return PlannedCheckpoint(folder, config, dict(zip(names, groups, strict=True)))


def write_checkpoint(plan: PlannedCheckpoint) -> None:
    """Write the whole folder."""
    write_description(plan)
    for name in plan.files:
        write_file(plan, name)


def write_description(plan: PlannedCheckpoint) -> None:
    """Make the folder with its configuration and index."""
    plan.folder.mkdir(parents=True)
    plan.config.architectures = [type(empty_module(plan.config, torch.bfloat16)).__name__]
    plan.config.save_pretrained(plan.folder)
    weight_map = {name: file for file, slots in plan.files.items() for name in slots}
    index = {"metadata": {"total_size": plan.nbytes}, "weight_map": weight_map}
    (plan.folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))


def write_file(plan: PlannedCheckpoint, name: str) -> None:
    """Write one of the weight files."""
    stream = os.open(plan.folder / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        writer = WeightWriter(stream, plan.files[name], source="")
        for weight, slot in plan.files[name].items():
            writer.write(weight, _drawn(weight, slot))
        writer.finish()
    finally:
        os.close(stream)


class ConsumedCheckpoint(Checkpoint):
    """A checkpoint of which one weight file at a time is on the disk."""

    def __init__(self, plan: PlannedCheckpoint) -> None:
        self.folder = plan.folder
        self.files = [plan.folder / name for name in plan.files]
        self.entries = {
            weight: entry for name in plan.files for weight, entry in _entries(plan, name).items()
        }
        self._plan = plan

    @contextmanager
    def reading(self, file: Path) -> Iterator[None]:
        """While a file is there."""
        write_file(self._plan, file.name)
        try:
            yield
        finally:
            file.unlink()


def _entries(plan: PlannedCheckpoint, name: str) -> dict[str, Entry]:
    """Return what the header of a file that is not there yet will say."""
    place = WeightWriter(-1, plan.files[name], source="").data_start
    entries = {}
    for weight, slot in plan.files[name].items():
        entries[weight] = Entry(weight, plan.folder / name, "BF16", slot.shape, place)
        place += slot.nbytes
    return entries


def _nbytes(slots: dict[str, Slot]) -> int:
    return sum(slot.nbytes for slot in slots.values())


def _drawn(name: str, slot: Slot) -> Iterator[Tensor]:
    """Draw a weight, a piece after the other: as transformers would begin a training."""
    num = math.prod(slot.shape)
    for first in range(0, num, PIECE):
        length = min(PIECE, num - first)
        start = zlib.crc32(f"{name} {first}".encode()) % PIECE
        front = _pool()[start : start + length]
        numbers = torch.cat([front, _pool()[: length - len(front)]])
        if name.endswith(".A_log"):
            yield numbers.float().div(INITIAL_STD).abs().add(1).log().to(slot.dtype)
        elif name.endswith((".dt_bias", ".linear_attn.norm.weight")):
            yield torch.ones_like(numbers)
        else:
            yield numbers


@cache
def _pool() -> Tensor:
    """Normal numbers; each piece of a weight begins at a place of its own in them.

    So many for every weight would take longer to draw than to quantize.
    """
    numbers = torch.randn(PIECE, generator=torch.Generator().manual_seed(0))
    return numbers.mul_(INITIAL_STD).bfloat16()


def main() -> int:
    """Make the checkpoint that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.folder.exists():
        print(f"{arguments.folder} exists; name a new folder.", file=sys.stderr)
        return 2
    plan = plan_checkpoint(SHAPES[arguments.shape].config(), arguments.folder)
    try:
        write_checkpoint(plan)
    except OSError as error:
        print(f"{arguments.folder} cannot be written: {error.strerror}.", file=sys.stderr)
        return 2
    print(f"{arguments.folder}: {plan.nbytes / 1e9:.2f} GB in {len(plan.files)} files")
    return 0


if __name__ == "__main__":
    sys.exit(main())
