"""flash-linear-attention's kernels for the gated delta rule, where that package is installed.

On a CUDA device they do in a few launches what `gated_delta.py` does in many, where they pass a
`trial.py`. Inside they round as bfloat16 does, so that is how far outputs agree. Not run on a GPU
yet (docs/bench/gpu.md).
"""

import importlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from inference.gated_delta import chunk_gated_delta_rule
from inference.trial import passes

LOG = logging.getLogger(__name__)
PACKAGE = "fla"
MAX_STEPS = 16
"""Tokens that are run one after the other in one launch; more are run in chunks."""
NUM_TOKENS = (4 * MAX_STEPS + 5, 1)
"""What is asked about: many, and one."""
TOLERANCE = 0.02
"""How far an answer may be from the known one, as a share of its length; bfloat16 gives 0.005."""

Rule = Callable[..., tuple[Tensor, Tensor | None]]
"""Takes what `chunk_gated_delta_rule` takes."""


@dataclass(frozen=True)
class DeltaKernels:
    """The rule for many tokens, and for a few."""

    chunk: Rule
    recurrent: Rule

    def run(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        log_decay: Tensor,
        beta: Tensor,
        state: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Run T tokens through the rule.

        Args:
            query, key: [B, T, Hk, Dk]; value: [B, T, H, Dv], H a multiple of Hk.
            log_decay: [B, T, H], float32, <= 0; beta: [B, T, H], in (0, 1].
            state: [B, H, Dk, Dv] or None for zeros; left as it was.

        Returns:
            [B, T, H, Dv] in the dtype of `query`, and the state after, float32 [B, H, Dk, Dv].
        """
        num_groups = value.shape[2] // key.shape[2]
        if num_groups > 1:  # not every version lets several values read one key
            query, key = (x.repeat_interleave(num_groups, dim=2) for x in (query, key))
        is_short = query.shape[1] <= MAX_STEPS
        outputs, after = (self.recurrent if is_short else self.chunk)(
            query,
            key,
            value,
            g=log_decay,
            beta=beta,
            initial_state=None if state is None else state.float(),
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        assert after is not None, "it was asked for"
        return outputs.to(query.dtype), after


@cache
def kernels_for(device: torch.device) -> DeltaKernels | None:
    """Return the kernels to use on a device; None where plain torch is all there is."""
    if device.type != "cuda" or find_spec(PACKAGE) is None:
        return None
    kernels = load()
    if kernels is None or not is_good(kernels, device, torch.bfloat16):
        return None
    return kernels


def load() -> DeltaKernels | None:
    """Import the kernels; None if this version of the package does not have them."""
    try:
        module: Any = importlib.import_module(f"{PACKAGE}.ops.gated_delta_rule")
        return DeltaKernels(module.chunk_gated_delta_rule, module.fused_recurrent_gated_delta_rule)
    except (ImportError, AttributeError, RuntimeError) as error:  # triton may find no driver
        LOG.warning("flash-linear-attention is not used: it cannot be loaded (%s).", error)
        return None


def is_good(kernels: DeltaKernels, device: torch.device, dtype: torch.dtype) -> bool:
    """Say whether the kernels answer as plain torch does, many tokens and one."""
    errors = (_error(kernels, num_tokens, device, dtype) for num_tokens in NUM_TOKENS)
    return passes("flash-linear-attention", errors, TOLERANCE)


def _error(
    kernels: DeltaKernels, num_tokens: int, device: torch.device, dtype: torch.dtype
) -> float:
    """Return how far outputs and state are from those of plain torch, as a share of them."""
    random = torch.Generator().manual_seed(num_tokens)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=random)

    keys, values = (1, num_tokens, 2, 128), (1, num_tokens, 4, 128)
    query, key, value = (draw(*shape).to(device, dtype) for shape in (keys, keys, values))
    log_decay = -draw(1, num_tokens, 4).abs().to(device) / 10
    beta = draw(1, num_tokens, 4).sigmoid().to(device, dtype)
    state = draw(1, 4, 128, 128).to(device)
    found = kernels.run(query, key, value, log_decay, beta, state)
    known = DeltaKernels(chunk_gated_delta_rule, chunk_gated_delta_rule).run(
        query, key, value, log_decay, beta, state
    )
    return max(
        float((ours.float() - theirs.float()).norm() / theirs.float().norm())
        for ours, theirs in zip(found, known, strict=True)
    )
