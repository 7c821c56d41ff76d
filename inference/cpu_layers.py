"""Forwards of transformers' small modules that pass over memory fewer times, for a CPU.

On a CPU each operation reads its whole input from memory and writes its whole output there, and a
norm of transformers is seven of them. Here a norm is four and what lies between the matrices of an
MLP is two, in float32 as there; rounded to the model's type once, at the end. Weights are not
copied.
"""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

NORMS = {"Qwen3_5RMSNorm", "Qwen3_5MoeRMSNorm"}
GATED_NORMS = {"Qwen3_5RMSNormGated", "Qwen3_5MoeRMSNormGated"}
MLPS = {"Qwen3_5MLP", "Qwen3_5MoeMLP"}
"""Class names of transformers' that are run here."""


def adopt_small(module: nn.Module) -> None:
    """Give norms and MLPs of a model our forwards."""
    layer: Any
    for layer in module.modules():
        name = type(layer).__name__
        if name in NORMS:
            layer.forward = partial(_norm, layer)
        elif name in GATED_NORMS:
            layer.forward = partial(_gated_norm, layer)
        elif name in MLPS and layer.config.hidden_act == "silu":
            layer.forward = partial(_mlp, layer)


def _norm(layer: Any, x: Tensor) -> Tensor:
    """Scale [..., D] to a root mean square of one, then by 1 + weight."""
    return _scaled(x, layer.eps).mul_(layer.weight.float() + 1.0).to(x.dtype)


def _gated_norm(layer: Any, x: Tensor, gate: Tensor) -> Tensor:
    """Scale [..., D] to a root mean square of one, then by the weight and by SiLU of the gate."""
    scaled = _scaled(x, layer.variance_epsilon).mul_(layer.weight.float())
    return scaled.mul_(functional.silu(gate.float())).to(x.dtype)


def _scaled(x: Tensor, eps: float) -> Tensor:
    wide = x.float()
    length: Tensor = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
    return wide * length.square_().div_(wide.shape[-1]).add_(eps).rsqrt_()


def _mlp(layer: Any, x: Tensor) -> Tensor:
    gate = functional.silu(layer.gate_proj(x), inplace=True)
    down: Tensor = layer.down_proj(gate.mul_(layer.up_proj(x)))
    return down
