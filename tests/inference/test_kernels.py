"""The loops of `native/` compute what plain torch computes."""

import shutil

import pytest
import torch

from inference.gated_delta import gated_delta_step, unit_length
from inference.kernels import (
    DeltaSizes,
    Kernels,
    Matrices,
    Matrix,
    Norm,
    _opened,
    kernels,
    plain_matrix,
)
from inference.kv_codec import KvShape
from inference.nf4 import BLOCK
from inference.stack import Int8Stack, Nf4Stack, Workspace

CPU = torch.device("cpu")
COLUMNS = 5 * BLOCK
FEW, MANY = (1, 2, 3, 4, 7), (12, 16, 31, 32, 53, 64)
"""Rows that meet a matrix as it is stored, and those for which more and more kinds turn floats."""


@pytest.fixture(scope="module")
def fast() -> Kernels:
    found = kernels()
    if found is None:
        pytest.skip("no compiler here, or not an x86 with AVX2")
    return found


@pytest.fixture(autouse=True)
def _seed() -> None:
    torch.manual_seed(4)


def nf4_stack(rows: int) -> Nf4Stack:
    """Return a matrix of any numbers: bitsandbytes, which makes real ones, takes seconds."""
    stack = Nf4Stack(1, rows, COLUMNS, Workspace())
    stack.packed.random_()
    stack.absmax.random_()
    stack.nested.uniform_(0.01, 0.02)
    stack.offset.fill_(0.02)
    return stack


def int8_stack(rows: int, columns: int = COLUMNS) -> Int8Stack:
    stack = Int8Stack(1, rows, columns, Workspace())
    stack.put(0, [torch.randn(rows, columns)])
    return stack


def side_by_side(*found: tuple[Matrix, tuple[torch.Tensor, ...]], columns: int) -> Matrices:
    structs = (Matrix * len(found))(*(matrix for matrix, _ in found))
    held = tuple(tensor for _, tensors in found for tensor in tensors)
    return Matrices(structs, tuple(matrix.rows for matrix, _ in found), columns, held)


@pytest.mark.parametrize("num_rows", FEW + MANY)
def test_matrices_of_all_kinds_give_their_dense_product(fast: Kernels, num_rows: int) -> None:
    plain, half = torch.randn(5, COLUMNS), torch.randn(18, COLUMNS).bfloat16()
    int8, packed = int8_stack(33), nf4_stack(21)
    found = plain_matrix(plain), int8.matrix(0), packed.matrix(0), plain_matrix(half)
    x = torch.randn(num_rows, COLUMNS)
    dense = [stack.dense(0, slice(None), torch.float32).clone() for stack in (int8, packed)]
    expected = x @ torch.cat([plain, *dense, half.float()]).T
    product = fast.multiply(side_by_side(*found, columns=COLUMNS), x)
    torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("num_rows", [2, 24])
