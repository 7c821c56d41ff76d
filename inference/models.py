"""The Qwen3.5 family as data: its releases, where they are kept, their shapes and presets.

Shapes are the text part of each config.json, in its own words (the model cards and configurations
of the Qwen team say them); what a shape weighs is counted from a module that transformers builds
of it (`shapes.py`), never from here. How a release writes a conversation is its profile. Which
model a name typed by a person means is decided in `agent/models.py`. No torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from inference.profiles import QWEN3_5, QWEN3_6, QWEN3_8, Profile

APACHE = "Apache-2.0"
SEVERAL_GPUS = ("122B-A10B", "397B-A17B")
"""Sizes for several GPUs, or for a server that the agent talks to."""


@dataclass(frozen=True)
class FamilyModel:
    """One release of one size."""

    hub_id: str
    size: str
    """As the name says it: `27B`, or `35B-A3B` of which 3B are active for a token."""
    config: Mapping[str, Any]
    """The text part of its config.json."""
    profile: Profile
    """Its template, its thinking and its sampling presets."""
    license: str = APACHE

    @property
    def needs_several_gpus(self) -> bool:
        """Whether no single GPU of a person's own machine holds it."""
        return self.size in SEVERAL_GPUS


def _dense(
    hidden: int, inner: int, layers: int, heads: int, kv_heads: int, value_heads: int, tied: bool
) -> Mapping[str, Any]:
    own = {"model_type": "qwen3_5_text", "intermediate_size": inner, "tie_word_embeddings": tied}
    return MappingProxyType({**_common(hidden, layers, heads, kv_heads, value_heads), **own})


def _experts(
    hidden: int, inner: int, layers: int, heads: int, value_heads: int, num: int, active: int
) -> Mapping[str, Any]:
    own = {
        "model_type": "qwen3_5_moe_text",
        "num_experts": num,
        "num_experts_per_tok": active,
        "moe_intermediate_size": inner,
        "shared_expert_intermediate_size": inner,
        "tie_word_embeddings": False,
    }
    return MappingProxyType({**_common(hidden, layers, heads, 2, value_heads), **own})


def _common(
    hidden: int, layers: int, heads: int, kv_heads: int, value_heads: int
) -> dict[str, Any]:
    """Return what all sizes share: three linear layers, then one of full attention."""
    return {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "layer_types": (["linear_attention"] * 3 + ["full_attention"]) * (layers // 4),
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": 256,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": value_heads,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_conv_kernel_dim": 4,
        "vocab_size": 248_320,
        "max_position_embeddings": 262_144,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10_000_000.0,
            "partial_rotary_factor": 0.25,
            "mrope_section": [11, 11, 10],
            "mrope_interleaved": True,
        },
    }


SHAPES: Mapping[str, Mapping[str, Any]] = {
    "0.8B": _dense(1024, 3584, 24, 8, 2, 16, tied=True),
    "2B": _dense(2048, 6144, 24, 8, 2, 16, tied=True),
    "4B": _dense(2560, 9216, 32, 16, 4, 32, tied=True),
    "9B": _dense(4096, 12288, 32, 16, 4, 32, tied=False),
    "27B": _dense(5120, 17408, 64, 24, 4, 48, tied=False),
    "35B-A3B": _experts(2048, 512, 40, 16, 32, num=256, active=8),
    "122B-A10B": _experts(3072, 1024, 48, 32, 64, num=256, active=8),
    "397B-A17B": _experts(4096, 1024, 60, 32, 64, num=512, active=10),
}
"""The text part of config.json by size, the smallest first."""


def _released(version: str, profile: Profile, *sizes: str) -> tuple[FamilyModel, ...]:
    return tuple(
        FamilyModel(f"Qwen/Qwen{version}-{size}", size, SHAPES[size], profile) for size in sizes
    )


FAMILY: tuple[FamilyModel, ...] = (
    *_released("3.5", QWEN3_5, *SHAPES),
    *_released("3.6", QWEN3_6, "27B", "35B-A3B"),
    *_released("3.8", QWEN3_8, "27B"),
)
"""All releases with open weights of these shapes, the newest last."""


def newest() -> tuple[FamilyModel, ...]:
    """Return the newest release of every size, the smallest size first."""
    latest = {model.size: model for model in FAMILY}
    return tuple(latest[size] for size in SHAPES)


def find(name: str) -> FamilyModel | None:
    """Return the release that is called so: a hub id, its last part, or a size for its newest.

    A size may be called by its first part, as `122B`: no two sizes share one.
    """
    wanted = name.lower().removeprefix("qwen/")
    for model in (*newest(), *FAMILY):
        size, hub_id = model.size.lower(), model.hub_id.lower()
        if wanted in (size, size.partition("-")[0], hub_id.removeprefix("qwen/")):
            return model
    return None
