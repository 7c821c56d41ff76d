"""Few rows times matrices in few bits on a GPU: by the stack's numbers, and what lies is not used.

Triton's interpreter runs the kernel here, on tensors of a CPU. What it does otherwise than a GPU is
mended first: it cuts what it turns into bfloat16, and takes bfloat16 for integers in a product.
"""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from inference import nf4
from inference.experts import _gathered, _one_by_one, is_few
from inference.graph_step import MAX_ROWS
from inference.model import Model
from inference.module import empty_module
from inference.quantize import quantize, stacks_of
from inference.stack import (
    FEW_GPU_ROWS,
    FewRows,
    Nf4Stack,
    Stack,
    StackFormat,
    Workspace,
    new_stack,
)
from inference.stack_kernels import OPTIONS, StackKernel, _drawn, adopt, is_good, kernel_for, load

CPU = torch.device("cpu")
CLOSE = {
    torch.float32: {"rtol": 1e-4, "atol": 1e-4},
    torch.bfloat16: {"rtol": 2**-8, "atol": 1e-2},
}
NESTED_END = (3, 60, 320)
"""Matrices, rows, columns: 300 scales in 256 and 44; neither a program's rows nor its columns."""


@dataclass(frozen=True)
class Kind:
    """A kind of stack and its kernel."""

    name: StackFormat
    kernel: StackKernel

    def drawn(self, count: int, rows: int, columns: int) -> Stack:
        random = torch.Generator().manual_seed(count * rows + columns)
        return _drawn(self.name, count, rows, columns, random)


@pytest.fixture(scope="module", params=["nf4", "int8"])
def kind(request: pytest.FixtureRequest) -> Iterator[Kind]:
    pytest.importorskip("triton", minversion="3.7", reason="needs Triton's interpreter, 3.7")
    with pytest.MonkeyPatch.context() as patch:
        _mend(patch)
        kernel = load(request.param)
        assert kernel is not None
        yield Kind(request.param, kernel)


def forget_triton(patch: pytest.MonkeyPatch) -> None:
    """Have it imported anew: it reads its variables when a function is decorated."""
    pytest.importorskip("triton", reason="Triton, whose interpreter runs kernels, is not installed")
    for name in list(sys.modules):
        if name.startswith("triton.") and not name.startswith("triton._C"):
            patch.delitem(sys.modules, name)
    patch.delitem(sys.modules, "triton")
    patch.delitem(sys.modules, "inference.triton_stacks", raising=False)


def _mend(patch: pytest.MonkeyPatch) -> None:
    import numpy
    import triton.language as tl
    from triton.runtime import interpreter

    builder, handle = interpreter.InterpreterBuilder, interpreter.TensorHandle
    cast, dot = builder.cast_impl, builder.create_dot

    def rounded(self, value, kind):
        if (value.dtype.scalar, kind.scalar) != (tl.float32, tl.bfloat16):
            return cast(self, value, kind)
        bits = torch.from_numpy(value.data.copy()).bfloat16().view(torch.int16).numpy()
        return handle(bits.view(numpy.uint16), tl.bfloat16)

    def product(self, *parts_and_sums):
        *parts, sums = (
            handle((each.data.astype(numpy.uint32) << 16).view(numpy.float32), tl.float32)
            if each.dtype.scalar == tl.bfloat16
            else each
            for each in parts_and_sums[:3]
        )
        return dot(self, *parts, sums, *parts_and_sums[3:])

    patch.setattr(builder, "cast_impl", rounded)
    patch.setattr(builder, "create_dot", product)


def dense(stack: Stack, dtype: torch.dtype) -> Tensor:
    """Return all matrices, float32, of the numbers that they are in a kind of number."""
    matrices = [stack.dense(n, slice(None), dtype).float().clone() for n in range(stack.count)]
    return torch.stack(matrices)


