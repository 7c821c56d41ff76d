"""Models of random weights, made where they will run: no checkpoint, no file, no copy.

Quantized matrices are not quantized from anything: their codes and scales are drawn, so that a
model of 27 billion parameters is there as fast as a device draws bytes. Numbers come out about as
large as those of a fresh model, which is all that speed and memory depend on.
"""

import math
from collections.abc import Iterator
from typing import get_args

import torch
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel

from evals.bench.shapes import INITIAL_STD, fresh_module
from inference.kv_codec import KvKind
from inference.loader import cpu_dtype
from inference.model import Model
from inference.module import Placement, empty_module, fill, stored_tensors
from inference.quantize import quantize
from inference.shapes import shape_of
from inference.stack import StackFormat

PLAIN = ("float32", "bfloat16")
KINDS = (*PLAIN, *get_args(StackFormat))
"""What weights may be kept in."""
MEAN_SCALE, SCALE_STEP = 2.5 * INITIAL_STD, 0.5 * INITIAL_STD
"""Of a block of NF4: scales lie this far around their mean; a code is 0.5 on the average."""


def random_model(
    config: PreTrainedConfig,
    device: torch.device,
    dtype: torch.dtype,
    weights: StackFormat,
    kv: KvKind,
    placement: Placement = Placement(),  # noqa: B008  # frozen
) -> Model:
    """Make a quantized model of this configuration; the same one every time on one device."""
    module = empty_module(config, dtype)
    quantize(module, weights)
    torch.manual_seed(0)
    fill(module, dict(_drawn(module, placement, device)), device)
    return Model(module, kv=kv, quantization=weights)


def plain_model(config: PreTrainedConfig, dtype: torch.dtype | None = None) -> Model:
    """Make a model on this processor that is not quantized, in the type that is fast there."""
    num_params = shape_of(config.to_dict()).num_params
    return Model(fresh_module(config, dtype or cpu_dtype(num_params)))


def model_of_kind(config: PreTrainedConfig, weights: str, dtype: torch.dtype) -> Model:
    """Make a model on this processor, its weights of one of `KINDS`; quantized ones use `dtype`."""
    if weights in PLAIN:
        return plain_model(config, getattr(torch, weights))
    kind: StackFormat = next(kind for kind in get_args(StackFormat) if kind == weights)
    return random_model(config, torch.device("cpu"), dtype, kind, "16bit")


def _drawn(
    module: PreTrainedModel, placement: Placement, device: torch.device
) -> Iterator[tuple[str, Tensor]]:
    for name, empty in stored_tensors(module):
        yield name, _draw(name, empty, placement.device_of(name, device))


def _draw(name: str, empty: Tensor, device: torch.device) -> Tensor:
    """Draw the numbers of one tensor, by what its name says that they are."""
    shape, dtype = empty.shape, empty.dtype
    if dtype in (torch.uint8, torch.int8):
        limits = torch.iinfo(dtype)
        low = max(limits.min, -limits.max)
        return torch.randint(low, limits.max + 1, shape, dtype=dtype, device=device)
    leaf = name.rpartition(".")[2]
    constants = {"nested": SCALE_STEP, "offset": MEAN_SCALE, "scale": INITIAL_STD / 73}
    if leaf in constants:  # 73: how large one of the numbers from -127 to 127 is, in the square
        return torch.full(shape, constants[leaf], dtype=dtype, device=device)
    if leaf == "dt_bias" or name.endswith(".linear_attn.norm.weight"):
        return torch.ones(shape, dtype=dtype, device=device)
    if leaf == "A_log":
        return torch.rand(shape, device=device).mul_(math.log(16)).to(dtype)
    return torch.empty(shape, dtype=dtype, device=device).normal_(std=INITIAL_STD)
