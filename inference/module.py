"""transformers' module of a checkpoint, without weights, and weights put into it one by one.

Where each weight lives is a `Placement`. What the numbers are, and where they come from, is not
known here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from inference.quantize import EXPERT_MATRICES, StackEmbedding, stacks_of

EXPERTS_OF = re.compile(r"\.layers\.(\d+)\.mlp\.experts\.")


@dataclass(frozen=True)
class Placement:
    """What does not live on the model's own device, but in the machine's memory."""

    embedding_on_cpu: bool = False
    num_cpu_expert_layers: int = 0
    """The experts of the first layers, which are run where they live."""

    def device_of(self, name: str, device: torch.device) -> torch.device:
        """Return where the weight `name` of a quantized module on `device` lives."""
        experts = EXPERTS_OF.search(name)
        is_early = experts is not None and int(experts[1]) < self.num_cpu_expert_layers
        is_embedding = self.embedding_on_cpu and ".embed_tokens." in name
        return torch.device("cpu") if is_early or is_embedding else device


def empty_module(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """Build a causal model whose weights are on meta: they have shapes and take no memory."""
    # It would warn of slow kernels at the first forward: not its screen.
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    build: Any = AutoModelForCausalLM.from_config
    with torch.device("meta"):
        module: PreTrainedModel = build(config, dtype=dtype)
    return module


def weight_shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all weights as a checkpoint has them, stacks included."""
    shapes = {name: tuple(weight.shape) for name, weight in module.named_parameters()}
    for name, stack in stacks_of(module).items():
        matrix = (stack.rows, stack.columns)
        is_experts = name.endswith(EXPERT_MATRICES)
        shapes[name] = (stack.count, *matrix) if is_experts else matrix
    return shapes


def stored_tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield what a module is made of, a tensor that two parts share once."""
    yield from module.named_parameters()
    for name, stack in stacks_of(module).items():
        yield from ((f"{name}.{part}", buffer) for part, buffer in stack.named_buffers())


def fill(module: PreTrainedModel, tensors: Mapping[str, Tensor], device: torch.device) -> None:
    """Put tensors in the place of those on meta; what no file holds is computed again."""
    for name, tensor in tensors.items():
        parent, _, leaf = name.rpartition(".")
        part = module.get_submodule(parent)
        if leaf in part._parameters:
            part._parameters[leaf] = nn.Parameter(tensor, requires_grad=False)
        else:
            part._buffers[leaf] = tensor
    if module.config.tie_word_embeddings and not isinstance(
        module.get_input_embeddings(), StackEmbedding
    ):
        module.lm_head.weight = module.get_input_embeddings().weight
    _compute_buffers(module, device)
    left = [name for name, tensor in stored_tensors(module) if tensor.is_meta]
    assert not left, f"no weight for {left[0]}"


def _compute_buffers(module: Any, device: torch.device) -> None:
    """Build the parts with buffers of their own anew: rotary embeddings, made of the config."""
    for name, part in list(module.named_modules()):
        if part._buffers and any(buffer.is_meta for buffer in part._buffers.values()):
            parent, _, leaf = name.rpartition(".")
            setattr(module.get_submodule(parent), leaf, type(part)(config=part.config).to(device))
