"""Few rows times NF4 matrices on a CUDA device, in one launch: where that may be trusted.

What is launched is `triton_nf4.py`; Triton comes with torch for CUDA, and compiles for the card at
hand when first asked. Before it is used it is asked questions whose answers `Nf4Stack.dense` gives:
what cannot be compiled here, or multiplies by other numbers in another version, is said once, and
matrices are multiplied as without it. After that nothing waits for the device or depends on numbers
that are there, so that launches can be captured. Made for rows of 16 bits; those of float32 are
multiplied exactly, and slowly. Not run on a GPU yet (docs/bench/gpu.md).
"""

import importlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from inference import nf4
from inference.stack import FEW_GPU_ROWS, Nf4Rows, Nf4Stack, Workspace

LOG = logging.getLogger(__name__)
PACKAGE = "triton"
OPTIONS = {"num_warps": 4, "num_stages": 2, "enable_fp_fusion": False}
"""A warp for each block of a step; what the next step needs is on its way during this one; numbers
are rounded when `nf4.scales` rounds them, not once for two operations."""
TOLERANCE = 2.0**-8
"""How far an answer in bfloat16 may be from the known one, as a share of its length: its rounding
is 2**-9 of each number at most, and sums in float32 add next to nothing."""
QUESTIONS = ((2, 24, 704, 1), (3, 20, 320, 2), (3, 20, 320, FEW_GPU_ROWS))
"""What is asked about: matrices, their rows and columns, rows of `x`. All end in the middle of what
is done at a time, the first after several steps, and in the middle of a scale of scales."""


@dataclass(frozen=True)
class Nf4Kernels:
    """The kernel and how it is launched."""

    kernel: Any
    """`triton_nf4.multiply`."""
    rows: int
    """Rows of a matrix that a program has."""

    def multiply(self, x: Tensor, stack: Nf4Stack, index: int) -> Tensor:
        """Return `x`, [T, columns], T up to 16, times the matrix `index`: [T, rows]."""
        out = x.new_empty(len(x), stack.rows)
        self._launch(x, stack, None, out, index, 1)
        return out

    def multiply_each(self, x: Tensor, stack: Nf4Stack, indices: Tensor) -> Tensor:
        """Return row t of `x`, [T, columns], times each of the matrices `indices[t]`, [T, k].

        Returns:
            [T, k, rows].
        """
        out = x.new_empty(*indices.shape, stack.rows)
        self._launch(x, stack, indices.contiguous(), out, 0, indices.shape[1])
        return out

    def _launch(
        self, x: Tensor, stack: Nf4Stack, chosen: Tensor | None, out: Tensor, index: int, each: int
    ) -> None:
        grid = (-(-stack.rows // self.rows), 1 if chosen is None else chosen.numel())
        device = torch.cuda.device_of(x)  # type: ignore[no-untyped-call]
        with device:  # Triton launches on the one that is current
            self.kernel[grid](
                x.contiguous(), stack.packed, stack.absmax, stack.nested, stack.offset,
                nf4.code(x.device), nf4.scale_code(x.device), chosen, out,
                index, 1 if chosen is not None else len(x), each,
                stack.rows, stack.columns // nf4.BLOCK, **OPTIONS,
            )  # fmt: skip


def adopt(module: nn.Module) -> None:
    """Let the stacks of a module that are on a GPU multiply few rows by the kernel for it."""
    for stack in module.modules():
        if isinstance(stack, Nf4Stack) and stack.columns % nf4.BLOCK == 0:
            stack.few_rows = kernels_for(stack.packed.device)


@cache
def kernels_for(device: torch.device) -> Nf4Rows | None:
    """Return the kernels to use on a device; None where there are none."""
    if device.type != "cuda" or find_spec(PACKAGE) is None:
        return None
    return found_good(load(), device)


def load() -> Nf4Kernels | None:
    """Import the kernels; None if this version of Triton does not read them."""
    try:
        module: Any = importlib.import_module("inference.triton_nf4")
        return Nf4Kernels(module.multiply, module.ROWS.value)
    except (ImportError, AttributeError, RuntimeError) as error:  # it may find no driver
        LOG.warning("The kernel for NF4 is not used: Triton cannot be loaded (%s).", error)
        return None


def found_good(kernels: Nf4Rows | None, device: torch.device) -> Nf4Rows | None:
    """Return the kernels if they multiply by the numbers that stacks say they hold."""
    if kernels is None:
        return None
    try:
        for error in _errors(kernels, device):
            if not error <= TOLERANCE:
                LOG.warning("The kernel for NF4 is not used: it is %.1g off here.", error)
                return None
    except Exception as trouble:  # whatever a compiler raises; it goes on without
        LOG.warning("The kernel for NF4 is not used: it does not run here (%s).", trouble)
        return None
    return kernels


def _errors(kernels: Nf4Rows, device: torch.device) -> Iterator[float]:
    """Yield how far each answer is from what is known, as a share of its length."""
    random = torch.Generator().manual_seed(0)
    for count, rows, columns, num_rows in QUESTIONS:
        stack = _drawn(count, rows, columns, random).to(device)
        matrices = [stack.dense(n, slice(None), torch.bfloat16).double() for n in range(count)]
        x = torch.randn(num_rows, columns, generator=random).to(device, torch.bfloat16)
        products = x.double() @ torch.stack(matrices).mT  # [count, T, rows]
        yield _error(kernels.multiply(x, stack, count - 1), products[-1])
        indices = torch.tensor([[1, 0], [count - 1, 1]], device=device)[:num_rows]
        known = [products[chosen, number] for number, chosen in enumerate(indices)]
        yield _error(kernels.multiply_each(x[:2], stack, indices), torch.stack(known))


def _drawn(count: int, rows: int, columns: int, random: torch.Generator) -> Nf4Stack:
    """Return matrices of random numbers, with scales from 0.2 to 0.8."""
    stack = Nf4Stack(count, rows, columns, Workspace())
    for bits in (stack.packed, stack.absmax):
        bits.random_(256, generator=random)
    stack.nested.uniform_(0.1, 0.3, generator=random)
    stack.offset.uniform_(0.4, 0.6, generator=random)
    return stack


def _error(found: Tensor, known: Tensor) -> float:
    return float((found.double() - known).norm() / known.norm())
