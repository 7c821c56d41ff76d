"""Four bits a number are those of bitsandbytes, bit for bit."""

import copy

import pytest
import torch
import transformers

from inference import nf4
from inference.footprint import nf4_bytes
from inference.loader import load
from inference.quantize import stacks_of
from inference.stack import Nf4Stack, Workspace

pytestmark = pytest.mark.slow  # bitsandbytes takes seconds to import
CPU = torch.device("cpu")
ROUNDED = {"rtol": 1e-3, "atol": 2e-2}
"""Few rows are rounded to 16 bits on a CPU."""


@pytest.fixture(scope="module")
def functional():
    return pytest.importorskip("bitsandbytes.functional")


def near_the_bounds() -> torch.Tensor:
    """Return numbers in [-1, 1] around every place where the code or its table changes."""
    code = nf4.code(CPU)
    places = torch.cat([(code[1:] + code[:-1]) / 2, torch.arange(nf4.CELLS) / (nf4.CELLS / 2) - 1])
    numbers = [places]
    for direction in (-2.0, 2.0):
        near = places
        for _ in range(3):
            near = torch.nextafter(near, torch.tensor(direction))
            numbers.append(near)
    joined = torch.cat(numbers).clamp(-1, 1)
    rows = joined[: joined.numel() // 63 * 63].view(-1, 63)
    return torch.cat([rows, torch.ones(len(rows), 1)], dim=1)  # a scale of 1 for each


def test_the_codes_are_those_of_bitsandbytes(functional) -> None:
    assert torch.equal(nf4.code(CPU), functional.get_4bit_type("nf4", device="cpu"))
    assert torch.equal(nf4.scale_code(CPU), functional.create_dynamic_map())


def test_every_number_gets_the_code_of_bitsandbytes(functional) -> None:
    numbers = near_the_bounds()
    expected, _ = functional.quantize_4bit(numbers, blocksize=64, quant_type="nf4")
    assert torch.equal(nf4.encode(numbers)[0], expected.view(-1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_an_expert_is_what_bitsandbytes_makes_of_it(functional, dtype) -> None:
    torch.manual_seed(3)
    experts = torch.randn(3, 96, 320).to(dtype)
    experts[1, 5] = 0
    stack = Nf4Stack(3, 96, 320, Workspace())
    for n, expert in enumerate(experts):
        before = expert.clone()
        stack.put(n, expert.split(32))
        assert torch.equal(expert, before), "what is quantized stays as it is"
    for n, expert in enumerate(experts):
        packed, state = functional.quantize_4bit(
            expert, blocksize=64, compress_statistics=True, quant_type="nf4"
        )
        expected = functional.dequantize_4bit(packed, state)
        assert torch.equal(stack.dense(n, slice(None), dtype), expected)
        some = stack.dense(n, slice(34, 71), dtype)
        assert torch.equal(some, expected[34:71]), "rows in the middle"
    expected = torch.stack([stack.dense(n, slice(None), dtype).clone() for n in (2, 0)])
    assert torch.equal(stack.gather(torch.tensor([2, 0]), dtype), expected)
    assert sum(buffer.nbytes for buffer in stack.buffers()) == 3 * nf4_bytes(96 * 320)


def test_the_kernel_of_bitsandbytes_multiplies_by_the_same_numbers() -> None:
    torch.manual_seed(5)
    matrix = Nf4Stack(1, 96, 320, Workspace())
    matrix.put(0, [torch.randn(96, 320)])
    x = torch.randn(7, 320)
    fields = nf4.Nf4(matrix.packed[0], matrix.absmax[0], matrix.nested[0], matrix.offset[0])
    expected = matrix.linear(0, x)
    assert torch.equal(expected, x @ matrix.dense(0, slice(None), torch.float32).T)
    torch.testing.assert_close(nf4.multiply(x, fields, 96), expected)


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_a_model_in_four_bits_is_its_dense_twin(family, tmp_path, make_module, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = make_module(family)
    module.save_pretrained(tmp_path / "model")
    model = load(str(tmp_path / "model"), device="cpu", weights="nf4").model
    twin = copy.deepcopy(module)
    for name, stack in stacks_of(model.module).items():
        weight, original = twin.get_parameter(name), module.get_parameter(name)
        dense = torch.stack(
            [stack.dense(n, slice(None), torch.float32).clone() for n in range(stack.count)]
        ).view(weight.shape)
        lost = (dense - original).norm() / original.norm()
        assert lost < 0.11, f"{name}: more than four bits of normal numbers lose"
        weight.data = dense
    tokens = list(range(5, 45))
    with torch.inference_mode():
        expected = twin(torch.tensor([tokens])).logits[0]
    at_once = model.forward_all(tokens, model.new_state())
    state = model.new_state()
    one_by_one = torch.stack([model.forward([token], state) for token in tokens])
    for logits in (at_once, one_by_one):
        torch.testing.assert_close(logits, expected, **ROUNDED)
        assert torch.equal(logits.argmax(dim=-1), expected.argmax(dim=-1))


def test_without_fast_kernels_none_is_asked_and_the_same_is_said(
    tmp_path, make_module, monkeypatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    make_module("qwen3_5").save_pretrained(tmp_path / "model")
    fast, plain = (
        load(str(tmp_path / "model"), device="cpu", weights="nf4", fast_kernels=is_fast).model
        for is_fast in (True, False)
    )
    asked = []

    def fused(x, matrix, num_rows):
        asked.append(len(x))
        return nf4.multiply(x, matrix, num_rows)

    for stack in stacks_of(fast.module).values():
        if isinstance(stack, Nf4Stack):
            stack.fused = fused  # as on a GPU
    assert greedy(fast) == greedy(plain)
    assert asked
    assert (plain.kernels, plain.few_tokens_by) == (None, "Qwen3_5ForCausalLM")
    for name, stack in stacks_of(plain.module).items():
        ways = (stack.kernels, stack.few_rows, getattr(stack, "fused", None))
        assert ways == (None, None, None), name
        for ours, theirs in zip(
            stack.buffers(), stacks_of(fast.module)[name].buffers(), strict=True
        ):
            assert torch.equal(ours, theirs), "the same numbers"


def greedy(model) -> list[int]:
    """Return 24 tokens after 70, which are more than any kernel for few rows takes."""
    state, said = model.new_state(), []
    logits = model.forward([number * 7 % 97 for number in range(70)], state)
    for _ in range(24):
        said.append(int(logits.argmax()))
        logits = model.forward(said[-1:], state)
    return said


def test_a_folder_that_bitsandbytes_quantized_stays_as_it_is(tmp_path, make_module) -> None:
    make_module("qwen2").save_pretrained(tmp_path / "plain")
    options = transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.float32
    )
    quantized = transformers.AutoModelForCausalLM.from_pretrained(
        tmp_path / "plain", quantization_config=options, dtype=torch.float32, device_map={"": "cpu"}
    )
    quantized.save_pretrained(tmp_path / "quantized")
    loaded = load(str(tmp_path / "quantized"), device="cpu", weights="int8")
    assert loaded.model.quantization == "bitsandbytes"
    tokens = list(range(5, 25))
    with torch.inference_mode():
        expected = quantized(torch.tensor([tokens])).logits[0]
    logits = loaded.model.forward_all(tokens, loaded.model.new_state())
    torch.testing.assert_close(logits, expected)