@pytest.mark.parametrize("columns", [20, 100, 301])
def test_rows_need_not_be_whole_blocks(fast: Kernels, columns: int, num_rows: int) -> None:
    plain, int8 = torch.randn(3, columns), int8_stack(9, columns)
    half = torch.randn(17, columns).bfloat16()
    x = torch.randn(num_rows, columns)
    dense = int8.dense(0, slice(None), torch.float32)
    expected = x @ torch.cat([plain, dense, half.float()]).T
    found = plain_matrix(plain), int8.matrix(0), plain_matrix(half)
    matrices = side_by_side(*found, columns=columns)
    torch.testing.assert_close(fast.multiply(matrices, x), expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("num_rows", [3, 20])
def test_a_norm_a_gate_and_a_sum_go_with_a_product(fast: Kernels, num_rows: int) -> None:
    weight = torch.randn(22, 40)
    matrices = side_by_side(plain_matrix(weight), columns=40)
    norm = Norm(torch.rand(40) + 0.5, 1e-6)
    x, before = torch.randn(num_rows, 40), torch.randn(num_rows, 22)
    rows = torch.nn.functional.rms_norm(x, (40,), norm.weight, norm.eps)
    onto = before.clone()
    torch.testing.assert_close(
        fast.multiply(matrices, x, norm, onto=onto), rows @ weight.T + before, rtol=1e-4, atol=1e-5
    )
    both = torch.randn(num_rows, 80) * 5
    gated = torch.nn.functional.silu(both[:, :40]) * both[:, 40:]
    product = fast.multiply(matrices, both, is_gated=True)
    torch.testing.assert_close(product, gated @ weight.T, rtol=1e-4, atol=1e-4)


def test_many_rows_meet_the_numbers_that_a_matrix_stands_for(fast: Kernels) -> None:
    packed = nf4_stack(40)
    x, dense = torch.randn(50, COLUMNS), packed.dense(0, slice(None), torch.float32)
    product = fast.multiply(side_by_side(packed.matrix(0), columns=COLUMNS), x)
    torch.testing.assert_close(product, x @ dense.T, rtol=1e-5, atol=1e-5)


def test_zeros_and_small_numbers_are_what_they_are(fast: Kernels) -> None:
    int8 = int8_stack(4)
    matrices = side_by_side(int8.matrix(0), columns=COLUMNS)
    x = torch.randn(3, COLUMNS) * torch.tensor([[0.0], [1e-30], [1e30]])
    expected = x @ int8.dense(0, slice(None), torch.float32).T
    torch.testing.assert_close(fast.multiply(matrices, x), expected, rtol=2e-3, atol=0)


@pytest.mark.parametrize("value_dim", [8, 64])
@pytest.mark.parametrize("num_tokens", [1, 2, 5])
def test_the_recurrence_is_the_plain_one(fast: Kernels, value_dim: int, num_tokens: int) -> None:
    key_heads, heads, key_dim, width = 2, 4, 16, 3
    channels = 2 * key_heads * key_dim + heads * value_dim
    mixed, conv = torch.randn(num_tokens, channels), torch.randn(channels, width)
    weight = torch.randn(channels, width + 1)
    log_decay, beta = -torch.rand(num_tokens, heads), torch.rand(num_tokens, heads)
    state = torch.randn(heads, key_dim, value_dim)
    sizes = DeltaSizes(num_tokens, key_heads, heads, key_dim, value_dim, width)
    out, after, new_state = fast.delta(sizes, mixed, weight, log_decay, beta, conv, state)
    window = torch.cat([conv, mixed.T], dim=1)
    convolved = torch.nn.functional.conv1d(window[None], weight[:, None], groups=channels)[0].T
    keys = key_heads * key_dim
    for t, row in enumerate(torch.nn.functional.silu(convolved)):
        q, k, v = row.split([keys, keys, heads * value_dim])
        q, k = (
            unit_length(x.view(1, key_heads, key_dim)).repeat_interleave(2, dim=1) for x in (q, k)
        )
        step, state = gated_delta_step(
            q, k, v.view(1, heads, -1), log_decay[t : t + 1].exp(), beta[t : t + 1], state[None]
        )
        state = state[0]
        torch.testing.assert_close(out[t], step[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(new_state, state, rtol=1e-4, atol=1e-4)
    assert torch.equal(after, window[:, -width:])


@pytest.mark.parametrize(
    ("kind", "dtype"),
    [("16bit", torch.float32), ("16bit", torch.bfloat16), ("int8", torch.float32)],
)
def test_queries_read_keys_as_they_are_stored(fast: Kernels, kind, dtype) -> None:
    num_heads, num_rows, dim, num_tokens = 2, 6, 24, 700
    codec = KvShape(1, num_heads, dim, dtype, CPU, kind).codec
    numbers = torch.randn(2, num_heads, num_tokens, dim).to(dtype)
    stored = codec.encode(numbers)
    keys, values = codec.decode(stored, torch.empty_like(numbers)).float()
    query = torch.randn(num_heads, num_rows, dim)
    seen = torch.tensor([700, 699, 1, 256, 900, 300])
    outputs, weights = fast.attend(query, stored, seen)
    assert len(outputs) > 1, "several parts"
    read = torch.einsum("phrd,phr->hrd", outputs, weights.softmax(dim=0))
    may = torch.arange(num_tokens) < seen[:, None]
    expected = (query @ keys.mT).masked_fill(~may, -torch.inf).softmax(dim=-1) @ values
    torch.testing.assert_close(read, expected, rtol=1e-4, atol=1e-4)


def test_what_sees_nothing_of_a_part_counts_nothing(fast: Kernels) -> None:
    keys = torch.randn(2, 1, 40, 8)
    outputs, weights = fast.attend(torch.randn(1, 1, 8), [keys], torch.tensor([-3]))
    assert not outputs.any()
    assert torch.equal(weights, torch.full((1, 1, 1), -torch.inf))


def test_without_a_compiler_it_is_said_what_to_install(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OSError, match="no C compiler; install one of gcc, cc, clang"):
        _opened(tmp_path / "kernels")


@pytest.mark.slow
def test_they_are_compiled_once_and_said_to_be(tmp_path) -> None:
    if kernels() is None or shutil.which("gcc") is None:
        pytest.skip("no compiler here")
    assert _opened(tmp_path).notice.startswith("Loops for this processor were compiled in ")
    assert _opened(tmp_path).notice == ""
    assert [file.suffix for file in tmp_path.iterdir()] == [".so"]
