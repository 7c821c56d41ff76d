"""Which tensors of a module are kept in few bits, and the layers that then stand in their place.

Matrices of linear layers and experts in NF4 or int8; embeddings in int8, and an output matrix that
is the embedding's with it. Kept as they are: norms, convolutions, biases, the decay of the
recurrence, and the small projections that a whole layer hangs on (`SENSITIVE`): one bit lost there
is heard everywhere, and they weigh nothing. The numbers themselves are `stack.py`.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from inference import nf4
from inference.experts import EXPERTS
from inference.stack import Int8Stack, Stack, StackFormat, Workspace, new_stack

SENSITIVE = {"in_proj_a", "in_proj_b", "shared_expert_gate", "gate"}
"""Decay and step of the recurrence, the gate of the shared expert, the router."""
EXPERT_MATRICES = ("gate_up_proj", "down_proj")


class StackLinear(nn.Module):
    """A linear layer over the only matrix of a stack."""

    def __init__(self, weight: Stack, bias: nn.Parameter | None) -> None:
        super().__init__()
        self.weight = weight
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """Return [..., rows] of [..., columns]."""
        product = self.weight.linear(0, x)
        return product if self.bias is None else product + self.bias


class StackEmbedding(nn.Module):
    """An embedding over the rows of a stack, which may be on another device than the model."""

    def __init__(self, weight: Int8Stack, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = weight
        self.dtype = dtype

    def forward(self, ids: Tensor) -> Tensor:
        """Return [..., columns] on the device of `ids`."""
        rows = self.weight.row(ids.to(self.weight.values.device), self.dtype)
        return rows.to(ids.device)


def quantize(module: nn.Module, kind: StackFormat) -> None:
    """Put stacks without numbers in the place of what is quantized; the module is on meta.

    Everything is quantized that can be; what has a shape that NF4 cannot hold is not.
    """
    workspace = Workspace()
    with torch.device("meta"):
        _embeddings(module, workspace)
        quantize_layers(module, kind, workspace)


def quantize_layers(module: nn.Module, kind: StackFormat, workspace: Workspace) -> None:
    """Do so with all but the embeddings; what is made is on the device that is current."""
    for parent, name, layer in list(_children(module)):
        if isinstance(layer, nn.Linear) and name not in SENSITIVE and _fits(layer, kind):
            rows, columns = layer.weight.shape
            stack = new_stack(kind, 1, rows, columns, workspace)
            setattr(parent, name, StackLinear(stack, layer.bias))
        elif all(isinstance(getattr(layer, n, None), nn.Parameter) for n in EXPERT_MATRICES):
            _experts(layer, kind, workspace)


def stacks_of(module: nn.Module) -> dict[str, Stack]:
    """Return the stacks of a module by the name of the weight that each stands for."""
    return {name: part for name, part in module.named_modules() if isinstance(part, Stack)}


def _children(module: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    for parent in module.modules():
        for name, child in parent.named_children():
            yield parent, name, child


def _embeddings(module: Any, workspace: Workspace) -> None:
    """Replace the embedding, and the output matrix where it is the same."""
    embedding = module.get_input_embeddings()
    rows, columns = embedding.weight.shape
    stack = Int8Stack(1, rows, columns, workspace)
    module.set_input_embeddings(StackEmbedding(stack, embedding.weight.dtype))
    if module.config.tie_word_embeddings:
        module.lm_head = StackLinear(stack, None)


def _fits(layer: nn.Linear, kind: StackFormat) -> bool:
    return kind == "int8" or layer.weight.numel() % nf4.BLOCK == 0


def _experts(layer: Any, kind: StackFormat, workspace: Workspace) -> None:
    """Replace the matrices of all experts of a layer."""
    shapes = {name: tuple(getattr(layer, name).shape) for name in EXPERT_MATRICES}
    halves = [rows * columns // 2 for _, rows, columns in shapes.values()]  # gate above up
    if kind == "nf4" and any(half % nf4.BLOCK for half in halves):
        return
    for name, (count, rows, columns) in shapes.items():
        delattr(layer, name)
        setattr(layer, name, new_stack(kind, count, rows, columns, workspace))
    layer.config._experts_implementation = EXPERTS
