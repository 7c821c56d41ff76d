"""Softmax attention over keys and values that lie in several runs of pages.

Each part is attended to by itself, by torch's flash kernel, which also returns the logarithm of the
sum of exponentials of every query; by that it is joined to the parts before (Dao et al. 2022,
arXiv:2205.14135, section 3.1), so that no more is held however many there are. What a query sees
before its own chunk it sees whole, so no mask is ever made. Several query heads read one key head
(GQA, arXiv:2305.13245): they are laid side by side as more queries, and no key is repeated. No
cache and no module in here; `state.py` registers it with transformers.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

KvPart = tuple[Tensor, Tensor]
"""Keys and values of some tokens, [1, Hkv, N, Dh] each."""

Attended = tuple[Tensor, Tensor]
"""Outputs [..., T, Dh] over some keys, and their log-sum-exps, float32 [..., T]."""

PLAIN_BLOCK = 4096
"""Keys at once where there is no kernel: bounds the scores that are held."""


def attend(query: Tensor, past: Iterable[KvPart], own: KvPart, scale: float) -> Tensor:
    """Let T new tokens read all that is before them, and each other as far as they may.

    Args:
        query: [1, Hq, T, Dh], Hq a multiple of Hkv.
        past: keys and values before the new tokens, in order; may be empty. Each is read before the
            next is asked for.
        own: keys and values of the new tokens, [1, Hkv, T, Dh].
        scale: what scores are multiplied by, 1 / sqrt(Dh) as a rule.

    Returns:
        [1, T, Hq, Dh], as transformers expects it, in the dtype of `query`.
    """
    num_kv_heads, num_tokens, dim = own[0].shape[1:]
    grouped = query.view(1, num_kv_heads, -1, num_tokens, dim)  # [1, Hkv, G, T, Dh]
    output, weight = _over_own(grouped, own, scale)
    attended = output.flatten(2, 3), weight.flatten(2, 3)
    folded = grouped.flatten(2, 3)
    for keys, values in past:
        part = _kernel(folded, keys, values, is_causal=False, scale=scale)
        attended = _joined(attended, part)
    return attended[0].view(query.shape).to(query.dtype).transpose(1, 2)


def _over_own(grouped: Tensor, own: KvPart, scale: float) -> Attended:
    """Attend to the new tokens themselves; causally, a query head of each group after the other."""
    outputs, weights = zip(
        *(_kernel(head, *own, is_causal=True, scale=scale) for head in grouped.unbind(2)),
        strict=True,
    )
    return torch.stack(outputs, dim=2), torch.stack(weights, dim=2)


def _joined(first: Attended, second: Attended) -> Attended:
    """Join what was attended to over disjoint keys; each counts by its sum of exponentials."""
    (output, weight), (other, other_weight) = first, second
    share = (other_weight - weight).sigmoid()[..., None]
    return output.float().lerp(other.float(), share), torch.logaddexp(weight, other_weight)


def _kernel(
    query: Tensor, keys: Tensor, values: Tensor, *, is_causal: bool, scale: float
) -> Attended:
    """Attend to one part: outputs [1, H, T, Dh] and their log-sum-exps, float32 [1, H, T]."""
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
) -> Attended:
    """The same in plain operations, block after block of keys, for devices without a kernel."""
    attended: Attended | None = None
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
        part = probabilities @ values[:, :, block].float(), weight
        attended = part if attended is None else _joined(attended, part)
    assert attended is not None, "there is a key"
    return attended
