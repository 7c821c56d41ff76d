"""Keys and values in few bits: how far off they are, what they weigh, what attention holds."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from inference.attention import attend
from inference.kv_codec import KvKind, KvShape, codec_for, hadamard
from inference.pages import PageTable
from inference.slabs import PagePool
from inference.state import Layout
from tests.inference.test_sizes import SHAPES

CPU = torch.device("cpu")
NUM_STEPS = {"int8": 254, "int4": 15}
QUANTIZED = ("int8", "int4")


def drawn(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(dtype)


@pytest.mark.parametrize("factor", [1.0, 1e-5, 1e4, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("kind", QUANTIZED)
def test_a_number_comes_back_within_half_a_step(
    kind: KvKind, dtype: torch.dtype, factor: float
) -> None:
    numbers = drawn(2, 3, 40, 64, dtype=dtype) * factor
    numbers[0, 0, 0] += factor  # far from symmetric
    codec = codec_for(kind, 64, dtype, CPU)
    stored = codec.encode(numbers)
    assert [(part.dtype, part.shape[-1]) for part in stored] == list(codec.fields)
    found = codec.decode(stored, torch.empty_like(numbers)).double()
    turned = codec.turn(numbers.double())
    largest = turned.abs().amax(-1, keepdim=True)
    half_step = 1.02 * largest / NUM_STEPS[kind]  # the scale is rounded, too
    assert ((found - turned).abs() <= half_step + largest * torch.finfo(dtype).eps).all()


@pytest.mark.parametrize("kind", QUANTIZED)
def test_what_is_stored_of_a_token_depends_on_no_other(kind: KvKind) -> None:
    numbers = drawn(2, 2, 9, 32)
    codec = codec_for(kind, 32, torch.float32, CPU)
    whole, one = codec.encode(numbers), codec.encode(numbers[:, :, 4:5])
    assert all(torch.equal(a[:, :, 4:5], b) for a, b in zip(whole, one, strict=True))


@pytest.mark.parametrize("dim", [4, 64, 128, 256])
def test_a_rotation_keeps_scores_and_undoes_itself(dim: int) -> None:
    codec = codec_for("int4", dim, torch.float32, CPU)
    left, right = drawn(5, dim), drawn(5, dim) + 1
    torch.testing.assert_close(codec.turn(left) @ codec.turn(right).T, left @ right.T)
    torch.testing.assert_close(codec.turn(codec.turn(left)), left)
    assert torch.equal(hadamard(dim) @ hadamard(dim), dim * torch.eye(dim))


def test_one_large_number_does_not_drown_the_others_of_its_head() -> None:
    numbers = drawn(1, 1, 50, 256)
    numbers[..., 7] = 60.0
    codec = codec_for("int4", 256, torch.float32, CPU)
    found = codec.turn(codec.decode(codec.encode(numbers), torch.empty_like(numbers)))
    error = (found - numbers).square().mean().sqrt()
    step = (numbers.amax(-1) - numbers.amin(-1)).mean() / 15
    assert error < step / 12**0.5 / 3, "a third of what rounding without a rotation costs"


# --- what a token weighs


@pytest.mark.parametrize(
    ("model", "kind", "numbers_nbytes", "scales_nbytes", "gib_at_262144"),
    [
        ("27B", "16bit", 65_536, 0, 16.0),
        ("27B", "int8", 32_768, 256, 8.06),
        ("27B", "int4", 16_384, 512, 4.12),
        ("35B-A3B", "16bit", 20_480, 0, 5.0),
        ("35B-A3B", "int8", 10_240, 80, 2.52),
        ("35B-A3B", "int4", 5_120, 160, 1.29),
        ("0.8B", "int8", 6_144, 48, 1.51),
    ],
)
def test_a_token_weighs_its_numbers_and_its_scales(
    model: str, kind: KvKind, numbers_nbytes: int, scales_nbytes: int, gib_at_262144: float
) -> None:
    shape = Layout.of(SHAPES[model]).kv_shape(torch.bfloat16, CPU, kind)
    assert shape.token_nbytes == numbers_nbytes + scales_nbytes
    assert shape.empty(3).nbytes == 3 * shape.token_nbytes
    assert round(262_144 * shape.token_nbytes / (1 << 30), 2) == gib_at_262144


# --- what attention holds


class Largest(TorchDispatchMode):
    """Remembers the largest tensor that any operation makes, views aside."""

    def __init__(self) -> None:
        super().__init__()
        self.nbytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        given = {t.untyped_storage().data_ptr() for t in _tensors((args, kwargs or {}))}
        for tensor in _tensors(made):
            if tensor.untyped_storage().data_ptr() not in given:
                self.nbytes = max(self.nbytes, tensor.untyped_storage().nbytes())
        return made


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


def table_of(kind: KvKind, num_tokens: int) -> PageTable:
    pool = PagePool(KvShape(1, 2, 64, torch.float32, CPU, kind))
    table = PageTable(pool)
    for first in range(0, num_tokens, 4096):
        table.reserve(4096)
        table.write(0, drawn(1, 2, 4096, 64) + first, drawn(1, 2, 4096, 64))
        table.commit()
    return table


@pytest.mark.parametrize("num_new", [1, 64])
@pytest.mark.parametrize("kind", QUANTIZED)
def test_what_attention_holds_does_not_grow_with_the_context(kind: KvKind, num_new: int) -> None:
    largest = []
    for num_tokens in (4096, 24_576):
        table = table_of(kind, num_tokens)
        table.reserve(num_new)
        with Largest() as found:
            own = table.write(0, drawn(1, 2, num_new, 64), drawn(1, 2, num_new, 64))
            attend(drawn(1, 8, num_new, 64), table.read(0), own, 0.125)
        largest.append(found.nbytes)
    assert largest[0] == largest[1] <= 1 << 21, "a tile of 2 MiB"