@pytest.mark.parametrize("dtype", list(CLOSE))
@pytest.mark.parametrize(
    ("num_rows", "shape"),
    [(1, (1, 16, 64)), (2, (2, 40, 192)), (3, NESTED_END), (16, NESTED_END), (1, (2, 17, 576))],
)
def test_few_rows_are_multiplied_by_the_numbers_of_the_stack(num_rows, shape, dtype, kind) -> None:
    stack = kind.drawn(*shape)
    x = torch.randn(num_rows, stack.columns, dtype=dtype)
    found = kind.kernel.multiply(x, stack, stack.count - 1)
    expected = x.float() @ dense(stack, dtype)[-1].T
    assert found.dtype == dtype
    torch.testing.assert_close(found.float(), expected, **CLOSE[dtype])


def test_weights_are_rounded_as_those_of_many_rows_are(kind) -> None:
    stack = kind.drawn(*NESTED_END)
    unit = torch.eye(16, stack.columns, dtype=torch.bfloat16)
    found = kind.kernel.multiply(unit, stack, 1)
    assert torch.equal(found, stack.dense(1, slice(None), torch.bfloat16)[:, :16].T)


def test_the_product_of_a_row_is_the_same_in_any_company(kind) -> None:
    stack = kind.drawn(*NESTED_END)
    x = torch.randn(5, stack.columns, dtype=torch.bfloat16)
    together = kind.kernel.multiply(x, stack, 2)
    assert torch.equal(kind.kernel.multiply(x[3:4], stack, 2), together[3:4])
    each = kind.kernel.multiply_each(x, stack, torch.tensor([[0], [0], [1], [2], [2]]))
    assert torch.equal(each[3:, 0], together[3:])


@pytest.mark.parametrize("dtype", list(CLOSE))
def test_each_row_meets_its_own_experts_in_any_order(dtype, kind) -> None:
    stack = kind.drawn(4, 24, 192)
    x = torch.randn(3, 192, dtype=dtype)
    indices = torch.tensor([[3, 0], [1, 1], [0, 3]])
    expected = torch.einsum("tkrc,tc->tkr", dense(stack, dtype)[indices], x.float())
    found = kind.kernel.multiply_each(x, stack, indices)
    torch.testing.assert_close(found.float(), expected, **CLOSE[dtype])
    plain = stack.linear_each(indices, x)
    torch.testing.assert_close(plain.float(), expected, **CLOSE[dtype])
    stack.few_rows = kind.kernel
    assert torch.equal(stack.linear_each(indices, x), found)


def test_experts_say_what_they_say_one_by_one(kind) -> None:
    gate_up, down = kind.drawn(4, 128, 64), kind.drawn(4, 64, 64)

    def gated(both: Tensor) -> Tensor:
        return both[..., :64].sigmoid() * both[..., 64:]

    layer = SimpleNamespace(gate_up_proj=gate_up, down_proj=down, _apply_gate=gated)
    hidden, weights = torch.randn(2, 64), torch.rand(2, 2)
    index = torch.tensor([[2, 0], [1, 2]])
    expected = _one_by_one(layer, hidden, index, weights)
    close = CLOSE[torch.float32]
    torch.testing.assert_close(_gathered(layer, hidden, index, weights), expected, **close)
    gate_up.few_rows = down.few_rows = kind.kernel
    torch.testing.assert_close(_gathered(layer, hidden, index, weights), expected, **close)


def test_as_many_rows_as_a_graph_reads_meet_their_experts_in_one_go(kind) -> None:
    gate_up, down = kind.drawn(16, 16, 64), kind.drawn(16, 64, 64)
    layer = SimpleNamespace(gate_up_proj=gate_up, down_proj=down)
    assert is_few(layer, 8, 8)
    assert not is_few(layer, MAX_ROWS, 8), "too many matrices to gather"
    gate_up.few_rows = down.few_rows = kind.kernel
    assert is_few(layer, MAX_ROWS, 8)
    assert not is_few(layer, MAX_ROWS + 1, 8)


@dataclass
class Counted:
    """Counts how often the kernels are asked, and says what they say, a little more of it."""

    kernel: FewRows
    gain: float = 1.0
    num: int = 0

    def multiply(self, x: Tensor, stack: Stack, index: int) -> Tensor:
        self.num += 1
        return self.kernel.multiply(x, stack, index) * self.gain

    def multiply_each(self, x: Tensor, stack: Stack, indices: Tensor) -> Tensor:
        self.num += 1
        return self.kernel.multiply_each(x, stack, indices)


