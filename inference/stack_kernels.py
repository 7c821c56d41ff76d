"""Few rows times matrices in few bits on a CUDA device, in one launch: where that may be trusted.

What is launched is `triton_stacks.py`; Triton comes with torch for CUDA, and compiles for the card
at hand when first asked. In its trial (`trial.py`) the known answers are those of `Stack.dense`.
After that nothing waits for the device or depends on numbers that are there, so that launches can
be captured. Made for rows of 16 bits; those of float32 are multiplied exactly, and slowly. Not run
on a GPU yet (docs/bench/gpu.md). More rows of NF4 are multiplied by bitsandbytes' kernel.
"""

import importlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor, nn

from inference import nf4
from inference.stack import (
    FEW_GPU_ROWS,
    FewRows,
    Int8Stack,
    Nf4Stack,
    Stack,
    StackFormat,
    Workspace,
    new_stack,
)
from inference.trial import passes

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
class StackKernel:
    """The kernel for one kind of stack, and how it is launched."""

    kernel: Any
    """Of `triton_stacks.py`."""
    fields: Callable[[Any], tuple[Tensor, ...]]
    """What it reads of a stack."""
    columns: int
    """That it counts as one."""
    rows: int
    """Of a matrix, that a program has."""

    def multiply(self, x: Tensor, stack: Stack, index: int) -> Tensor:
        """Return `x`, [T, columns], T up to 16, times the matrix `index`: [T, rows]."""
        out = x.new_empty(len(x), stack.rows)
        self._launch(x, stack, None, out, index, 1)
        return out

    def multiply_each(self, x: Tensor, stack: Stack, indices: Tensor) -> Tensor:
        """Return row t of `x`, [T, columns], times each of the matrices `indices[t]`, [T, k].

        Returns:
            [T, k, rows].
        """
        out = x.new_empty(*indices.shape, stack.rows)
        self._launch(x, stack, indices.contiguous(), out, 0, indices.shape[1])
        return out

    def _launch(
        self, x: Tensor, stack: Stack, chosen: Tensor | None, out: Tensor, index: int, each: int
    ) -> None:
        grid = (-(-stack.rows // self.rows), 1 if chosen is None else chosen.numel())
        num_x = len(x) if chosen is None else 1
        sizes = stack.rows, stack.columns // self.columns
        tensors = x.contiguous(), *self.fields(stack), chosen, out
        self.kernel[grid](*tensors, index, num_x, each, *sizes, **OPTIONS)


def adopt(module: nn.Module) -> None:
    """Give the stacks of a module that are on a GPU the kernels that there are for them.

    Those for few rows are launched once: they are compiled for a number of columns, and that should
    not be waited for in the middle of a reply.
    """
    compiled: dict[tuple[StackFormat, int, bool], bool] = {}
    for stack in module.modules():
        if not isinstance(stack, Stack):
            continue
        device = next(stack.buffers()).device
        kind: StackFormat = "nf4" if isinstance(stack, Nf4Stack) else "int8"
        if isinstance(stack, Nf4Stack) and device.type != "cpu" and nf4.has_kernel():
            stack.fused = nf4.multiply
        kernel = kernel_for(kind, device)
        if kernel is None or stack.columns % kernel.columns:
            continue
        key = kind, stack.columns, stack.count > 1
        if key not in compiled:
            compiled[key] = _runs(kernel, stack)
        stack.few_rows = kernel if compiled[key] else None


def _runs(kernel: StackKernel, stack: Stack) -> bool:
    """Launch a kernel on a stack; say whether that can be."""
    device = next(stack.buffers()).device
    x = torch.zeros(1, stack.columns, dtype=torch.bfloat16, device=device)
    try:
        if stack.count > 1:
            kernel.multiply_each(x, stack, torch.zeros(1, 1, dtype=torch.long, device=device))
        else:
            kernel.multiply(x, stack, 0)
    except Exception as trouble:  # whatever a compiler raises; it goes on without
        LOG.warning("A kernel is not used for %d columns (%s).", stack.columns, trouble)
        return False
    return True


@cache
def kernel_for(kind: StackFormat, device: torch.device) -> StackKernel | None:
    """Return the kernel to use on a device; None where there is none."""
    if device.type != "cuda" or find_spec(PACKAGE) is None:
        return None
    kernel = load(kind)
    return kernel if kernel is not None and is_good(kernel, kind, device) else None


def load(kind: StackFormat) -> StackKernel | None:
    """Import the kernel of a kind; None if this version of Triton does not read it."""
    try:
        module: Any = importlib.import_module("inference.triton_stacks")
        if kind == "nf4":
            return StackKernel(module.nf4, _nf4_fields, nf4.BLOCK, module.ROWS.value)
        return StackKernel(module.int8, _int8_fields, 1, module.ROWS.value)
    except (ImportError, AttributeError, RuntimeError) as error:  # it may find no driver
        LOG.warning("Kernels for weights are not used: Triton cannot be loaded (%s).", error)
        return None


def _nf4_fields(stack: Nf4Stack) -> tuple[Tensor, ...]:
    device = stack.packed.device
    codes = nf4.code(device), nf4.scale_code(device)
    return stack.packed, stack.absmax, stack.nested, stack.offset, *codes


def _int8_fields(stack: Int8Stack) -> tuple[Tensor, ...]:
    return stack.values, stack.scale


def is_good(kernel: FewRows, kind: StackFormat, device: torch.device) -> bool:
    """Say whether a kernel multiplies by the numbers that stacks of its kind say they hold."""
    return passes(f"The kernel for {kind}", _errors(kernel, kind, device), TOLERANCE)


def _errors(kernel: FewRows, kind: StackFormat, device: torch.device) -> Iterator[float]:
    """Yield how far each answer is from what is known, as a share of its length."""
    random = torch.Generator().manual_seed(0)
    for count, rows, columns, num_rows in QUESTIONS:
        stack = _drawn(kind, count, rows, columns, random).to(device)
        matrices = [stack.dense(n, slice(None), torch.bfloat16).double() for n in range(count)]
        x = torch.randn(num_rows, columns, generator=random).to(device, torch.bfloat16)
        products = x.double() @ torch.stack(matrices).mT  # [count, T, rows]
        yield _error(kernel.multiply(x, stack, count - 1), products[-1])
        indices = torch.tensor([[1, 0], [count - 1, 1]], device=device)[:num_rows]
        known = [products[chosen, number] for number, chosen in enumerate(indices)]
        yield _error(kernel.multiply_each(x[:2], stack, indices), torch.stack(known))


def _drawn(
    kind: StackFormat, count: int, rows: int, columns: int, random: torch.Generator
) -> Stack:
    """Return matrices of random numbers of about 1."""
    limits = {"nested": (0.1, 0.3), "offset": (0.4, 0.6), "scale": (0.005, 0.02)}
    stack = new_stack(kind, count, rows, columns, Workspace())
    for name, field in stack.named_buffers():
        if name in limits:
            field.uniform_(*limits[name], generator=random)
        else:
            field.random_(-127 if field.dtype is torch.int8 else 0, None, generator=random)
    return stack


def _error(found: Tensor, known: Tensor) -> float:
    return float((found.double() - known).norm() / known.norm())
