"""What a checkpoint holds beside its language model, and how much that is, without torch.

A draft layer guesses tokens (`mtp.py`) and is loaded with the model; a vision tower (`vision.py`)
is loaded when the first picture is sent.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from inference.headers import read_header, weight_files
from inference.runnable import method_of

DRAFT_MARK = "mtp.fc.weight"
"""A checkpoint that has it has all of a draft layer."""
TOWER = {
    "depth": 27,
    "hidden_size": 1152,
    "intermediate_size": 4304,
    "in_channels": 3,
    "patch_size": 16,
    "temporal_patch_size": 2,
    "spatial_merge_size": 2,
    "out_hidden_size": 3584,
    "num_position_embeddings": 2304,
}
"""What transformers takes where a `vision_config` does not say it."""


def has_draft_layer(folder: Path, config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint has a draft layer that can be loaded.

    Raises:
        ModelUnavailable: a weight file is missing or damaged, or quantized in a way not known here.
    """
    if method_of(config):
        return False  # its makers' formats are not read there
    return any(DRAFT_MARK in read_header(file) for file in weight_files(folder))


def vision_params(config: Mapping[str, Any]) -> int:
    """Return the parameters of a checkpoint's vision tower; 0 where it has none that is known."""
    described = config.get("vision_config")
    if not isinstance(described, dict):
        return 0
    with suppress(TypeError, ValueError):
        depth, width, inner, channels, patch, frames, merge, out, places = (
            int(described.get(key, value)) for key, value in TOWER.items()
        )
        norm, merged = 2 * width, width * merge**2
        attention = _linear(width, 3 * width) + _linear(width, width)
        layer = 2 * norm + attention + _linear(width, inner) + _linear(inner, width)
        first = _linear(channels * frames * patch**2, width) + places * width
        return first + depth * layer + norm + _linear(merged, merged) + _linear(merged, out)
    return 0


def _linear(columns: int, rows: int) -> int:
    """Return the parameters of a linear layer and its bias."""
    return (columns + 1) * rows
