"""Many tokens through a Gated DeltaNet layer on a CPU, without gradients.

The mathematics of `gated_delta.py` in the order that suits a cache: a chunk of tokens goes from the
convolution to its outputs before the next one is touched, so that nothing but the state is read
from memory twice, and heads are views of the projection, never copied side by side. What a chunk
takes from the state is taken when its turn comes, which needs fewer products than to prepare it for
all chunks at once, as is right where many run beside each other (a GPU, a training).
"""

import torch
from torch import Tensor
from torch.nn import functional

from inference.gated_delta import NORM_EPS

CHUNK = 64
"""Tokens: at the shapes of the family 32 and 128 need more time for each."""
LEAF = 16
"""Size of a triangle that is inverted by substitution."""


def scan(
    mixed: Tensor,
    conv: Tensor | None,
    taps: Tensor,
    log_decay: Tensor,
    beta: Tensor,
    state: Tensor | None,
    num_key_heads: int,
    key_dim: int,
) -> tuple[Tensor, Tensor]:
    """Convolve T tokens and run them through the gated delta rule; float32 inside.

    Args:
        mixed: [T, channels], queries, keys and values as they were projected.
        conv: [channels, K - 1], the inputs of before; None for zeros.
        taps: [channels, K], the weights of the convolution.
        log_decay: [T, H], <= 0; beta: [T, H], in (0, 1]. H is a multiple of `num_key_heads`.
        state: [H, Dk, Dv] or None for zeros; left as it was.
        num_key_heads: of keys, and as many of queries.
        key_dim: Dk.

    Returns:
        [T, H, Dv] in the dtype of `mixed`, and the state after them, float32.
    """
    (num_tokens, channels), num_heads = mixed.shape, log_decay.shape[1]
    value_dim = (channels - 2 * num_key_heads * key_dim) // num_heads
    outputs = mixed.new_empty(num_tokens, num_heads, value_dim)
    if state is None:
        state = mixed.new_zeros(num_heads, key_dim, value_dim, dtype=torch.float32)
    else:
        state = state.to(torch.float32, copy=True)
    rows = taps.t().float().contiguous()
    for first in range(0, num_tokens, CHUNK):
        chunk = slice(first, first + CHUNK)
        convolved = _convolved(_window(mixed, conv, chunk, len(rows) - 1), rows)
        both, values = convolved.tensor_split([2 * num_key_heads * key_dim], dim=1)
        queries, keys = _unit_length(both.view(-1, 2 * num_key_heads, key_dim)).chunk(2)
        faded = log_decay[chunk].t().cumsum(dim=-1)
        found = _run_chunk(
            queries.mul_(key_dim**-0.5),
            keys,
            values.view(-1, num_heads, value_dim).transpose(0, 1),
            faded,
            beta[chunk].t().float()[..., None],
            state,
        )
        outputs[chunk] = found.transpose(0, 1)
    return outputs, state


def _window(mixed: Tensor, conv: Tensor | None, chunk: slice, width: int) -> Tensor:
    """Return the tokens of a chunk and the `width` before them, float32."""
    if chunk.start >= width:
        return mixed[chunk.start - width : chunk.stop].float()
    assert chunk.start == 0, "a chunk is longer than the convolution reaches back"
    before = mixed.new_zeros(width, mixed.shape[1]) if conv is None else conv.t().to(mixed.dtype)
    return torch.cat((before, mixed[chunk])).float()


def _convolved(window: Tensor, rows: Tensor) -> Tensor:
    """Convolve [K - 1 + n, channels] with [K, channels], and bend the sums: [n, channels]."""
    num_tokens = len(window) - len(rows) + 1
    sums = window[:num_tokens] * rows[0]
    for back in range(1, len(rows)):
        sums.addcmul_(window[back : back + num_tokens], rows[back])
    return functional.silu(sums, inplace=True)


def _unit_length(heads: Tensor) -> Tensor:
    """Scale [n, heads, D] in place to length one along D; return [heads, n, D]."""
    length = torch.linalg.vector_norm(heads, dim=-1, keepdim=True)
    return heads.mul_(length.square_().add_(NORM_EPS).rsqrt_()).transpose(0, 1)


def _run_chunk(
    queries: Tensor, keys: Tensor, values: Tensor, faded: Tensor, beta: Tensor, state: Tensor
) -> Tensor:
    """Run n tokens, [heads, n, D] each, and take `state`, [H, Dk, Dv], to their end in place.

    `faded` is [H, n], the logarithm of what is left of the state at each token; `beta` [H, n, 1].
    """
    # 1. How much of what token j wrote is left when token i reads; above the diagonal anything.
    num_groups = len(values) // len(keys)
    left = (faded[:, :, None] - faded[:, None, :]).clamp_(max=0).exp_()
    from_start = faded.exp()[..., None]

    # 2. What each token has to correct, if the state is as before the chunk; then if those before
    # it in the chunk have made their corrections.
    system = _per_head(keys @ keys.mT, num_groups).mul_(left).mul_(beta)
    attention = _per_head(queries @ keys.mT, num_groups).mul_(left).tril_()
    queries, keys = _per_head(queries, num_groups), _per_head(keys, num_groups)
    held = torch.bmm(keys, state)
    missing = torch.addcmul(values, held, from_start, value=-1, out=held).mul_(beta)
    corrections = torch.bmm(_inverse(system), missing)

    # 3. Every token reads the state, and the corrections made since; its own included.
    outputs = torch.bmm(queries, state).mul_(from_start).baddbmm_(attention, corrections)

    # 4. The state fades, and takes what is left of the corrections.
    to_end = (faded[:, -1:] - faded).exp_()[..., None]
    state.mul_(from_start[:, -1:]).baddbmm_((keys * to_end).mT, corrections)
    return outputs


def _per_head(x: Tensor, num_groups: int) -> Tensor:
    """Repeat what value heads share: [Hk, ...] to [H, ...]."""
    return x if num_groups == 1 else x.repeat_interleave(num_groups, dim=0)


def _inverse(system: Tensor) -> Tensor:
    """Invert I + (the strictly lower part of `system`), [H, n, n]; what else is in it is not read.

    Two halves on the diagonal, and what is below them: [[A, 0], [L, B]]^-1 =
    [[A^-1, 0], [-B^-1 L A^-1, B^-1]].
    """
    size = system.shape[-1]
    inverse: Tensor
    if size <= LEAF:
        identity = torch.eye(size, dtype=system.dtype).expand_as(system)
        inverse = torch.linalg.solve_triangular(system, identity, upper=False, unitriangular=True)
        return inverse
    half = size // 2
    inverse = torch.zeros_like(system)
    first = inverse[:, :half, :half] = _inverse(system[:, :half, :half])
    second = inverse[:, half:, half:] = _inverse(system[:, half:, half:])
    inverse[:, half:, :half] = torch.bmm(second, system[:, half:, :half] @ first).neg_()
    return inverse
