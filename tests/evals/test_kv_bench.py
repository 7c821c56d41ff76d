"""Keys and values in 8 bits leave what nano says as it is, at its whole window."""

import pytest
import torch

from evals.bench.kv import KLD_GOAL, TOP1_GOAL, agreement, windows


@pytest.mark.slow
def test_8_bits_are_within_what_others_reach_and_4_bits_not_far_behind() -> None:
    torch.set_num_threads(1)
    texts = list(windows(1, 4096))
    assert [len(text) for text in texts] == [4096]
    in_8, in_4 = agreement("int8", texts), agreement("int4", texts)
    assert in_8.mean_kld <= KLD_GOAL
    assert in_8.top1 >= TOP1_GOAL
    assert in_8.mean_kld < in_4.mean_kld <= 0.015, "it is warned of for a reason"
    assert in_4.top1 >= 0.95
