"""Matrices of one shape in few bits: one for a linear layer, one an expert for a layer of experts.

A stack knows its numbers and how to multiply by them; which layers get one is `quantize.py`, what
is done with those of experts `experts.py`. Wherever a matrix is used, by one row or by many, its
numbers are the same: those that `dense` gives. Few rows are multiplied without making it dense: on
a CPU by `kernels.py`, which may round the rows to 16 bits and no number of the matrix by more, on
a GPU by `stack_kernels.py`. A stack is given its kernels by whoever wants them used; one that has
none makes its matrices dense.
"""

import math
from collections.abc import Callable, Iterable
from itertools import chain
from typing import Literal, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference import nf4
from inference.kernels import KINDS, NF4, Kernels, Matrices, Matrix
from inference.sizes import CPU_PIECE, GPU_PIECE

StackFormat = Literal["int8", "nf4"]

FEW_ROWS = 64
"""Up to so many rows are multiplied by a matrix as it is stored: making it dense costs more."""
FEW_GPU_ROWS = 16
"""The same on a GPU: the rows that its tensor cores take at a time."""


class Workspace:
    """Memory for the numbers that are dense at the moment, used again by every stack of a model."""

    def __init__(self) -> None:
        self._spaces: dict[torch.device, Tensor] = {}
        self._outgrown: list[Tensor] = []
        """Of GPUs: what was recorded goes on writing there (`cuda_graph.py`)."""

    def take(self, num: int, device: torch.device) -> Tensor:
        """Return [num] float32, whatever is in it; the last one taken there is overwritten."""
        space = self._spaces.get(device)
        if space is None or space.numel() < num:
            if space is not None and device.type == "cuda":
                self._outgrown.append(space)
            with torch.inference_mode(False):  # a tensor made in that mode is of no use outside
                space = self._spaces[device] = torch.empty(num, device=device)
        return space[:num]


class FewRows(Protocol):
    """What multiplies few rows by matrices on a GPU, as they are stored."""

    def multiply(self, x: Tensor, stack: "Stack", index: int) -> Tensor:
        """Return `x`, [T, columns], times the matrix `index`, for T up to `FEW_GPU_ROWS`."""
        ...

    def multiply_each(self, x: Tensor, stack: "Stack", indices: Tensor) -> Tensor:
        """Return what `Stack.linear_each` does."""
        ...


ByNf4 = Callable[[Tensor, nf4.Nf4, int], Tensor]
"""Multiplies `x`, [T, columns], by a matrix of so many rows, as `nf4.multiply` does."""