def test_a_layer_uses_them_for_few_rows_only(kind) -> None:
    stack = kind.drawn(1, 16, 64)
    stack.few_rows = counted = Counted(kind.kernel)
    x = torch.randn(1, FEW_GPU_ROWS, 64)
    few = stack.linear(0, x)
    assert (few.shape, counted.num) == ((1, FEW_GPU_ROWS, 16), 1)
    many = stack.linear(0, torch.cat([x, x], dim=1))
    assert counted.num == 1
    torch.testing.assert_close(many[:, :FEW_GPU_ROWS], few)


def test_on_a_cpu_there_are_none() -> None:
    for kind in ("nf4", "int8"):
        assert kernel_for(kind, CPU) is None
        stack = new_stack(kind, 1, 16, 64, Workspace())
        adopt(stack)
        assert stack.few_rows is None


@pytest.mark.parametrize("is_fast", [True, False])
def test_off_the_cpu_bitsandbytes_multiplies_only_where_kernels_are_wanted(
    is_fast, make_module
) -> None:
    module = empty_module(make_module("qwen3_5").config, torch.float32)  # on meta
    quantize(module, "nf4")
    Model(module, fast_kernels=is_fast)
    ways = {stack.fused for stack in stacks_of(module).values() if isinstance(stack, Nf4Stack)}
    assert ways == {nf4.multiply if is_fast and nf4.has_kernel() else None}


def test_what_answers_as_the_stack_does_is_used(kind, caplog) -> None:
    counted = Counted(kind.kernel)
    assert is_good(counted, kind.name, CPU)
    assert counted.num > 1
    assert caplog.records == []


def test_a_kernel_that_is_two_percent_off_is_refused(kind, caplog) -> None:
    with caplog.at_level(logging.WARNING):
        assert not is_good(Counted(kind.kernel, gain=1.02), kind.name, CPU)
    (record,) = caplog.records
    assert "off here" in record.message


def test_a_kernel_that_breaks_off_is_said_once_and_refused(kind, caplog) -> None:
    class Broken(Counted):
        def multiply_each(self, x: Tensor, stack: Stack, indices: Tensor) -> Tensor:
            raise ValueError("no such shared memory")

    with caplog.at_level(logging.WARNING):
        assert not is_good(Broken(kind.kernel), kind.name, CPU)
    (record,) = caplog.records
    assert "no such shared memory" in record.message


@pytest.mark.slow
@pytest.mark.parametrize("capability", [86, 89, 90, 120])
@pytest.mark.parametrize("is_chosen", [False, True])
@pytest.mark.parametrize("name", ["nf4", "int8"])
def test_it_compiles_for_cards_that_are_not_here(
    name, is_chosen, capability, tmp_path, monkeypatch
) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    forget_triton(monkeypatch)
    from triton import compile
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    found = load(name)
    assert found is not None
    names = found.kernel.arg_names
    kinds = dict.fromkeys(("x", "out"), "*bf16") | {"values": "*i8"}
    kinds |= dict.fromkeys(("packed", "absmax"), "*u8")
    kinds |= dict.fromkeys(("nested", "offset", "code", "scale_code", "scale"), "*fp32")
    pointers = {name: kind for name, kind in kinds.items() if name in names}
    signature = dict.fromkeys(names, "i32") | pointers | {"chosen": "*i64"}
    constants = {names[-1]: 5120 // found.columns} | ({} if is_chosen else {"chosen": None})
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = {(names.index(name),): [["tt.divisibility", 16]] for name in (*pointers, "num_rows")}
    compiled = compile(
        ASTSource(found.kernel, signature, constants, aligned),
        target=GPUTarget("cuda", capability, 32),
        options=OPTIONS,
    )
    assert compiled.metadata.shared <= 20 << 10, "five programs at a time where there are 100 KB"
    assert "mma.sync" in compiled.asm["ptx"]
    assert "cp.async.cg" in compiled.asm["ptx"], "16 bytes at a time, ahead of their use"
