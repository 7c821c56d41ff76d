"""The forward of a Gated DeltaNet layer on our own state, in place of transformers' own.

The weights, norms and projections are those of transformers' module (`Qwen3_5GatedDeltaNet` and
its MoE twin); only the middle, from the convolution to the recurrence, is run here, because that is
where the state is and where tokens can be taken back (`linear_state.py`). The mathematics of the
recurrence are in `gated_delta.py`; for many tokens on a CPU there is `delta_scan.py`, for CUDA what
`delta_kernels.py` finds.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.delta_kernels import DeltaKernels, kernels_for
from inference.delta_scan import scan
from inference.gated_delta import chunk_gated_delta_rule, gated_delta_step, unit_length
from inference.linear_state import Inputs, LinearSlot, Ran
from inference.packed import LinearStates

DELTA_LAYERS = {"Qwen3_5GatedDeltaNet", "Qwen3_5MoeGatedDeltaNet"}
"""Class names of transformers' that are run here."""


def adopt(module: nn.Module, fast_kernels: bool = True) -> None:
    """Give every Gated DeltaNet layer of a model our forward."""
    for layer in module.modules():
        if type(layer).__name__ in DELTA_LAYERS:
            layer.forward = partial(_forward, layer, fast_kernels)


def _forward(
    layer: Any, fast_kernels: bool, hidden_states: Tensor, cache_params: Any, **_options: Any
) -> Tensor:
    """Read [1, T, hidden] after what the slot has read; return [1, T, hidden]."""
    slot: LinearSlot = cache_params.slot(layer.layer_idx)
    batch, num_tokens, _ = hidden_states.shape
    gate = layer.in_proj_z(hidden_states)
    log_decay = -layer.A_log.float().exp() * functional.softplus(
        layer.in_proj_a(hidden_states).float() + layer.dt_bias
    )
    inputs = Inputs(
        layer.in_proj_qkv(hidden_states), log_decay, layer.in_proj_b(hidden_states).sigmoid()
    )
    run: Callable[[Any, Inputs, LinearStates], Ran] = _run
    replay = partial(_replay, layer, None)
    if fast_kernels and not torch.is_grad_enabled():
        kernels = kernels_for(hidden_states.device)
        run = _scan if _can_scan(layer, hidden_states) else partial(_run, kernels=kernels)
        replay = partial(_replay, layer, kernels)
    outputs = slot.run(inputs, partial(run, layer), replay)
    normed = layer.norm(outputs.reshape(-1, layer.head_v_dim), gate.reshape(-1, layer.head_v_dim))
    projected: Tensor = layer.out_proj(normed.reshape(batch, num_tokens, -1))
    return projected


def _replay(
    layer: Any, kernels: DeltaKernels | None, inputs: Inputs, states: LinearStates
) -> LinearStates:
    with torch.inference_mode():
        return _run(layer, inputs, states, kernels)[1]


def _can_scan(layer: Any, hidden_states: Tensor) -> bool:
    """Whether these tokens, [B, T, hidden], are many of one line on a CPU."""
    batch, num_tokens, _ = hidden_states.shape
    is_here = hidden_states.device.type == "cpu"
    return is_here and batch == 1 and num_tokens > 1 and layer.conv1d.bias is None


def _scan(layer: Any, inputs: Inputs, states: LinearStates) -> Ran:
    """Do what `_run` does."""
    (mixed,), (conv,), (recurrent,) = inputs.mixed, states.conv, states.recurrent
    outputs, after = scan(
        mixed,
        None if conv is None else conv[0],
        layer.conv1d.weight[:, 0],
        inputs.log_decay[0],
        inputs.beta[0],
        None if recurrent is None else recurrent[0],
        num_key_heads=layer.num_k_heads,
        key_dim=layer.head_k_dim,
    )
    return outputs[None], LinearStates((_last(layer, inputs.mixed, conv),), (after[None],))


def _last(layer: Any, mixed: Tensor, before: Tensor | None) -> Tensor:
    """Return the last K - 1 inputs of the convolution, [1, C, K - 1]."""
    width = layer.conv1d.weight.shape[-1] - 1
    if mixed.shape[1] < width:
        before = mixed.new_zeros(1, mixed.shape[2], width) if before is None else before
        mixed = torch.cat((before.mT, mixed), dim=1)
    return mixed[:, mixed.shape[1] - width :].mT.clone(memory_format=torch.contiguous_format)


def _run(
    layer: Any, inputs: Inputs, states: LinearStates, kernels: DeltaKernels | None = None
) -> Ran:
    """Convolve, then run the recurrence: outputs [1, T, H, Dv] and the states after T tokens."""
    mixed, conv = _convolve(layer, inputs.mixed, states.conv[0])
    query, key, value = torch.split(mixed, [layer.key_dim, layer.key_dim, layer.value_dim], dim=-1)
    heads = (
        query.reshape(*query.shape[:2], -1, layer.head_k_dim),
        key.reshape(*key.shape[:2], -1, layer.head_k_dim),
        value.reshape(*value.shape[:2], -1, layer.head_v_dim),
    )
    recurrent = states.recurrent[0]
    if kernels is None:
        outputs, recurrent = _recur(*heads, inputs, recurrent)
    else:
        outputs, recurrent = kernels.run(*heads, inputs.log_decay, inputs.beta, recurrent)
    return outputs, LinearStates((conv,), (recurrent,))


def _convolve(layer: Any, mixed: Tensor, before: Tensor | None) -> tuple[Tensor, Tensor]:
    """Convolve [1, T, C] causally with the last K - 1 inputs before it; return those of after."""
    weight = layer.conv1d.weight  # [C, 1, K]
    width = weight.shape[-1] - 1
    channels_first = mixed.mT
    if before is None:
        before = channels_first.new_zeros(*channels_first.shape[:2], width)
    window = torch.cat([before, channels_first], dim=-1)  # [1, C, K - 1 + T]
    convolved = functional.conv1d(
        window.to(weight.dtype), weight, layer.conv1d.bias, groups=weight.shape[0]
    )
    assert layer.activation == "silu", "the family's only activation here"
    after = window[..., window.shape[-1] - width :].clone()
    return functional.silu(convolved).to(mixed.dtype).mT, after


def _recur(
    query: Tensor, key: Tensor, value: Tensor, inputs: Inputs, state: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Run the gated delta rule on [1, T, heads, D] inputs."""
    if state is None or query.shape[1] > 1:
        outputs, after = chunk_gated_delta_rule(
            query,
            key,
            value,
            g=inputs.log_decay,
            beta=inputs.beta,
            initial_state=state,
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        assert after is not None
    else:
        num_groups = value.shape[2] // key.shape[2]
        q, k = (
            unit_length(x[:, 0].float()).repeat_interleave(num_groups, dim=1) for x in (query, key)
        )
        step, after = gated_delta_step(
            q,
            k,
            value[:, 0].float(),
            inputs.log_decay[:, 0].exp(),
            inputs.beta[:, 0].float(),
            state.float(),
        )
        outputs = step[:, None].to(query.dtype)
    return outputs, after
