"""The experts of a layer over stacks, as transformers calls them.

Few rows, as in decoding: by the matrices of all their experts in one go, without asking the device
which they are. Many rows, as in prefill, and on a CPU always: expert after expert, each made dense
in memory that the next one uses again. Where a layer's stacks are on another device than its input,
the input goes there and the output comes back; no weight moves.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from inference.stack import FEW_GPU_ROWS

EXPERTS, PLAIN_EXPERTS = "qwen_agent_stacks", "qwen_agent_stacks_one_by_one"
"""The names under which these are known to transformers: as above, or always one by one."""
GATHERED = 64
"""Pairs of a row and an expert up to which matrices are gathered for them."""


def run_experts(layer: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Return the weighed sum of what the chosen experts say.

    Args:
        layer: transformers' module, with stacks `gate_up_proj` and `down_proj`.
        hidden: [T, hidden]; like the output.
        index: [T, k], the experts of each row.
        weights: [T, k], how much each counts.
    """
    is_cpu = _home(layer).type == "cpu"
    run = _one_by_one if is_cpu or not is_few(layer, *index.shape) else _gathered
    return _run_at_home(run, layer, hidden, index, weights)


def run_plainly(layer: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    """Do the same in the plainest way."""
    return _run_at_home(_one_by_one, layer, hidden, index, weights)


def make_plain(module: nn.Module) -> None:
    """Have the experts of a module with stacks run in the plainest way."""
    for layer in module.modules():
        config: Any = getattr(layer, "config", None)
        if getattr(config, "_experts_implementation", None) == EXPERTS:
            config._experts_implementation = PLAIN_EXPERTS


def is_few(layer: Any, num_rows: int, num_experts: int) -> bool:
    """Say whether so many rows are multiplied in one go by so many experts each."""
    has_kernel = layer.gate_up_proj.few_rows is not None and layer.down_proj.few_rows is not None
    return num_rows * num_experts <= GATHERED or (has_kernel and num_rows <= FEW_GPU_ROWS)


def _home(layer: Any) -> torch.device:
    """Return where a layer's stacks are."""
    home: torch.device = next(layer.gate_up_proj.buffers()).device
    return home


def _run_at_home(
    run: Callable[[Any, Tensor, Tensor, Tensor], Tensor],
    layer: Any,
    hidden: Tensor,
    index: Tensor,
    weights: Tensor,
) -> Tensor:
    home = _home(layer)
    return run(layer, hidden.to(home), index.to(home), weights.to(home)).to(hidden.device)


def _gathered(layer: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    inner = layer._apply_gate(layer.gate_up_proj.linear_each(index, hidden).flatten(0, 1))
    outer = layer.down_proj.linear_each(index.reshape(-1, 1), inner).view(*index.shape, -1)
    weighed: Tensor = outer * weights[..., None]
    return weighed.sum(dim=1).to(hidden.dtype)


def _one_by_one(layer: Any, hidden: Tensor, index: Tensor, weights: Tensor) -> Tensor:
    result = torch.zeros_like(hidden)
    for expert in sorted(set(index.flatten().tolist())):
        rows, places = torch.where(index == expert)
        inner = layer._apply_gate(layer.gate_up_proj.linear(expert, hidden[rows]))
        outer = layer.down_proj.linear(expert, inner)
        weighed = outer * weights[rows, places, None]
        result.index_add_(0, rows, weighed.to(result.dtype))
    return result


ALL_EXPERTS_FUNCTIONS.register(EXPERTS, run_experts)
ALL_EXPERTS_FUNCTIONS.register(PLAIN_EXPERTS, run_plainly)
