"""Attention over runs is softmax attention over all keys at once, by every kernel that we have."""

import pytest
import torch
from torch import Tensor

from inference import attention
from inference.attention import attend

SCALE = 0.3


def drawn(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def expected(query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Repeat the keys, make the mask, and attend in one go."""
    num_groups, num_new = query.shape[1] // keys.shape[1], query.shape[2]
    keys, values = (x.repeat_interleave(num_groups, dim=1) for x in (keys, values))
    scores = query @ keys.mT * SCALE
    later = torch.ones(num_new, keys.shape[2], dtype=torch.bool)
    later = later.triu(keys.shape[2] - num_new + 1)
    weights = scores.masked_fill(later, -torch.inf).softmax(dim=-1)
    return (weights @ values).transpose(1, 2)


@pytest.mark.parametrize("plain_block", [None, 7, 4096])
@pytest.mark.parametrize("num_new", [1, 2, 63, 64, 65])
@pytest.mark.parametrize("runs", [(), (1,), (256,), (3, 64, 130)])
def test_runs_are_read_as_if_they_were_one(
    runs: tuple[int, ...],
    num_new: int,
    plain_block: int | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if plain_block is not None:  # as on a device without a kernel
        monkeypatch.setattr(attention, "PLAIN_BLOCK", plain_block)
        monkeypatch.setattr(attention, "_kernel", attention._plain)
    num_tokens = sum(runs) + num_new
    query = drawn(1, 6, num_new, 16)
    keys, values = drawn(1, 2, num_tokens, 16), drawn(1, 2, num_tokens, 16) + 1
    parts = list(
        zip(keys.split([*runs, num_new], dim=2), values.split([*runs, num_new], dim=2), strict=True)
    )
    found = attend(query, parts[:-1], parts[-1], SCALE)
    torch.testing.assert_close(found, expected(query, keys, values), rtol=1e-5, atol=1e-5)
