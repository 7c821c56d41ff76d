"""Whether a checkpoint can be run at all: what loading refuses before it reads a number.

The family, its sizes, how its makers quantized it and what reads that, and that no weight file is
missing or cut off. No torch: who plans asks the same as who loads, and hears the same sentence.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inference.errors import ModelUnavailable
from inference.headers import read_header, weight_files

FAMILIES = {
    "qwen3_5": "Qwen3.5",
    "qwen3_5_text": "Qwen3.5",
    "qwen3_5_moe": "Qwen3.5 MoE",
    "qwen3_5_moe_text": "Qwen3.5 MoE",
    "qwen3": "Qwen3",
    "qwen3_moe": "Qwen3 MoE",
    "qwen2": "Qwen2.5",
}
"""`model_type` of config.json, and what people call it."""
PACKAGES = {
    "bitsandbytes": "bitsandbytes",
    "gptq": "gptqmodel",
    "awq": "gptqmodel",
    "auto-round": "auto_round",
    "compressed-tensors": "compressed_tensors",
    "gguf": "gguf",
    "fp8": "",
}
"""How weights may be quantized, and the package that reads it; "" where transformers does alone."""
GPU_ONLY = ("gptq", "awq", "fp8")
SIZES = (
    *("hidden_size", "num_hidden_layers", "vocab_size", "max_position_embeddings"),
    *("num_attention_heads", "num_key_value_heads", "head_dim"),
    *("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim"),
    *("linear_value_head_dim", "linear_conv_kernel_dim"),
)
"""Keys of config.json that are at least 1 where they are there; transformers takes 0 for some."""
ATTENTION_INTERVAL = 4
"""One layer in so many has full attention, where the config.json of a Qwen3.5 does not say it."""
CONFIG_ERRORS = (
    *(OSError, ValueError, TypeError, LookupError, AttributeError),
    *(ArithmeticError, RuntimeError),
)
"""What transformers and torch raise on a configuration that makes no sense."""


def check_config(config: Mapping[str, Any], file: Path) -> None:
    """See that a configuration is one of ours, and of sizes that can be.

    Raises:
        ModelUnavailable: it is not.
    """
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in FAMILIES:
        raise ModelUnavailable(
            f"{file} is of type {kind!r}, which is not supported; "
            f"use a model of {', '.join(dict.fromkeys(FAMILIES.values()))}."
        )
    if not isinstance(config.get("text_config", {}), dict):
        raise ModelUnavailable(f"{file} has a text_config that is no object; download it again.")
    wrong = _wrong_size(config.get("text_config") or config, str(kind))
    if wrong:
        raise ModelUnavailable(f"{file} says {wrong}; download it again or take another model.")


def _wrong_size(text: Mapping[str, Any], kind: str) -> str:
    """Return what no model that we run can have; "" where there is no such thing."""
    sizes = {key: value for key, value in text.items() if isinstance(value, int)}
    for key in SIZES:
        if sizes.get(key, 1) < 1:
            return f"{key} = {sizes[key]}, which must be 1 or more"
    active = sizes.get("num_experts_per_tok", 1)
    num = sizes.get("num_experts", active)
    if "moe" in kind and not 1 <= active <= num:
        return f"num_experts_per_tok = {active} of num_experts = {num}"
    return "" if _has_attention(text, kind) else "that no layer has full attention"


def _has_attention(text: Mapping[str, Any], kind: str) -> bool:
    """Whether any layer has full attention; what is no list or no number is for transformers."""
    kinds, num = text.get("layer_types"), text.get("num_hidden_layers")
    if isinstance(kinds, list):
        return "full_attention" in kinds
    interval = text.get("full_attention_interval", ATTENTION_INTERVAL)
    if not kind.startswith("qwen3_5") or not isinstance(interval, int):
        return True
    return not isinstance(num, int) or interval <= num


def method_of(config: Mapping[str, Any]) -> str:
    """Return how a checkpoint was quantized by its makers, "" where it was not.

    Raises:
        ModelUnavailable: in a way that is not known here.
    """
    described = config.get("quantization_config") or config.get("text_config", {}).get(
        "quantization_config"
    )
    if not described:
        return ""
    method = str(described.get("quant_method", "")) if isinstance(described, dict) else ""
    if method not in PACKAGES:
        raise ModelUnavailable(
            f"The weights are quantized with {method or 'an unnamed method'}, which is not "
            f"supported; take plain weights, or one of {', '.join(PACKAGES)}."
        )
    return method


def check_usable(method: str, has_gpu: bool) -> None:
    """See that what reads such weights is there.

    Raises:
        ModelUnavailable: it is not.
    """
    package = PACKAGES[method]
    if package and importlib.util.find_spec(package) is None:
        raise ModelUnavailable(
            f"{method} weights are read by the package {package}, which is not installed; "
            f"pip install {package.replace('_', '-')}, or take plain weights."
        )
    if method in GPU_ONLY and not has_gpu:
        raise ModelUnavailable(
            f"{method} weights run on a GPU only; take plain weights, which --weights nf4 makes "
            "small."
        )


def check_folder(folder: Path, config: Mapping[str, Any]) -> str:
    """See that a checkpoint is one of ours and whole; return how its makers quantized it.

    Raises:
        ModelUnavailable: the first thing that is wrong.
    """
    check_config(config, folder / "config.json")
    for file in weight_files(folder):
        read_header(file)
    return method_of(config)
