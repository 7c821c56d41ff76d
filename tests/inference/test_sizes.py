"""What states, pages and journals weigh in the true shapes is what docs/state.md says."""

from pathlib import Path

import pytest
import torch
from transformers import PreTrainedConfig, Qwen3_5MoeTextConfig, Qwen3_5TextConfig

from inference.sizes import PAGE_TOKENS
from inference.state import Layout

MIB, GIB = 1 << 20, 1 << 30
DOCS = Path(__file__).parents[2] / "docs" / "state.md"


def shape(kind: type, layers: int, kv_heads: int, value_heads: int, **more: int):
    return kind(
        num_hidden_layers=layers,
        num_key_value_heads=kv_heads,
        head_dim=256,
        linear_num_key_heads=16,
        linear_num_value_heads=value_heads,
        linear_key_head_dim=128,
        linear_value_head_dim=128,
        **more,
    )


SHAPES = {
    "0.8B": shape(Qwen3_5TextConfig, 24, 2, 16),
    "27B": shape(Qwen3_5TextConfig, 64, 4, 48),
    "35B-A3B": shape(Qwen3_5MoeTextConfig, 40, 2, 32),
}


def sizes(config: PreTrainedConfig) -> dict[str, float]:
    layout = Layout.of(config)
    channels = (
        2 * config.linear_num_key_heads * config.linear_key_head_dim
        + config.linear_num_value_heads * config.linear_value_head_dim
    )
    matrices = config.linear_num_value_heads * config.linear_key_head_dim
    matrices *= config.linear_value_head_dim * 4
    state = len(layout.linear) * (matrices + channels * (config.linear_conv_kernel_dim - 1) * 2)
    token = layout.kv_shape(torch.bfloat16, torch.device("cpu")).token_nbytes
    journal = len(layout.linear) * (2 * channels + 6 * config.linear_num_value_heads)
    return {
        "a state": state / MIB,
        "a page": token * PAGE_TOKENS / MIB,
        "a journal token": journal / MIB,
        "on disk": (262_144 * token + state) / GIB,
    }


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("row", ["a state", "a page", "a journal token", "on disk"])
def test_the_table_is_the_arithmetic(row: str, number: int) -> None:
    name = list(SHAPES)[number]
    line = next(text for text in DOCS.read_text().split("\n") if text.startswith(f"| {row}"))
    told = line.split("|")[2 + number].split()[0]
    digits = len(told.partition(".")[2])
    assert float(told) == round(sizes(SHAPES[name])[row], digits), name
