"""What a CPU runs in place of transformers' layers says the same as they do."""

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.qwen3_5.modeling_qwen3_5 import torch_chunk_gated_delta_rule

from evals.bench.shapes import SHAPES, make_checkpoint
from inference.cpu_layers import GATED_NORMS, MLPS, NORMS, adopt_small
from inference.delta_scan import _inverse, scan
from inference.door import EngineSettings
from inference.model import Model
from inference.opened import open_engine

KEY_HEADS, HEADS, KEY_DIM, VALUE_DIM, WIDTH = 2, 4, 16, 8, 3
KEYS, VALUES = KEY_HEADS * KEY_DIM, HEADS * VALUE_DIM
CHANNELS = 2 * KEYS + VALUES


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def of_transformers(
    mixed: Tensor, conv: Tensor | None, taps: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Convolve all at once, then run transformers' rule on copies of heads side by side."""
    before = torch.zeros(CHANNELS, WIDTH) if conv is None else conv
    window = torch.cat((before, mixed.T), dim=1)[None]
    summed = functional.conv1d(window, taps[:, None], groups=CHANNELS)
    convolved = functional.silu(summed).mT
    query, key, value = convolved.split([KEYS, KEYS, VALUES], dim=-1)
    outputs, after = torch_chunk_gated_delta_rule(
        query.unflatten(-1, (KEY_HEADS, KEY_DIM)),
        key.unflatten(-1, (KEY_HEADS, KEY_DIM)),
        value.unflatten(-1, (HEADS, VALUE_DIM)),
        decay[None],
        beta[None],
        initial_state=state[None],
        output_final_state=True,
        use_qk_l2norm_in_kernel=True,
    )
    return outputs[0], after[0]


@pytest.mark.parametrize("is_first", [True, False])
@pytest.mark.parametrize("num_tokens", [1, 2, 3, 33, 63, 64, 65, 200])
def test_a_scan_convolves_and_runs_the_rule_of_transformers(
    num_tokens: int, is_first: bool
) -> None:
    mixed, taps = drawn(num_tokens, CHANNELS), drawn(CHANNELS, WIDTH + 1)
    decay = -functional.softplus(drawn(num_tokens, HEADS))
    beta = drawn(num_tokens, HEADS).sigmoid()
    conv = None if is_first else drawn(CHANNELS, WIDTH)
    state = torch.zeros(HEADS, KEY_DIM, VALUE_DIM) if is_first else drawn(HEADS, KEY_DIM, VALUE_DIM)
    kept = state.clone()
    begun = None if is_first else state
    found = scan(mixed, conv, taps, decay, beta, begun, KEY_HEADS, KEY_DIM)
    expected = of_transformers(mixed, conv, taps, decay, beta, state)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)
    assert torch.equal(state, kept)


@pytest.mark.parametrize("size", [1, 2, 17, 64])
def test_equal_keys_do_not_spoil_the_inverse(size: int) -> None:
    """The powers of this matrix reach 1e17; its inverse holds only 1 and -1."""
    ones = torch.ones(3, size, size)  # what is on the diagonal and above is not read
    expected = torch.eye(size) - torch.diag(torch.ones(size - 1), -1)
    assert torch.equal(_inverse(ones), expected.expand(3, -1, -1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_and_mlps_say_what_those_of_transformers_say(make_module, dtype) -> None:
    theirs = make_module("qwen3_5").to(dtype)
    ours = copy.deepcopy(theirs)
    adopt_small(ours)
    seen = set()
    for layer, adopted in zip(theirs.modules(), ours.modules(), strict=True):
        name = type(layer).__name__
        if name not in NORMS | GATED_NORMS | MLPS:
            continue
        seen.add(name)
        inputs = _inputs(layer, dtype)
        tolerance = 1e-5 if dtype == torch.float32 else 0.02
        with torch.inference_mode():
            torch.testing.assert_close(
                adopted(*inputs), layer(*inputs), rtol=tolerance, atol=tolerance
            )
    assert seen == {"Qwen3_5RMSNorm", "Qwen3_5RMSNormGated", "Qwen3_5MLP"}


def _inputs(layer: nn.Module, dtype: torch.dtype) -> tuple[Tensor, ...]:
    """As many rows as a layer is wide, and a gate where it has one."""
    width = int(next(layer.parameters()).shape[-1])
    num = 2 if type(layer).__name__ in GATED_NORMS else 1
    return tuple(drawn(5, width + n)[:, :width].to(dtype) for n in range(num))


def test_without_fast_kernels_the_same_tokens_come_out(make_module) -> None:
    fast = Model(make_module("qwen3_5"))
    plain = Model(make_module("qwen3_5"), fast_kernels=False)
    tokens = [number * 7 % 97 for number in range(150)]
    expected = plain.forward_all(tokens, plain.new_state())
    found = fast.forward_all(tokens, fast.new_state())
    assert not torch.equal(found, expected)  # they are computed in another order
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert torch.equal(found.argmax(dim=-1), expected.argmax(dim=-1))


def test_the_setting_reaches_the_layers(tmp_path: Path) -> None:
    folder = make_checkpoint(SHAPES["tiny"], tmp_path / "model", torch.float32)
    for is_fast in (True, False):
        engine = open_engine(EngineSettings(str(folder), "cpu", fast_kernels=is_fast)).engine
        assert ("forward" in vars(engine.model.module.model.norm)) is is_fast
        engine.close()


def test_states_are_kept_as_they_are_asked_for(tmp_path: Path) -> None:
    folder = make_checkpoint(SHAPES["tiny"], tmp_path / "model", torch.float32)
    for state in ("float32", "float16"):
        engine = open_engine(EngineSettings(str(folder), "cpu", state=state)).engine
        line = engine.model.new_state()
        engine.model.forward(list(range(20)), line)
        engine.model.forward([5], line)
        kept = [states.recurrent[0].dtype for states in line.snapshot().linear]
        assert set(kept) == {getattr(torch, state)}
        engine.close()
