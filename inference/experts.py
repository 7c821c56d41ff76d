"""The experts of a layer over stacks, as transformers calls them.

Few rows, as in decoding: by the matrices of all their experts in one go, without asking the device
which they are. Many rows, as in prefill, and on a CPU always: expert after expert, each made dense
in memory that the next one uses again. Where a layer's stacks are on another device than its input,
the input goes there and the output comes back; no weight moves.
"""

from typing import Any

import torch
from torch import Tensor
from transformers.integrations.moe import ALL_EXPERTS_FUNCTIONS

from inference.stack import FEW_GPU_ROWS

EXPERTS = "qwen_agent_stacks"
"""The name under which these are known to transformers."""
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
    home = next(layer.gate_up_proj.buffers()).device
    x, index, weights = hidden.to(home), index.to(home), weights.to(home)
    run = _gathered if home.type != "cpu" and is_few(layer, *index.shape) else _one_by_one
    return run(layer, x, index, weights).to(hidden.device)


def is_few(layer: Any, num_rows: int, num_experts: int) -> bool:
    """Say whether so many rows are multiplied in one go by so many experts each."""
    has_kernel = layer.gate_up_proj.few_rows is not None and layer.down_proj.few_rows is not None
    return num_rows * num_experts <= GATHERED or (has_kernel and num_rows <= FEW_GPU_ROWS)


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
