"""Compiles the kernels for pages for cards that are not there; prints what each program takes.

A process of its own: where Triton's interpreter is asked for, nothing is compiled. The calls are
those of `KernelPages`, on tensors of a CPU, and nothing is launched. Arguments are the card's
capability, how keys are stored, and how many tokens are new, again and again: `86 int8 1`.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.runtime.jit import JITFunction

from inference import page_kernels
from inference.kv_codec import KvKind, KvShape
from inference.page_kernels import Extent, KernelPages
from inference.slabs import PagePool

NUM_HEADS, NUM_QUERY_HEADS, DIM = 4, 24, 256
"""Of the model of 27 billion parameters."""


@dataclass(frozen=True)
class Card:
    """What Triton asks of a driver before it compiles."""

    capability: int

    def get_current_device(self) -> int:
        return self.capability  # what is compiled is kept by this number

    def get_current_stream(self, _device: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability, 32)


def compiled(kind: KvKind, num_tokens: int) -> list[Any]:
    """Return what the calls of one layer compile."""
    found: list[Any] = []

    def get(function: Any, grid: tuple[int, ...]) -> Callable[..., None]:
        return lambda *args, **options: found.append(
            function.run(*args, grid=grid, warmup=True, **options)
        )

    JITFunction.__getitem__ = get
    page_kernels._multiplied = lambda shape: shape.dtype
    shape = KvShape(1, NUM_HEADS, DIM, torch.bfloat16, torch.device("cpu"), kind)
    pages = KernelPages(PagePool(shape), Extent(1, num_tokens, 1, NUM_QUERY_HEADS))
    new = torch.zeros(1, NUM_HEADS, num_tokens, DIM, dtype=shape.dtype)
    pages.write(0, new, new)
    pages.attend(0, new.repeat(1, NUM_QUERY_HEADS // NUM_HEADS, 1, 1), DIM**-0.5)
    return found


def taken(kernel: Any) -> dict[str, Any]:
    """Say what a program takes: bytes that its threads share, registers, bytes that spill."""
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(kernel.asm["cubin"])
        file.flush()
        command = [triton.knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        usage = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers, spilled = map(int, re.findall(r"(?:REG|STACK):(\d+)", usage))
    metadata = kernel.metadata
    name = f"{metadata.name} for {metadata.target.arch}"
    return {"name": name, "shared": metadata.shared, "registers": registers, "spilled": spilled}


if __name__ == "__main__":
    capabilities, kinds, numbers = (sys.argv[first::3] for first in (1, 2, 3))
    for capability, kind, number in zip(capabilities, kinds, numbers, strict=True):
        triton.runtime.driver.set_active(Card(int(capability)))
        for kernel in compiled(kind, int(number)):
            print(json.dumps(taken(kernel)))
