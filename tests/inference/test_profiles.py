"""Which family a checkpoint is taken for."""

import json
from pathlib import Path

import pytest

from inference.errors import ModelUnavailable
from inference.messages import SamplingOptions
from inference.profiles import (
    GREEDY,
    NANO,
    PROFILES,
    QWEN2_5,
    QWEN3,
    QWEN3_5,
    QWEN3_6,
    QWEN3_8,
    Profile,
    profile_for,
)

GATE_3_5 = "{%- if loop.index0 > ns.last_query_index %}"
GATE_3_6 = (
    "{%- if (preserve_thinking is defined and preserve_thinking is true) "
    "or (loop.index0 > ns.last_query_index) %}"
)
GATE_3_8 = (
    "{%- if preserve_thinking is undefined or preserve_thinking is true "
    "or loop.index0 > ns.last_query_index %}"
)


@pytest.mark.parametrize(
    ("model_type", "profile"),
    [
        ("qwen3_5", QWEN3_5),
        ("qwen3_5_text", QWEN3_5),
        ("qwen3_5_moe", QWEN3_5),
        ("qwen3_5_moe_text", QWEN3_5),
        ("qwen3", QWEN3),
        ("qwen3_moe", QWEN3),
        ("qwen2", QWEN2_5),
    ],
)
def test_the_model_type_names_the_family(model_type: str, profile: Profile, tmp_path: Path) -> None:
    assert profile_for({"model_type": model_type}, None) is profile
    assert profile_for({"model_type": model_type}, tmp_path) is profile


@pytest.mark.parametrize(
    ("gate", "profile"), [(GATE_3_5, QWEN3_5), (GATE_3_6, QWEN3_6), (GATE_3_8, QWEN3_8)]
)
def test_the_gate_in_the_template_names_the_release(
    gate: str, profile: Profile, tmp_path: Path
) -> None:
    config = {"model_type": "qwen3_5"}
    settings = tmp_path / "tokenizer_config.json"
    settings.write_text(json.dumps({"chat_template": gate}), encoding="utf-8")
    assert profile_for(config, tmp_path) is profile
    several = [{"name": "rag", "template": "x"}, {"name": "default", "template": gate}]
    settings.write_text(json.dumps({"chat_template": several}), encoding="utf-8")
    assert profile_for(config, tmp_path) is profile
    settings.write_text("{}", encoding="utf-8")
    assert profile_for(config, tmp_path) is QWEN3_5
    (tmp_path / "chat_template.jinja").write_text(gate, encoding="utf-8")
    assert profile_for(config, tmp_path) is profile


def test_qwen3_releases_that_always_or_never_think(tmp_path: Path) -> None:
    config, file = {"model_type": "qwen3"}, tmp_path / "chat_template.jinja"
    file.write_text("{%- if enable_thinking %}", encoding="utf-8")
    assert profile_for(config, tmp_path) is QWEN3
    file.write_text("{{- '<|im_start|>assistant\\n<think>\\n' }}", encoding="utf-8")
    always = profile_for(config, tmp_path)
    assert always.opener(True) == always.opener(False) == "<think>\n"
    file.write_text("{{- '<|im_start|>assistant\\n' }}", encoding="utf-8")
    never = profile_for(config, tmp_path)
    assert never.opener(True) == never.opener(False) == ""


def test_a_profile_file_wins(tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_text('{"profile": "nano"}', encoding="utf-8")
    assert profile_for({"model_type": "qwen3_5_text"}, tmp_path) is NANO


@pytest.mark.parametrize("content", ['{"profile": "mini"}', "{}", "[]", "{", "\ud800"])
def test_a_profile_file_that_names_none_is_refused(content: str, tmp_path: Path) -> None:
    (tmp_path / "profile.json").write_bytes(content.encode("utf-8", "surrogatepass"))
    with pytest.raises(ModelUnavailable, match=r"profile\.json .*\.$"):
        profile_for({"model_type": "qwen2"}, tmp_path)


@pytest.mark.parametrize("config", [{}, {"model_type": "llama"}, {"model_type": None}])
def test_an_unknown_family_is_refused_with_those_that_are_known(config: dict[str, object]) -> None:
    with pytest.raises(ModelUnavailable, match=r"Qwen3\.5, 3\.6 and 3\.8 .* Qwen3 .* Qwen2\.5"):
        profile_for(config, None)


def test_presets_are_those_of_the_model_cards() -> None:
    precise = SamplingOptions(temperature=0.6, top_p=0.95, top_k=20)
    instruct = SamplingOptions(temperature=0.7, top_p=0.8, top_k=20)
    assert QWEN3_5.sampling(thinking=True) == QWEN3_6.sampling(thinking=True) == precise
    assert QWEN3_8.sampling(thinking=True).temperature == 1.0
    for profile in (QWEN3_5, QWEN3_6, QWEN3_8, QWEN3, QWEN2_5):
        assert profile.sampling(thinking=False) == instruct
    assert NANO.sampling(thinking=True) == NANO.sampling(thinking=False) == GREEDY
    assert GREEDY.temperature == 0


def test_a_model_that_does_not_think_is_never_asked_to() -> None:
    assert NANO.opener(thinking=True) == NANO.opener(thinking=False) == "<think>\n\n</think>\n\n"
    assert QWEN2_5.opener(thinking=True) == ""
    assert QWEN3_5.opener(thinking=True) == "<think>\n"
    assert all(name == profile.name for name, profile in PROFILES.items())
