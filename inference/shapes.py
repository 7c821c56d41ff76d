"""Which tensors a model has, and what it remembers of a token: read off its config.json.

transformers builds the module on the meta device, where a tensor has a shape and no memory, so that
the numbers are those of the model that will run. As that takes seconds (torch is imported, and only
then), what was found is kept: for the family in `family_shapes.json` beside this file, written by
`python -m inference.shapes`, for any other model in a folder that the caller names. What the
tensors weigh in one format or another is counted in `footprint.py`.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal

from inference.errors import ModelUnavailable
from inference.models import SHAPES
from inference.runnable import CONFIG_ERRORS

Group = Literal["delta", "attention", "mlp", "experts", "embedding", "head", "norms"]

KEPT = ("in_proj_a", "in_proj_b", "mlp.gate", "shared_expert_gate")
"""Matrices that stay as they are whatever the others become: small, and errors in them are not."""

DECIDING = (
    *("model_type", "hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size"),
    *("num_attention_heads", "num_key_value_heads", "head_dim", "attention_bias"),
    *("layer_types", "full_attention_interval", "max_position_embeddings", "tie_word_embeddings"),
    *("linear_num_key_heads", "linear_num_value_heads", "linear_key_head_dim"),
    *("linear_value_head_dim", "linear_conv_kernel_dim", "num_experts", "num_experts_per_tok"),
    *("moe_intermediate_size", "shared_expert_intermediate_size", "decoder_sparse_step"),
    *("mlp_only_layers", "sliding_window", "use_sliding_window", "max_window_layers"),
)
"""The keys of config.json on which shapes depend."""

MAX_REASON = 160
"""Characters of an error of transformers."""
BUNDLED = Path(__file__).with_name("family_shapes.json")


@dataclass(frozen=True)
class Part:
    """Tensors of one use and one shape."""

    group: Group
    shape: tuple[int, ...]
    num: int
    is_kept: bool
    """Whether they stay in 16 bits where others are quantized."""

    @property
    def num_values(self) -> int:
        """Numbers in all of them."""
        total = self.num
        for size in self.shape:
            total *= size
        return total


@dataclass(frozen=True)
class ModelShape:
    """What of a model decides how much memory it needs."""

    parts: tuple[Part, ...]
    hidden: int
    vocab: int
    context_tokens: int
    """The longest sequence that it was made for."""
    is_tied: bool
    """Whether one matrix turns tokens into vectors and vectors into logits."""
    num_attention_layers: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    num_linear_layers: int
    linear_key_heads: int
    linear_value_heads: int
    linear_key_dim: int
    linear_value_dim: int
    conv_width: int
    inner: int
    """The width inside of a dense MLP, or of the expert that all tokens share."""
    num_expert_layers: int
    expert_inner: int
    experts_per_token: int
    has_draft: bool = False
    """Whether a layer that guesses tokens is loaded beside it (`mtp.py`); no part counts it."""
    vision_params: int = 0
    """Parameters of the tower that is loaded when a picture is sent; no part counts it."""

    @property
    def num_params(self) -> int:
        """Parameters; a shared matrix counts once."""
        return sum(part.num_values for part in self.parts)

    @property
    def num_layers(self) -> int:
        """Layers of both kinds."""
        return self.num_attention_layers + self.num_linear_layers

    @property
    def draft_parts(self) -> tuple[Part, ...]:
        """The tensors of a draft layer: one layer with attention like the others, and its own."""
        layers = {
            "attention": self.num_attention_layers,
            "mlp": self.num_layers,
            "experts": self.num_expert_layers,
        }
        shared = (part for part in self.parts if part.group in layers)
        return (
            Part("mlp", (self.hidden, 2 * self.hidden), 1, is_kept=False),
            Part("norms", (self.hidden,), 5, is_kept=True),
            *(replace(part, num=part.num // layers[part.group]) for part in shared),
        )

    @property
    def conv_channels(self) -> int:
        """Channels of a linear layer's convolution: queries, keys and values."""
        keys = self.linear_key_heads * self.linear_key_dim
        return 2 * keys + self.linear_value_heads * self.linear_value_dim


def shape_of(config: Mapping[str, Any], kept_in: Path | None = None) -> ModelShape:
    """Return the shape of a model.

    Args:
        config: its config.json, whole or the text part of it.
        kept_in: a folder where shapes are kept, so that torch is needed once for a model.

    Raises:
        ModelUnavailable: transformers cannot build such a model.
    """
    key = _key(config)
    if key in _bundled():
        return _bundled()[key]
    file = kept_in / f"{key}.json" if kept_in else None
    if file is not None and (found := _kept(file)) is not None:
        return found
    shape = built(config)
    if file is not None:
        with suppress(OSError):  # it is found anew next time
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            file.write_text(json.dumps({"transformers": _version(), **asdict(shape)}))
    return shape


