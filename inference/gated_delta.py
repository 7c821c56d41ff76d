"""The gated delta rule in plain torch (Yang, Kautz, Hatamizadeh 2024, arXiv:2412.06464).

One matrix S a head is the whole past. A token first lets it fade, then moves what S answers to the
key k towards the value v, then reads S with the query q:

    S <- decay * S;    S <- S + k (beta * (v - S^T k))^T;    o = S^T q / sqrt(Dk)

`gated_delta_step` is these lines. `chunk_gated_delta_rule` gives the same outputs for many tokens
at once and can be differentiated; its arguments are those of transformers and of
flash-linear-attention, so it can stand in for either. This is to read, to train small models on a
CPU, and to test fast kernels against; it is no kernel itself.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

NORM_EPS = 1e-6


def gated_delta_step(
    q: Tensor, k: Tensor, v: Tensor, decay: Tensor, beta: Tensor, state: Tensor
) -> tuple[Tensor, Tensor]:
    """Run one token through the gated delta rule.

    Args:
        q, k: [B, H, Dk], unit length along Dk; v: [B, H, Dv], like the output.
        decay, beta: [B, H], in (0, 1]; the share of the state kept, how far it moves to `v`.
        state: [B, H, Dk, Dv], float32; left as it was, the new one is returned.
    """
    kept = state * decay[..., None, None]
    correction = beta[..., None] * (v - torch.einsum("bhkv,bhk->bhv", kept, k))
    new_state = kept + torch.einsum("bhk,bhv->bhkv", k, correction)
    return torch.einsum("bhkv,bhk->bhv", new_state, q) * q.shape[-1] ** -0.5, new_state


def chunk_gated_delta_rule(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    g: Tensor,
    beta: Tensor,
    chunk_size: int = 64,
    initial_state: Tensor | None = None,
    output_final_state: bool = False,
    use_qk_l2norm_in_kernel: bool = False,
    **_kernel_options: Any,
) -> tuple[Tensor, Tensor | None]:
    """Run T tokens through the gated delta rule, a chunk at a time; float32 inside.

    Inside a chunk the T corrections depend on each other through a unit lower triangular system
    (the UT transform, arXiv:2406.06484 section 3); its inverse turns the chunk into matrix
    products, and what is left to do one after the other is one product a chunk.

    Args:
        query, key: [B, T, Hk, Dk]; value: [B, T, H, Dv], H a multiple of Hk.
        g: [B, T, H], the logarithm of the decay, <= 0; beta: [B, T, H], in (0, 1].
        chunk_size: a power of two; fewer tokens than that make one smaller chunk.
        initial_state: [B, H, Dk, Dv] or None for zeros; left as it was.
        output_final_state: whether the state after the last token is returned.
        use_qk_l2norm_in_kernel: bring query and key to unit length first.

    Returns:
        [B, T, H, Dv] in the dtype of `query`, and the final state, float32 [B, H, Dk, Dv], or None.
    """
    # Under autocast the products would be bfloat16, and the triangular inverse cannot bear that.
    with torch.autocast(query.device.type, enabled=False):
        q, k, v, beta, log_decay = (_heads_first(x) for x in (query, key, value, beta, g))
        if use_qk_l2norm_in_kernel:
            q, k = unit_length(q), unit_length(k)
        q = q * q.shape[-1] ** -0.5
        if (num_groups := v.shape[1] // k.shape[1]) > 1:
            q, k = q.repeat_interleave(num_groups, dim=1), k.repeat_interleave(num_groups, dim=1)
        state = None if initial_state is None else initial_state.float()
        outputs, state = _run_chunks(q, k, v, beta, log_decay, state, chunk_size)
    outputs = outputs.transpose(1, 2).to(query.dtype, memory_format=torch.contiguous_format)
    return outputs, state if output_final_state else None


def _run_chunks(
    q: Tensor, k: Tensor, v: Tensor, beta: Tensor, g: Tensor, state: Tensor | None, chunk_size: int
) -> tuple[Tensor, Tensor]:
    """Outputs [B, H, T, Dv] and final state, from [B, H, T, D] inputs in float32."""
    num_batch, num_heads, num_tokens, key_dim = k.shape
    size = min(chunk_size, 1 << (num_tokens - 1).bit_length())
    q, k, v, beta, g = (_in_chunks(x, size) for x in (q, k, v, beta, g))  # [B, H, N, C, ...]

    # 1. How much of what token j wrote is left when token i reads: exp(sum of g over j+1..i).
    faded = g.cumsum(dim=-1)
    later = torch.ones(size, size, dtype=torch.bool, device=g.device).triu(1)
    left = (faded[..., :, None] - faded[..., None, :]).masked_fill(later, -torch.inf).exp()
    from_start = faded.exp()[..., None]

    # 2. The corrections of a chunk, as they would be from a zero state, and what a state S takes
    # away.
    k_beta = k * beta[..., None]
    inverse = unit_lower_inverse(k_beta @ k.mT * left)
    corrections = inverse @ (v * beta[..., None])
    taken = inverse @ (k_beta * from_start)

    # 3. Chunk by chunk S <- carry S + written, the one sequential part.
    k_to_end = (k * (faded[..., -1:] - faded).exp()[..., None]).mT
    written = k_to_end @ corrections
    identity = torch.eye(key_dim, dtype=k.dtype, device=k.device)
    carry = identity * from_start[..., -1:, :] - k_to_end @ taken
    if state is None:
        state = v.new_zeros(num_batch, num_heads, key_dim, v.shape[-1])
    before = []
    for carry_n, written_n in zip(carry.unbind(2), written.unbind(2), strict=True):
        before.append(state)
        state = written_n + carry_n @ state
    states = torch.stack(before, dim=2)

    # 4. Every token reads the state before its chunk and the corrections made since, its own
    # included.
    attention = q @ k.mT * left
    outputs = (q * from_start) @ states + attention @ (corrections - taken @ states)
    return outputs.flatten(2, 3)[:, :, :num_tokens], state


class _UnitLowerInverse(torch.autograd.Function):
    """The inverse of I + strict lower part; its gradient from the inverse alone."""

    @staticmethod
    def forward(ctx: Any, system: Tensor) -> Tensor:
        inverse = _invert_by_doubling(system)
        ctx.save_for_backward(inverse)
        return inverse

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        inverse: Tensor = ctx.saved_tensors[0]
        return -(inverse.mT @ grads[0] @ inverse.mT).tril(-1)


def unit_lower_inverse(system: Tensor) -> Tensor:
    """Invert I + (the strictly lower part of `system`), [..., C, C], C a power of two."""
    inverse: Tensor = _UnitLowerInverse.apply(system)  # type: ignore[no-untyped-call]
    return inverse


def _invert_by_doubling(system: Tensor) -> Tensor:
    """Invert blocks of 1, 2, 4 ... C on the diagonal, two of them making one of twice the size.

    [[A, 0], [L, B]]^-1 = [[A^-1, 0], [-B^-1 L A^-1, B^-1]]. This is as stable as substitution; the
    shorter product of I + N^(2^i) is not: equal keys make the powers of N grow like binomials.
    """
    size = system.shape[-1]
    inverse = torch.eye(size, dtype=system.dtype, device=system.device).expand_as(system).clone()
    half = 1
    while half < size:
        blocks = _diagonal_blocks(system, 2 * half)
        result = _diagonal_blocks(inverse, 2 * half)
        first, second = result[..., :half, :half], result[..., half:, half:]
        result[..., half:, :half] = -(second @ blocks[..., half:, :half] @ first)
        half *= 2
    return inverse


def _diagonal_blocks(square: Tensor, size: int) -> Tensor:
    """View [..., C, C] as its blocks on the diagonal, [..., C / size, size, size]."""
    num_blocks = square.shape[-1] // size
    blocks = square.view(*square.shape[:-2], num_blocks, size, num_blocks, size)
    return blocks.diagonal(dim1=-4, dim2=-2).movedim(-1, -3)


def _heads_first(x: Tensor) -> Tensor:
    """[B, T, H, ...] to contiguous float32 [B, H, T, ...]."""
    return x.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)


def _in_chunks(x: Tensor, size: int) -> Tensor:
    """[B, H, T, ...] to [B, H, N, size, ...], zeros after the end: they change no state."""
    missing = -x.shape[2] % size
    if missing:
        x = functional.pad(x, (0, 0) * (x.dim() - 3) + (0, missing))
    return x.reshape(*x.shape[:2], -1, size, *x.shape[3:])


def unit_length(x: Tensor) -> Tensor:
    """Scale the last dimension to length one, as flash-linear-attention does."""
    return x * torch.rsqrt(x.square().sum(dim=-1, keepdim=True) + NORM_EPS)
