"""The recurrence agrees with itself in both forms, and with transformers, values and gradients."""

import pytest
import torch
from torch.nn import functional
from transformers.models.qwen3_5.modeling_qwen3_5 import torch_chunk_gated_delta_rule

from inference.gated_delta import chunk_gated_delta_rule, gated_delta_step, unit_lower_inverse

LENGTHS = (1, 2, 3, 5, 16, 31, 33, 63, 64, 65, 127, 128, 129, 200)


def inputs(num_tokens: int, with_state: bool, num_key_heads: int = 2) -> list[torch.Tensor]:
    """Return q, k, v, g, beta and perhaps a state, for two sequences of four heads."""
    generator = torch.Generator().manual_seed(num_tokens)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator)

    key = functional.normalize(random(2, num_tokens, num_key_heads, 16), dim=-1)
    tensors = [
        random(2, num_tokens, num_key_heads, 16),
        key,
        random(2, num_tokens, 4, 8),
        -functional.softplus(random(2, num_tokens, 4)),
        random(2, num_tokens, 4).sigmoid(),
    ]
    if with_state:
        tensors.append(random(2, 4, 16, 8))
    return [tensor.requires_grad_() for tensor in tensors]


def run(rule, tensors, unit_length=True):
    """Return outputs, final state and the gradients of a random function of both."""
    outputs, state = rule(
        *tensors[:5],
        initial_state=tensors[5] if len(tensors) > 5 else None,
        output_final_state=True,
        use_qk_l2norm_in_kernel=unit_length,
    )
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(x.shape, generator=generator) for x in (outputs, state)]
    loss = (outputs * weights[0]).sum() + (state * weights[1]).sum()
    return [outputs.detach(), state.detach(), *torch.autograd.grad(loss, tensors)]


@pytest.mark.parametrize("unit_length", [True, False])
@pytest.mark.parametrize("with_state", [True, False])
@pytest.mark.parametrize("num_tokens", LENGTHS)
def test_values_and_gradients_are_those_of_transformers(
    num_tokens, with_state, unit_length
) -> None:
    ours = run(chunk_gated_delta_rule, inputs(num_tokens, with_state), unit_length)
    theirs = run(torch_chunk_gated_delta_rule, inputs(num_tokens, with_state), unit_length)
    for left, right in zip(ours, theirs, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("num_tokens", [1, 7, 64, 100])
def test_chunks_and_steps_are_the_same_recurrence(num_tokens) -> None:
    q, k, v, g, beta, state = (x.detach() for x in inputs(num_tokens, True, num_key_heads=4))
    outputs, final = chunk_gated_delta_rule(
        q, k, v, g, beta, initial_state=state, output_final_state=True
    )
    for t in range(num_tokens):
        output, state = gated_delta_step(
            q[:, t], k[:, t], v[:, t], g[:, t].exp(), beta[:, t], state
        )
        torch.testing.assert_close(outputs[:, t], output, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(final, state, rtol=1e-4, atol=1e-5)


def test_the_gradient_is_the_one_of_finite_differences() -> None:
    system = torch.randn(2, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(unit_lower_inverse, system)


@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_equal_keys_do_not_spoil_the_inverse(size: int) -> None:
    """The powers of this matrix reach 1e17; its inverse holds only 1 and -1."""
    ones = torch.ones(3, size, size).tril(-1)
    expected = torch.eye(size) - torch.diag(torch.ones(size - 1), -1)
    assert torch.equal(unit_lower_inverse(ones), expected.expand(3, -1, -1))


def test_what_was_passed_in_stays_as_it_was() -> None:
    tensors = [x.detach() for x in inputs(70, True)]
    copies = [x.clone() for x in tensors]
    chunk_gated_delta_rule(*tensors[:5], initial_state=tensors[5], output_final_state=True)
    assert all(torch.equal(a, b) for a, b in zip(tensors, copies, strict=True))


def test_half_precision_comes_back_as_it_came_and_autocast_does_not_reach_inside() -> None:
    tensors = [x.detach() for x in inputs(70, False)]
    expected, none = chunk_gated_delta_rule(*tensors)
    assert none is None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(chunk_gated_delta_rule(*tensors)[0], expected)
    half = [x.bfloat16() for x in tensors[:3]]
    outputs, state = chunk_gated_delta_rule(*half, *tensors[3:], output_final_state=True)
    assert outputs.dtype == torch.bfloat16
    assert state is not None
    assert state.dtype == torch.float32
