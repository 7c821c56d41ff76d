"""Shapes are those of the modules that transformers builds, whether they were kept or not."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from transformers import AutoModel
from transformers.models.qwen3_5.configuration_qwen3_5 import Qwen3_5VisionConfig

from inference import shapes
from inference.errors import ModelUnavailable
from inference.extras import vision_params
from inference.footprint import Footprint
from inference.model import Model
from inference.models import FAMILY, SHAPES, find, newest
from inference.mtp import DraftLayer
from inference.shapes import built, shape_of

PARAMS = {
    "0.8B": 752_393_024,
    "27B": 26_895_998_464,
    "35B-A3B": 34_660_610_688,
}
"""Text parameters, without the draft layer and the vision tower."""


@pytest.mark.parametrize("size", PARAMS)
def test_the_shapes_that_come_with_the_program_are_those_of_transformers(size: str) -> None:
    shape = built(SHAPES[size])
    assert shape.num_params == PARAMS[size]
    assert shape_of(SHAPES[size]) == shape


def test_a_config_of_no_model_is_one_short_sentence() -> None:
    wrong = ({"model_type": "qwen9_9"}, {**SHAPES["0.8B"], "hidden_size": "abc"})
    for config in wrong:
        with pytest.raises(ModelUnavailable, match="describes no model that can be run") as no:
            built(config)
        text = str(no.value)
        assert len(text) < 300
        assert "\n" not in text
        assert text.endswith(".")
        assert not text.endswith(":.")
    assert "expected int, got str" in text


def test_every_size_has_as_many_parameters_as_its_name_says() -> None:
    for size, config in SHAPES.items():
        named = float(size.partition("-")[0].removesuffix("B")) * 1e9
        assert shape_of(config).num_params == pytest.approx(named, rel=0.07), size


def test_a_shape_says_what_the_model_that_runs_weighs(tiny_model: Model) -> None:
    shape = built(tiny_model.config.to_dict())
    footprint = Footprint(shape, tiny_model.dtype.itemsize)
    buffers = sum(tensor.nbytes for tensor in tiny_model.module.buffers())
    assert sum(footprint.weights("16bit").values()) == tiny_model.weights_nbytes - buffers
    assert footprint.kv_of_a_token("16bit") == tiny_model.pool.shape.token_nbytes
    state = tiny_model.new_state()
    tiny_model.forward((1, 2, 3, 4, 5), state)
    logits = 4 * shape.vocab  # which the engine keeps in a snapshot
    assert footprint.snapshot == state.snapshot().state_nbytes + logits


@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_the_parts_of_a_draft_layer_are_those_that_are_loaded(family: str, modules: Any) -> None:
    module = modules[family]
    with torch.device("meta"):
        layer = DraftLayer(module.model)
    parts = Counter[tuple[int, ...]]()
    for part in built(module.config.to_dict()).draft_parts:
        parts[part.shape] += part.num
    assert parts == Counter(tuple(weight.shape) for weight in layer.parameters())


def test_a_vision_tower_has_the_parameters_of_transformers() -> None:
    described = {"depth": 2, "hidden_size": 96, "intermediate_size": 200, "out_hidden_size": 64}
    make: Any = AutoModel.from_config
    for values in ({}, described, {**described, "patch_size": 14, "num_position_embeddings": 100}):
        with torch.device("meta"):
            tower = make(Qwen3_5VisionConfig(**values))
        num = sum(weight.numel() for weight in tower.parameters())
        assert vision_params({"vision_config": values}) == num
    assert vision_params({}) == vision_params({"vision_config": {"depth": None}}) == 0


def test_a_shape_is_kept_until_another_transformers_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = {**SHAPES["0.8B"], "num_hidden_layers": 4}
    config["layer_types"] = config["layer_types"][:4]
    shape = shape_of(config, tmp_path)
    (file,) = tmp_path.glob("*.json")
    with monkeypatch.context() as patch:
        patch.delattr(shapes, "built")
        assert shape_of(config, tmp_path) == shape
        assert shape_of({"text_config": config, "model_type": "qwen3_5"}, tmp_path) == shape
    file.write_text(json.dumps({**json.loads(file.read_text()), "transformers": "1.0"}))
    assert shape_of(config, tmp_path) == shape
    assert json.loads(file.read_text())["transformers"] == transformers.__version__


def test_a_checkpoint_with_vision_has_the_shape_of_its_text_and_needs_no_torch(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = {
        **SHAPES["27B"],
        "attention_bias": False,
        "dtype": "bfloat16",
        "full_attention_interval": 4,
        "mtp_num_hidden_layers": 1,
        "output_gate_type": "swish",
    }
    del text["tie_word_embeddings"]
    whole = {
        "model_type": "qwen3_5",
        "text_config": text,
        "tie_word_embeddings": False,
        "vision_config": {"depth": 27, "hidden_size": 1152},
    }
    monkeypatch.delattr(shapes, "built")
    assert shape_of(whole) == shape_of(SHAPES["27B"])


def test_a_config_that_describes_no_model_is_refused_in_a_sentence() -> None:
    for config in ({}, {"model_type": "llama9"}, {**SHAPES["0.8B"], "hidden_size": "wide"}):
        with pytest.raises(ModelUnavailable, match=r"describes no model that can be run") as no:
            shape_of(config)
        assert "\n" not in str(no.value)


def test_a_release_is_found_by_size_by_name_and_by_hub_id() -> None:
    assert find("27b") == find("qwen3.8-27B") == find("Qwen/Qwen3.8-27B")
    assert find("Qwen/Qwen3.5-27B") != find("27B")
    assert find("122B") == find("122B-A10B")
    assert find("9000B") is find("A10B") is None
    assert len({size.partition("-")[0] for size in SHAPES}) == len(SHAPES)
    assert [model.size for model in newest()] == list(SHAPES)
    assert len({model.hub_id for model in FAMILY}) == len(FAMILY) == 11