class Stack(nn.Module):
    """`count` matrices of `rows` x `columns`, in buffers; on meta they have no numbers yet."""

    def __init__(self, count: int, rows: int, columns: int, workspace: Workspace) -> None:
        super().__init__()
        self.count, self.rows, self.columns = count, rows, columns
        self._workspace = workspace
        self.kernels: Kernels | None = None
        """What multiplies few rows on a CPU; None: a matrix is made dense for them too."""
        self.few_rows: FewRows | None = None
        """The same on a GPU."""

    def like(self, device: torch.device) -> "Stack":
        """Return a stack of this kind and shape, without numbers, on a device."""
        with device:
            return type(self)(self.count, self.rows, self.columns, self._workspace)

    def put(self, index: int, pieces: Iterable[Tensor]) -> None:
        """Take the matrix `index` in, which comes as pieces of some rows each, in order.

        Raises:
            NotFinite: some of its numbers are none.
        """
        raise NotImplementedError

    def dense(self, index: int, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return rows of a matrix, beginning where a block does; valid until the next call."""
        raise NotImplementedError

    def gather(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """Return [n, rows, columns] for n indices; valid until the next call."""
        raise NotImplementedError

    def matrix(self, index: int) -> tuple[Matrix, tuple[Tensor, ...]] | None:
        """Return a matrix as kernels have it, and its tensors; None if they cannot have it."""
        raise NotImplementedError

    def linear_each(self, indices: Tensor, x: Tensor) -> Tensor:
        """Return each of T rows times matrices of its own.

        Args:
            indices: [T, k], those of each row.
            x: [T, columns].

        Returns:
            [T, k, rows], without asking the device which they are.
        """
        if self.few_rows is not None:
            return self.few_rows.multiply_each(x, self, indices)
        chosen = indices.reshape(-1)
        each = x.repeat_interleave(indices.shape[1], dim=0)[..., None]
        return torch.bmm(self.gather(chosen, x.dtype), each).view(*indices.shape, self.rows)

    def linear(self, index: int, x: Tensor) -> Tensor:
        """Return `x`, [..., columns], times the matrix `index`."""
        num_rows = x.numel() // self.columns
        if self.few_rows is not None and num_rows <= FEW_GPU_ROWS:
            product = self.few_rows.multiply(x.reshape(num_rows, -1), self, index)
            return product.view(*x.shape[:-1], self.rows)
        if self.kernels is not None and num_rows <= FEW_ROWS and (one := self.matrix(index)):
            matrices = Matrices((Matrix * 1)(one[0]), (self.rows,), self.columns, one[1])
            product = self.kernels.multiply(matrices, x.reshape(num_rows, -1).float())
            return product.view(*x.shape[:-1], self.rows).to(x.dtype)
        return self._dense_linear(index, x)

    def _dense_linear(self, index: int, x: Tensor) -> Tensor:
        """Return the product, making some rows of the matrix dense at a time."""
        step = self._rows_at_a_time(x.device)
        parts = [
            functional.linear(x, self.dense(index, slice(first, first + step), x.dtype))
            for first in range(0, self.rows, step)
        ]
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def _rows_at_a_time(self, device: torch.device) -> int:
        piece = CPU_PIECE if device.type == "cpu" else GPU_PIECE
        granule = nf4.BLOCK // math.gcd(self.columns, nf4.BLOCK)
        return max(1, piece // self.columns // granule) * granule

    def _hold(self, **buffers: Tensor) -> None:
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor)


class Nf4Stack(Stack):
    """NF4 with double quantization; each matrix is quantized by itself."""

    packed: Tensor
    absmax: Tensor
    nested: Tensor
    offset: Tensor

    def __init__(self, count: int, rows: int, columns: int, workspace: Workspace) -> None:
        super().__init__(count, rows, columns, workspace)
        num_blocks = rows * columns // nf4.BLOCK
        assert num_blocks * nf4.BLOCK == rows * columns, "a matrix is whole blocks"
        self.fused: ByNf4 | None = None
        """What multiplies more rows than `few_rows` does on a GPU; None: as on a CPU."""
        num_nested = -(-num_blocks // nf4.NESTED_BLOCK)
        self._hold(
            packed=torch.empty(count, rows * columns // 2, dtype=torch.uint8),
            absmax=torch.empty(count, num_blocks, dtype=torch.uint8),
            nested=torch.empty(count, num_nested),
            offset=torch.empty(count),
        )

    def put(self, index: int, pieces: Iterable[Tensor]) -> None:
        """Quantize a matrix."""
        packed, absmax = zip(*(nf4.encode(piece) for piece in pieces), strict=True)
        torch.cat(packed, out=self.packed[index])
        self.absmax[index], self.nested[index], self.offset[index] = nf4.nest(torch.cat(absmax))

    def linear(self, index: int, x: Tensor) -> Tensor:
        """Return `x`, [..., columns], times the matrix `index`."""
        is_few = self.few_rows is not None and x.numel() <= FEW_GPU_ROWS * self.columns
        if is_few or self.fused is None:
            return super().linear(index, x)
        fields = (self.packed, self.absmax, self.nested, self.offset)
        matrix = nf4.Nf4(*(each[index] for each in fields))
        product = self.fused(x.reshape(-1, self.columns), matrix, self.rows)
        return product.view(*x.shape[:-1], self.rows)

    def matrix(self, index: int) -> tuple[Matrix, tuple[Tensor, ...]] | None:
        """Return a matrix whose rows are whole blocks."""
        if self.columns % nf4.BLOCK:
            return None
        held = self.packed[index], self.absmax[index], self.nested[index], self.offset[index]
        return Matrix(*(part.data_ptr() for part in held), NF4, self.rows), held

    def dense(self, index: int, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows, which begin where a block does."""
        first, last, _ = rows.indices(self.rows)
        numbers = slice(first * self.columns, last * self.columns)
        blocks = slice(numbers.start // nf4.BLOCK, numbers.stop // nf4.BLOCK)
        out = self._workspace.take(numbers.stop - numbers.start, self.packed.device)
        packed = self.packed[index, numbers.start // 2 : numbers.stop // 2]
        nf4.decode(packed, self._scales(index, blocks), out)
        return out.view(-1, self.columns).to(dtype)

    def _scales(self, index: int, blocks: slice) -> Tensor:
        """Return the scales of some blocks, with those before that share a scale with them."""
        first = blocks.start // nf4.NESTED_BLOCK
        start = first * nf4.NESTED_BLOCK
        nested = self.nested[index, first : -(-blocks.stop // nf4.NESTED_BLOCK)]
        scales = nf4.scales(self.absmax[index, start : blocks.stop], nested, self.offset[index])
        return scales[blocks.start - start :]

    def gather(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """Return some matrices."""
        scales = nf4.scales(self.absmax[indices], self.nested[indices], self.offset[indices])
        num = indices.numel() * self.rows * self.columns
        out = self._workspace.take(num, self.packed.device)
        nf4.decode(self.packed[indices].view(-1), scales.view(-1), out)
        return out.view(-1, self.rows, self.columns).to(dtype)


class Int8Stack(Stack):
    """Eight bits a number, and a scale a row."""

    values: Tensor
    scale: Tensor

    def __init__(self, count: int, rows: int, columns: int, workspace: Workspace) -> None:
        super().__init__(count, rows, columns, workspace)
        self._hold(
            values=torch.empty(count, rows, columns, dtype=torch.int8),
            scale=torch.empty(count, rows),
        )

    def put(self, index: int, pieces: Iterable[Tensor]) -> None:
        """Quantize a matrix."""
        first = 0
        step = max(1, nf4.PIECE // self.columns)  # what it needs stays in the CPU's cache
        for piece in chain.from_iterable(torch.split(piece, step) for piece in pieces):
            rows = slice(first, first := first + len(piece))
            largest = piece.float().abs().amax(dim=1).clamp(min=1e-30)
            nf4.check_finite(largest)
            self.scale[index, rows] = largest / 127
            self.values[index, rows] = (piece.float() * (127 / largest)[:, None]).round()

    def matrix(self, index: int) -> tuple[Matrix, tuple[Tensor, ...]]:
        """Return any matrix."""
        held = self.values[index], self.scale[index]
        addresses = (part.data_ptr() for part in held)
        return Matrix(*addresses, None, None, KINDS[torch.int8], self.rows), held

    def dense(self, index: int, rows: slice, dtype: torch.dtype) -> Tensor:
        """Return some rows."""
        values, scale = self.values[index, rows], self.scale[index, rows]
        out = self._workspace.take(values.numel(), values.device).view(values.shape)
        return out.copy_(values).mul_(scale[:, None]).to(dtype)

    def gather(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """Return some matrices."""
        return (self.values[indices] * self.scale[indices][..., None]).to(dtype)

    def row(self, indices: Tensor, dtype: torch.dtype) -> Tensor:
        """Return the rows `indices` of the first matrix: [*indices.shape, columns]."""
        return (self.values[0][indices] * self.scale[0][indices][..., None]).to(dtype)


def new_stack(
    kind: StackFormat, count: int, rows: int, columns: int, workspace: Workspace
) -> Stack:
    """Make a stack on the device that is current, without numbers yet."""
    cls = Nf4Stack if kind == "nf4" else Int8Stack
    return cls(count, rows, columns, workspace)
