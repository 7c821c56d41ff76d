"""Checkpoints with the true shapes of the family and random weights: made here, not downloaded.

    python -m evals.bench.shapes 0.8b FOLDER

Speed, memory and what the caches do are those of the real model; the text means nothing. There is
no tokenizer: benchmarks speak in token ids.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import (
    AutoModelForCausalLM,
    PreTrainedConfig,
    PreTrainedModel,
    Qwen3_5MoeTextConfig,
    Qwen3_5TextConfig,
)

INITIAL_STD = 0.02


@dataclass(frozen=True)
class Shape:
    """What differs between the sizes; the fields are named as in config.json."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    linear_num_key_heads: int
    linear_num_value_heads: int
    head_dim: int = 256
    linear_head_dim: int = 128
    vocab_size: int = 248_320
    max_position_embeddings: int = 262_144
    tied: bool = True
    num_experts: int = 0
    """Each as wide inside as `intermediate_size`, like the one that is always active; 0: none."""
    num_experts_per_tok: int = 0

    def config(self) -> PreTrainedConfig:
        """Return the whole config.json: three linear layers, then one of full attention."""
        pairs = self.head_dim // 8  # a quarter of a head turns, in pairs, split three ways
        third = pairs // 3
        make: Any = Qwen3_5MoeTextConfig if self.num_experts else Qwen3_5TextConfig
        config: PreTrainedConfig = make(
            **self._inner(),
            vocab_size=self.vocab_size,
            hidden_size=self.hidden_size,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            num_key_value_heads=self.num_key_value_heads,
            head_dim=self.head_dim,
            linear_num_key_heads=self.linear_num_key_heads,
            linear_num_value_heads=self.linear_num_value_heads,
            linear_key_head_dim=self.linear_head_dim,
            linear_value_head_dim=self.linear_head_dim,
            linear_conv_kernel_dim=4,
            max_position_embeddings=self.max_position_embeddings,
            rms_norm_eps=1e-6,
            tie_word_embeddings=self.tied,
            rope_parameters={
                "rope_type": "default",
                "rope_theta": 10_000_000.0,
                "partial_rotary_factor": 0.25,
                "mrope_section": [pairs - 2 * third, *(third, third)],
                "mrope_interleaved": True,
            },
        )
        return config

    def _inner(self) -> dict[str, int]:
        """Return what one layer is made of between its two ends."""
        if not self.num_experts:
            return {"intermediate_size": self.intermediate_size}
        return {
            "moe_intermediate_size": self.intermediate_size,
            "shared_expert_intermediate_size": self.intermediate_size,
            "num_experts": self.num_experts,
            "num_experts_per_tok": self.num_experts_per_tok,
        }


_TINY = Shape(64, 96, 4, 4, 2, 2, 4, 32, 16, 512, 32_768)
SHAPES = {
    "0.8b": Shape(1024, 3584, 24, 8, 2, 16, 16),
    "2b": Shape(2048, 6144, 24, 8, 2, 16, 16),
    "4b": Shape(2560, 9216, 32, 16, 4, 16, 32),
    "9b": Shape(4096, 12288, 32, 16, 4, 16, 32, tied=False),
    "27b": Shape(5120, 17408, 64, 24, 4, 16, 48, tied=False),
    "35b-a3b": Shape(
        2048, 512, 40, 16, 2, 16, 32, tied=False, num_experts=256, num_experts_per_tok=8
    ),
    "tiny": _TINY,
    "tiny-moe": replace(
        _TINY, intermediate_size=32, tied=False, num_experts=8, num_experts_per_tok=2
    ),
}
"""Sizes by name; the tiny ones are for tests."""


def make_checkpoint(shape: Shape, folder: Path, dtype: torch.dtype = torch.bfloat16) -> Path:
    """Write config.json and random weights, the same ones every time; return the folder."""
    _quietly(lambda: fresh_module(shape.config(), dtype).save_pretrained(folder))
    return folder


def fresh_module(config: PreTrainedConfig, dtype: torch.dtype) -> PreTrainedModel:
    """Make a module with the weights that a training would begin with, the same ones every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        make: Any = AutoModelForCausalLM.from_config
        module: PreTrainedModel = make(config, dtype=dtype)
        return module


def _quietly(run: Callable[[], None]) -> None:
    """Run without the bars of transformers."""
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        run()
    finally:
        transformers.logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def main() -> int:
    """Make the checkpoint that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("shape", choices=SHAPES)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    arguments = parser.parse_args()
    if arguments.folder.exists():
        print(f"{arguments.folder} exists; name a new folder.", file=sys.stderr)
        return 2
    make_checkpoint(SHAPES[arguments.shape], arguments.folder, getattr(torch, arguments.dtype))
    return 0


if __name__ == "__main__":
    sys.exit(main())
