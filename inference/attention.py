"""Softmax attention over keys and values that lie in several runs of pages.

Each run is attended to by itself, by torch's flash kernel, which also returns the logarithm of the
sum of exponentials of every query; the parts are then weighed by it (Dao et al. 2022,
arXiv:2205.14135, section 3.1). What a query sees before its own chunk it sees whole, so no mask is
ever made. Several query heads read one key head (GQA, arXiv:2305.13245): they are laid side by side
as more queries, and no key is repeated. No cache and no module in here; `state.py` registers it
with transformers.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

KvPart = tuple[Tensor, Tensor]
"""Keys and values of a run, [1, Hkv, N, Dh] each."""

PLAIN_BLOCK = 4096
"""Keys at once where there is no kernel: bounds the scores that are held."""


def attend(query: Tensor, past: Sequence[KvPart], own: KvPart, scale: float) -> Tensor:
    """Let T new tokens read all that is before them, and each other as far as they may.

    Args:
        query: [1, Hq, T, Dh], Hq a multiple of Hkv.
        past: keys and values before the new tokens, in order; may be empty.
        own: keys and values of the new tokens, [1, Hkv, T, Dh].
        scale: what scores are multiplied by, 1 / sqrt(Dh) as a rule.

    Returns:
        [1, T, Hq, Dh], as transformers expects it, in the dtype of `query`.
    """
    num_kv_heads, num_tokens, dim = own[0].shape[1:]
    grouped = query.view(1, num_kv_heads, -1, num_tokens, dim)  # [1, Hkv, G, T, Dh]
    parts = [_over_own(grouped, own, scale)]
    folded = grouped.flatten(2, 3)
    for keys, values in past:
        output, weight = _kernel(folded, keys, values, is_causal=False, scale=scale)
        parts.append((output.view(grouped.shape), weight.view(grouped.shape[:-1])))
    return _weighed(parts).view(query.shape).to(query.dtype).transpose(1, 2)


def _over_own(grouped: Tensor, own: KvPart, scale: float) -> tuple[Tensor, Tensor]:
    """Attend to the new tokens themselves; causally, a query head of each group after the other."""
    outputs, weights = zip(
        *(_kernel(head, *own, is_causal=True, scale=scale) for head in grouped.unbind(2)),
        strict=True,
    )
    return torch.stack(outputs, dim=2), torch.stack(weights, dim=2)


def _weighed(parts: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Put outputs [..., T, Dh] over disjoint keys together by their log-sum-exps [..., T]."""
    if len(parts) == 1:
        return parts[0][0]
    weights = torch.stack([weight for _, weight in parts]).softmax(dim=0)
    outputs = torch.stack([output for output, _ in parts])
    return (outputs.float() * weights[..., None]).sum(dim=0)


def _kernel(
    query: Tensor, keys: Tensor, values: Tensor, *, is_causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """Attend to one run: outputs [1, H, T, Dh] and their log-sum-exps, float32 [1, H, T]."""
    aten = torch.ops.aten
    if query.device.type == "cpu":
        output, weight = aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, 0.0, is_causal, scale=scale
        )
        return output, weight
    if query.device.type == "cuda" and query.dtype in (torch.bfloat16, torch.float16):
        output, weight, *_ = aten._scaled_dot_product_flash_attention(
            query, keys, values, 0.0, is_causal, False, scale=scale
        )
        return output, weight
    return _plain(query, keys, values, is_causal=is_causal, scale=scale)


def _plain(
    query: Tensor, keys: Tensor, values: Tensor, *, is_causal: bool, scale: float
) -> tuple[Tensor, Tensor]:
    """The same in plain operations, block after block of keys, for devices without a kernel."""
    parts = []
    num_queries = query.shape[2]
    for first in range(0, keys.shape[2], PLAIN_BLOCK):
        block = slice(first, first + PLAIN_BLOCK)
        scores = (query.float() @ keys[:, :, block].float().mT) * scale
        if is_causal:
            later = torch.ones(num_queries, keys.shape[2], dtype=torch.bool, device=query.device)
            scores = scores.masked_fill(later.triu(1)[:, block], -torch.inf)
        weight = scores.logsumexp(dim=-1)
        # A query that may see nothing of a block has weight exp(-inf), and no probabilities.
        probabilities = (scores - weight.clamp(min=torch.finfo(scores.dtype).min)[..., None]).exp()
        parts.append((probabilities @ values[:, :, block].float(), weight))
    output = _weighed(parts)
    return output, torch.stack([weight for _, weight in parts]).logsumexp(dim=0)
