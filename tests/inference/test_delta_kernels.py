"""flash-linear-attention is used only where it answers as plain torch does."""

import logging
from typing import Any

import pytest
import torch
from torch import Tensor

from inference.delta_kernels import DeltaKernels, is_good, kernels_for
from inference.gated_delta import chunk_gated_delta_rule, gated_delta_step, unit_length

CPU = torch.device("cpu")
PLAIN = DeltaKernels(chunk_gated_delta_rule, chunk_gated_delta_rule)


def test_without_a_gpu_there_are_none() -> None:
    assert kernels_for(CPU) is None


def test_kernels_that_answer_alike_are_used(caplog: pytest.LogCaptureFixture) -> None:
    assert is_good(PLAIN, CPU, torch.bfloat16)
    assert caplog.records == []


def test_a_kernel_that_takes_its_state_otherwise_is_not_used(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def turned(*inputs: Tensor, initial_state: Tensor, **options: Any) -> Any:
        return chunk_gated_delta_rule(*inputs, initial_state=initial_state.mT, **options)

    with caplog.at_level(logging.WARNING):
        assert not is_good(DeltaKernels(turned, turned), CPU, torch.bfloat16)
    assert "off here" in caplog.text


@pytest.mark.parametrize("wrong", ["chunk", "recurrent"])
def test_a_kernel_that_breaks_off_is_said_once_and_not_used(
    wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_inputs: Tensor, **_options: Any) -> Any:
        raise ValueError("no such shared memory")

    rules = {"chunk": chunk_gated_delta_rule, "recurrent": chunk_gated_delta_rule, wrong: broken}
    with caplog.at_level(logging.WARNING):
        assert not is_good(DeltaKernels(**rules), CPU, torch.bfloat16)
    (record,) = caplog.records
    assert "no such shared memory" in record.message


@pytest.mark.parametrize("num_tokens", [1, 16, 40])
def test_tokens_are_run_as_one_after_the_other(num_tokens: int) -> None:
    torch.manual_seed(0)
    query, key = torch.randn(2, 1, num_tokens, 2, 16).unbind(0)
    value = torch.randn(1, num_tokens, 4, 8)
    log_decay, beta = -torch.rand(1, num_tokens, 4), torch.rand(1, num_tokens, 4)
    state = before = torch.randn(1, 4, 16, 8)
    outputs, after = PLAIN.run(query, key, value, log_decay, beta, before)
    for token in range(num_tokens):
        q, k = (unit_length(x[:, token]).repeat_interleave(2, dim=1) for x in (query, key))
        decay = log_decay[:, token].exp()
        expected, state = gated_delta_step(q, k, value[:, token], decay, beta[:, token], state)
        torch.testing.assert_close(outputs[:, token], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(after, state, rtol=1e-4, atol=1e-5)