def built(config: Mapping[str, Any]) -> ModelShape:
    """Build the model on the meta device and count; takes seconds the first time.

    Raises:
        ModelUnavailable: transformers cannot build such a model.
    """
    import torch
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM

    values = {key: value for key, value in config.items() if key != "model_type"}
    try:
        whole = AutoConfig.for_model(str(config.get("model_type")), **values)
        text = whole.get_text_config(decoder=True)
        text.tie_word_embeddings = bool(_deciding(config)["tie_word_embeddings"])
        make: Any = AutoModelForCausalLM.from_config
        with torch.device("meta"):
            module = make(text, dtype=torch.bfloat16)
    except (*CONFIG_ERRORS, StrictDataclassError) as error:
        raise ModelUnavailable(
            f"config.json describes no model that can be run: {_reason(error)}."
        ) from error
    return _shape(text, tuple(_parts(module)))


def _reason(error: Exception) -> str:
    """Return the beginning of what an error says, in one line: some list all models there are."""
    words = " ".join(str(error).split()) or type(error).__name__
    short = shorten(words, MAX_REASON, placeholder=" ...")
    return short.rstrip(".")


def _parts(module: Any) -> Iterator[Part]:
    """Yield the parameters of a module, equal ones together."""
    found = Counter[tuple[Group, tuple[int, ...], bool]]()
    for name, tensor in module.named_parameters():
        shape = tuple(tensor.shape)
        owner = name.removesuffix(".weight")
        is_kept = len(shape) < 2 or "conv1d" in owner or owner.endswith(KEPT)
        found[_group(name), shape, is_kept] += 1
    for (group, shape, is_kept), num in found.items():
        yield Part(group, shape, num, is_kept)


def _group(name: str) -> Group:
    """Say what a parameter is used for, from its name."""
    words: tuple[tuple[str, Group], ...] = (
        ("embed_tokens", "embedding"),
        ("lm_head", "head"),
        (".linear_attn.", "delta"),
        (".self_attn.", "attention"),
        (".experts.", "experts"),
        (".mlp.", "mlp"),
    )
    return next((group for word, group in words if word in name), "norms")


def _shape(text: Any, parts: tuple[Part, ...]) -> ModelShape:
    """Read what else is needed off a text configuration of transformers."""
    values: Mapping[str, Any] = text.to_dict()
    kinds = Counter(values.get("layer_types") or ["full_attention"] * text.num_hidden_layers)
    num_linear = kinds["linear_attention"]
    experts = [part for part in parts if part.group == "experts"]
    mlp = [part.shape for part in parts if part.group == "mlp" and not part.is_kept]

    def linear(key: str) -> int:
        return int(values[key]) if num_linear else 0

    return ModelShape(
        parts=parts,
        hidden=text.hidden_size,
        vocab=text.vocab_size,
        context_tokens=text.max_position_embeddings,
        is_tied=bool(text.tie_word_embeddings),
        num_attention_layers=text.num_hidden_layers - num_linear,
        num_heads=text.num_attention_heads,
        num_kv_heads=text.num_key_value_heads,
        head_dim=values.get("head_dim") or text.hidden_size // text.num_attention_heads,
        num_linear_layers=num_linear,
        linear_key_heads=linear("linear_num_key_heads"),
        linear_value_heads=linear("linear_num_value_heads"),
        linear_key_dim=linear("linear_key_head_dim"),
        linear_value_dim=linear("linear_value_head_dim"),
        conv_width=linear("linear_conv_kernel_dim"),
        inner=max((rows for rows, columns in mlp if columns == text.hidden_size), default=0),
        num_expert_layers=max((part.num for part in experts), default=0),
        expert_inner=int(values["moe_intermediate_size"]) if experts else 0,
        experts_per_token=int(values["num_experts_per_tok"]) if experts else 0,
    )


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a configuration on which shapes depend."""
    text = config.get("text_config") or config
    values = {key: text.get(key) for key in DECIDING}
    values["model_type"] = str(values["model_type"] or config.get("model_type"))
    if values["tie_word_embeddings"] is None:
        values["tie_word_embeddings"] = bool(config.get("tie_word_embeddings"))
    if values["layer_types"]:
        values["full_attention_interval"] = None  # the list says it already
    if str(values["model_type"]).startswith("qwen3_5_moe"):
        values["intermediate_size"] = None  # no layer of it is dense
    return {key: value or None for key, value in values.items()}


def _key(config: Mapping[str, Any]) -> str:
    text = json.dumps(_deciding(config), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


@cache
def _bundled() -> Mapping[str, ModelShape]:
    """Read the shapes of the family; none where the file was not installed."""
    with suppress(OSError):
        shapes = json.loads(BUNDLED.read_text(encoding="utf-8"))
        return {key: _read(values) for key, values in shapes.items()}
    return {}


def _kept(file: Path) -> ModelShape | None:
    """Read a shape that was kept by the transformers that is installed now."""
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
        return _read(values) if values.pop("transformers") == _version() else None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _read(values: Mapping[str, Any]) -> ModelShape:
    parts = tuple(Part(**{**part, "shape": tuple(part["shape"])}) for part in values["parts"])
    return ModelShape(**{**values, "parts": parts})


def _version() -> str:
    from importlib.metadata import version

    return version("transformers")


def main() -> None:
    """Write the shapes of the family anew."""
    shapes = {_key(config): asdict(built(config)) for config in SHAPES.values()}
    BUNDLED.write_text(json.dumps(shapes, indent=None, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
