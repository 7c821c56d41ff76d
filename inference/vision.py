"""The eyes of a checkpoint: a picture's file to what stands at its places, and their positions.

The vision tower is transformers' own (`Qwen3_5VisionModel`), read from the checkpoint when the
first picture is to be seen; a talk of words alone never pays for it. Where pictures stand in a line
and what their ids are is `pictures.py`.
"""

import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from inference.errors import ModelUnavailable, PictureUnreadable
from inference.pictures import FORMATS, Place, content_of, preprocessor

PREFIXES = ("model.visual.", "visual.")
"""What the names of its weights begin with."""


class Vision:
    """Sees pictures with the weights in a checkpoint's folder."""

    def __init__(
        self, folder: Path, config: Mapping[str, Any], device: torch.device, dtype: torch.dtype
    ) -> None:
        """Take note of where the weights are; none is read yet.

        Args:
            folder: of the checkpoint.
            config: its config.json, which has a `vision_config`.
            device: where it computes.
            dtype: of its weights.
        """
        self._folder, self._config = folder, config
        self._device, self._dtype = device, dtype

    def see(self, place: Place) -> Tensor:
        """Return what stands at the places of a picture, [rows * columns, hidden].

        Raises:
            PictureUnreadable: the file has changed or is gone.
            ModelUnavailable: the checkpoint lacks weights of its vision tower.
        """
        content = content_of(place.picture)
        patches, grid = self._patches(content, place)
        with torch.inference_mode():
            output: Any = self._tower(patches.to(self._device, self._dtype), grid_thw=grid)
        seen: Tensor = output.pooler_output
        return seen

    def _patches(self, content: bytes, place: Place) -> tuple[Tensor, Tensor]:
        """Cut a picture into patches as the checkpoint was trained on."""
        from PIL import Image
        from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
            Qwen2VLImageProcessorPil,
        )

        vision, settings = self._config["vision_config"], preprocessor(self._folder)
        side, merge = int(vision.get("patch_size", 16)), int(vision.get("spatial_merge_size", 2))
        size = place.num_columns * side * merge, place.num_rows * side * merge
        processor = Qwen2VLImageProcessorPil(
            do_resize=False,
            patch_size=side,
            merge_size=merge,
            temporal_patch_size=int(vision.get("temporal_patch_size", 2)),
            image_mean=settings.get("image_mean", [0.5, 0.5, 0.5]),
            image_std=settings.get("image_std", [0.5, 0.5, 0.5]),
        )
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                scaled = image.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise PictureUnreadable(
                f"{place.picture.path} is damaged and cannot be seen; save it again."
            ) from error
        batch = processor(images=[scaled], return_tensors="pt")
        patches: Tensor = batch["pixel_values"]
        grid: Tensor = batch["image_grid_thw"]
        return patches, grid.to(self._device)

    @cached_property
    def _tower(self) -> nn.Module:
        """The vision tower with its weights."""
        from transformers import AutoConfig, AutoModel

        whole: Any = AutoConfig.from_pretrained(self._folder, local_files_only=True)
        make: Any = AutoModel.from_config
        with torch.device("meta"):
            tower: nn.Module = make(whole.vision_config, dtype=self._dtype)
        weights = self._weights()
        missing = [name for name, _ in tower.named_parameters() if name not in weights]
        if missing:
            raise ModelUnavailable(
                f"{self._folder} lacks {len(missing)} weights of its vision tower, such as "
                f"{missing[0]}; download it again, or ask without a picture."
            )
        buffers = dict(make(whole.vision_config).named_buffers())  # which no file has
        tower.load_state_dict(weights, strict=False, assign=True)
        for name, buffer in buffers.items():
            owner, _, last = name.rpartition(".")
            setattr(tower.get_submodule(owner), last, nn.Buffer(buffer, persistent=False))
        return tower.to(self._device).train(False)

    def _weights(self) -> dict[str, Tensor]:
        found = {}
        for file in sorted(self._folder.glob("*.safetensors")):
            with safe_open(file, framework="pt") as tensors:
                for name in tensors.keys():  # noqa: SIM118  # it is no mapping
                    prefix = next((p for p in PREFIXES if name.startswith(p)), None)
                    if prefix is not None:
                        found[name.removeprefix(prefix)] = tensors.get_tensor(name).to(self._dtype)
        return found


def positions_of(num_tokens: int, first: int, position: int, places: Sequence[Place]) -> Tensor:
    """Number tokens in time, height and width (Qwen2-VL's M-RoPE), int64 [3, T].

    Args:
        num_tokens: T, how many.
        first: the number of the first of them in the line.
        position: its position.
        places: the pictures among them, in order, each whole.
    """
    parts = []
    done = 0
    for place in places:
        num_words = place.start - first - done
        parts.append((position + torch.arange(num_words)).expand(3, -1))
        position += num_words
        rows = torch.arange(place.num_rows).repeat_interleave(place.num_columns)
        columns = torch.arange(place.num_columns).repeat(place.num_rows)
        parts.append(position + torch.stack([torch.zeros_like(rows), rows, columns]))
        position += max(place.num_rows, place.num_columns)
        done = place.end - first
    parts.append((position + torch.arange(num_tokens - done)).expand(3, -1))
    return torch.cat(parts, dim=1)
