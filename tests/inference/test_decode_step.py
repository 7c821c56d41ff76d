"""A few tokens read in one flat pass are read as transformers' module reads them."""

import copy
import random

import pytest
import torch
import transformers

from inference.decode_step import DecodeStep
from inference.kernels import kernels
from inference.loader import load
from inference.model import Model
from inference.quantize import stacks_of

WIDTHS = (1, 1, 3, 70, 1, 2, 16, 1, 40, 1)
TOKENS = random.Random(2).choices(range(97), k=sum(WIDTHS) + 20)

CLEAR_GAP = 0.1
"""Between the two best tokens: with quantized weights nothing that is rounded may bridge it."""

pytestmark = pytest.mark.skipif(kernels() is None, reason="no compiler, or not an x86 with AVX2")


def pair(module: transformers.PreTrainedModel, **options) -> tuple[Model, Model]:
    """Return two models of a module, with a flat step and without."""
    fast, plain = (
        Model(copy.deepcopy(module), fast_kernels=flag, **options) for flag in (True, False)
    )
    assert isinstance(fast._step, DecodeStep)
    assert plain._step is None
    assert plain.kernels is None
    return fast, plain


@pytest.mark.parametrize(
    ("family", "kv"),
    [
        ("qwen3_5", "16bit"),
        ("qwen3_5", "int8"),
        ("qwen3_5", "int4"),  # with experts, what it rounds otherwise may choose another of them
        pytest.param("qwen3_5_moe", "16bit", marks=pytest.mark.slow),
        pytest.param("qwen3_5_moe", "int8", marks=pytest.mark.slow),
    ],
)
def test_every_width_gives_the_logits_of_the_module(family, kv, modules) -> None:
    fast, plain = pair(modules[family], kv=kv)
    states = fast.new_state(), plain.new_state()
    tolerance = 2e-2 if kv == "int4" else 2e-3  # a key on the edge of two steps may be either
    start = 0
    for width in WIDTHS:
        tokens = TOKENS[start : start + width]
        logits, expected = fast.forward_all(tokens, states[0]), plain.forward_all(tokens, states[1])
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=tolerance)
        assert torch.equal(logits.argmax(-1), expected.argmax(-1))
        start += width


def test_either_goes_on_from_what_the_other_has_read(modules) -> None:
    fast, plain = pair(modules["qwen3_5"])
    expected = plain.forward(TOKENS[:40], plain.new_state())
    state = plain.new_state()
    for first in range(0, 40, 5):  # turn about: states and pages are the same kind
        model = (fast, plain)[first // 5 % 2]
        logits = model.forward(TOKENS[first : first + 5], state)
    torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)


def test_what_is_taken_back_was_never_read(modules) -> None:
    fast, _ = pair(modules["qwen3_5"])
    expected = fast.forward(TOKENS[:12], fast.new_state())
    state = fast.new_state()
    fast.forward(TOKENS[:8], state)
    kept = state.snapshot()
    state.allow_rollback(9)
    fast.forward([*TOKENS[8:10], 5, 5, 5, 5], state)
    state.rollback(4)
    torch.testing.assert_close(fast.forward(TOKENS[10:12], state), expected, rtol=1e-4, atol=1e-4)
    again = fast.forward(TOKENS[8:12], kept.restore())
    torch.testing.assert_close(again, expected, rtol=1e-4, atol=1e-4)


def test_states_on_the_way_are_those_of_stopping_there(modules) -> None:
    fast, _ = pair(modules["qwen3_5"])
    state = fast.new_state()
    at_stop, last = fast.forward_past(TOKENS[:9], state, [4])
    torch.testing.assert_close(at_stop, fast.forward(TOKENS[:4], fast.new_state()))
    resumed = fast.forward(TOKENS[4:9], state.snapshot(length=4).restore())
    torch.testing.assert_close(resumed, last, rtol=1e-4, atol=1e-4)


def test_bfloat16_weights_are_read_more_exactly_than_the_module_does(modules) -> None:
    exact = copy.deepcopy(modules["qwen3_5"]).bfloat16().float()
    fast, plain = pair(copy.deepcopy(exact).bfloat16())
    with torch.inference_mode():
        expected = exact(torch.tensor([TOKENS[:16]])).logits[0]
    ours, module = (model.forward_all(TOKENS[:16], model.new_state()) for model in (fast, plain))
    assert (ours - expected).square().mean() < (module - expected).square().mean()


def test_what_is_not_known_is_left_to_the_module(modules, make_module) -> None:
    model = Model(make_module("qwen2"))
    assert model._step is None
    odd = make_module("qwen3_5")
    odd.model.layers[0].mlp.down_proj.bias = torch.nn.Parameter(torch.ones(32))
    assert Model(odd)._step is None


@pytest.mark.slow  # bitsandbytes takes seconds to import
@pytest.mark.parametrize("weights", ["int8", "nf4"])
def test_many_rows_and_few_meet_the_same_numbers(weights, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sizes = {"hidden_size": 64, "intermediate_size": 128, "vocab_size": 97, "num_hidden_layers": 4}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    linear = {"linear_num_key_heads": 2, "linear_num_value_heads": 4}
    dims = {"linear_key_head_dim": 32, "linear_value_head_dim": 32}
    config = transformers.Qwen3_5TextConfig(**sizes, **heads, **linear, **dims)
    torch.manual_seed(7)
    module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in module.parameters():
        if weight.dim() > 1:
            weight.data.normal_(std=0.25)
    module.save_pretrained(tmp_path / "model")
    model = load(str(tmp_path / "model"), device="cpu", weights=weights).model
    assert model._step is not None
    twin = copy.deepcopy(module)
    for name, stack in stacks_of(model.module).items():
        twin.get_parameter(name).data = stack.dense(0, slice(None), torch.float32).clone()
    with torch.inference_mode():
        expected = twin(torch.tensor([TOKENS[:40]])).logits[0]
    at_once = model.forward_all(TOKENS[:40], model.new_state())
    state = model.new_state()
    one_by_one = torch.stack([model.forward([token], state) for token in TOKENS[:40]])
    best, second = expected.topk(2).values.T
    is_clear = best - second > CLEAR_GAP
    assert is_clear.sum() > 30
    for logits in (at_once, one_by_one):
        torch.testing.assert_close(logits, expected, rtol=0, atol=CLEAR_GAP)
        same = logits.argmax(dim=-1) == expected.argmax(dim=-1)
        assert same[is_clear].all()
