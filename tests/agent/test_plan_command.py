"""What `qwen-agent plan` says of machines that are described to it, and what a run takes."""

import json
import os
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest

from agent import hardware
from agent.cli import answer
from agent.hardware import GIB, Gpu, Hardware
from agent.models import resolve
from agent.planning import named, plan_of, plan_to_run
from agent.settings import ModelConfig
from agent.short_start import shortage_of
from inference.door import EngineSettings
from inference.errors import ModelUnavailable
from inference.loader import load
from inference.models import SHAPES
from tests.agent.test_settings import cached


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert answer(["plan", *words]) == code
    return capsys.readouterr().out


# --- the command


def test_the_table_fits_80_columns_and_names_what_auto_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cached(tmp_path / "hub", "Qwen/Qwen3.5-9B", SHAPES["9B"])
    cached(tmp_path / "hub", "Qwen/Qwen3.5-27B", SHAPES["27B"])
    told = said(capsys, "--vram", "24", "--ram", "32")
    assert max(map(len, told.splitlines())) <= 80
    assert "\x1b" not in told
    rows = {line[2:].split()[0]: line for line in told.splitlines() if line[2:].strip()}
    assert [name for name in rows if name in SHAPES] == list(SHAPES)
    assert rows["Qwen3.5-27B"].startswith("* ")
    assert rows["9B"].startswith("* ")
    assert "262,144" in rows["27B"]
    assert "several GPUs" in rows["122B-A10B"]
    assert "--model auto: Qwen/Qwen3.5-27B" in told
    assert "qwen-agent models pull Qwen/Qwen3.6-35B-A3B" in told


def test_one_model_is_told_part_by_part(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "--model", "27B", "--vram", "24", "--ram", "32")
    assert max(map(len, told.splitlines())) <= 80
    assert "Qwen/Qwen3.8-27B  (Apache-2.0, template qwen3.8, not here yet)" in told
    assert "262,144 tokens: keys and values, 8 bit" in told
    assert "in the machine's memory: the embedding" in told


def test_what_does_not_fit_is_told_with_what_does(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("--model", "35B-A3B", "--context", "262144", "--vram", "16", "--ram", "16")
    told = said(capsys, *words, code=7)
    assert "with 262,144 tokens needs 19." in told
    assert "experts of 13 of 40 layers on the CPU, which is slower" in told
    assert "a smaller model: Qwen/Qwen3.5-9B" in told
    told = said(capsys, "--model", "397b-a17b", "--vram", "16", "--ram", "16", code=7)
    assert "It is for several GPUs, or a server" in told


def test_what_is_offered_can_be_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = said(capsys, "--model", "35B-A3B", "--vram", "16", "--ram", "32", code=7)
    assert "taken by itself, or with [model] cpu_expert_layers = 7\n" in told
    assert "with CUDA_VISIBLE_DEVICES= qwen-agent --model Qwen/Qwen3.6-35B-A3B\n" in told
    assert "with qwen-agent --model Qwen/Qwen3.8-27B\n" in told
    words = ("--model", "27B", "--context", "262144", "--vram", "16", "--ram", "32")
    told = said(capsys, *words, code=7)
    assert "taken by itself, or with [model] context = 49152\n" in told
    assert '  with [model] context = 98304, kv = "int4"\n' in told
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = tmp_path / "qwen-agent" / "config.toml"
    settings.parent.mkdir()
    settings.write_text("[model]\ncpu_expert_layers = 7\n")
    told = said(capsys, "--model", "35B-A3B", "--vram", "16", "--ram", "32")
    assert "the embedding, experts of 7 layers" in told
    settings.write_text('[model]\ncontext = 98304\nkv = "int4"\n')
    assert "98,304 tokens: keys and values, 4 bit" in said(capsys, *words[:2], *words[4:])


def test_without_a_gpu_a_smaller_window_is_what_is_to_be_set(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--context", "200000", "--vram", "0", "--ram", "24")
    told = said(capsys, "--model", "27B", *words, code=7)
    way = re.search(r"taken by itself, or with (\[model\] context = \d+)\n", told)
    assert way is not None
    (model,) = json.loads(said(capsys, "--json", "--model", "27B", *words, code=7))["models"]
    assert [offer["way"] for offer in model["offers"] if offer["is_run"]] == [way[1]]
    too_long = said(capsys, "--model", "2B", "--context", "262145", *words[2:], code=7)
    assert "taken by itself, or with [model] context = 262144\n" in too_long


def test_what_fits_is_what_fits_where_models_are_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cached(tmp_path / "hub", "Qwen/Qwen3.5-9B", SHAPES["9B"])
    small = ("--vram", "0.5", "--ram", "32")
    told = said(capsys, *small)
    assert "possible: all of it on the CPU" in told
    assert told.endswith("  No model of the family fits this GPU; --vram 0 plans for the CPU.\n")
    found = json.loads(said(capsys, "--json", *small))
    assert (found["auto"], found["largest"]) == (None, None)
    assert "--model auto: Qwen/Qwen3.5-9B" in said(capsys, "--vram", "0", "--ram", "32")


def test_auto_is_what_a_run_takes_and_where_nothing_is_here_what_can_be_pulled(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ("--model", "auto", "--vram", "0", "--ram", "32")
    assert said(capsys, *words, code=7) == ""
    assert answer(["plan", *words]) == 7
    assert "models pull Qwen/Qwen3.6-35B-A3B` (the largest that" in capsys.readouterr().err
    cached(tmp_path / "hub", "Qwen/Qwen3.5-9B", SHAPES["9B"])
    assert "Qwen/Qwen3.5-9B  (Apache-2.0, template qwen3.5, here)" in said(capsys, *words)


def test_nano_is_planned_as_it_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    told = said(capsys, "--model", "nano", "--vram", "0", "--ram", "1")
    assert "nano  (template nano, here)" in told
    assert "weights, 32 bit" in told


def test_a_screen_without_blocks_gets_letters(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.frontends.plan._letters", lambda: "wksc.")
    told = said(capsys, "--model", "9B", "--vram", "16", "--ram", "16")
    assert told.isascii()
    bar = told.splitlines()[-1].split()[0]
    assert list(dict.fromkeys(bar)) == list("wksc")
    assert len(bar) == 44


def test_json_has_the_keys_that_the_documentation_names(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    cached(tmp_path / "hub", "Qwen/Qwen3.5-2B", SHAPES["2B"])
    found = json.loads(said(capsys, "--json", "--vram", "16", "--ram", "32"))
    assert list(found) == ["schema_version", "machine", "models", "auto", "largest"]
    assert found["schema_version"] == 1
    assert found["machine"] == {
        "gpu": {"name": "a GPU", "bytes": 16 * GIB},
        "ram_bytes": 32 * GIB,
        "note": "",
    }
    assert (found["auto"], found["largest"]) == ("Qwen/Qwen3.5-2B", "Qwen/Qwen3.8-27B")
    models = {model["size"]: model for model in found["models"]}
    assert models["35B-A3B"]["plan"] is None
    sentences = [offer["sentence"] for offer in models["35B-A3B"]["offers"]]
    assert sentences == [
        "the experts of 7 of 40 layers on the CPU, which is slower",
        "all of it on the CPU, which is much slower",
        "a smaller model",
    ]
    assert models["35B-A3B"]["offers"][1]["plan"]["device"] == "cpu"
    assert [offer["is_run"] for offer in models["35B-A3B"]["offers"]] == [True, False, False]
    assert models["35B-A3B"]["offers"][0]["way"] == "[model] cpu_expert_layers = 7"
    plan = models["27B"]["plan"]
    weighed = plan.pop("bytes")
    assert plan == {
        "name": "Qwen/Qwen3.8-27B",
        "device": "cuda",
        "weights": "nf4",
        "kv": "int8",
        "value_bytes": 2,
        "context_tokens": 49_152,
        "prefill_chunk": 512,
        "embedding_on_cpu": True,
        "experts_on_cpu": 0,
    }
    parts = ("weights", "draft", "kv", "state", "workspace")
    assert sum(weighed[p] for p in parts) + 2 * weighed["state"] == weighed["needed"]
    assert weighed["needed"] <= weighed["usable"]
    text = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
    of_offer = models["35B-A3B"]["offers"][0]
    for key in (*found, *found["machine"], *models["27B"], *plan, *weighed, *of_offer):
        assert f"`{key}`" in text, key


@pytest.mark.parametrize(
    "words",
    [
        ("--vram", "-1"),
        ("--ram", "0"),
        ("--context", "0"),
        ("--vram", "nan"),
        ("--model", "Qwen/Nothing"),
        ("--model", ""),
        ("--model", " "),
        ("--context", "many"),
    ],
)
def test_what_cannot_be_meant_is_refused(
    words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert answer(["plan", *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


def test_a_folder_is_planned_from_its_own_config(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _root: False)
    folder = cached(tmp_path / "elsewhere", "our/Tuned", SHAPES["4B"])
    told = said(capsys, "--model", str(folder), "--vram", "0", "--ram", "64")
    assert "no GPU" in told
    assert "template qwen3.5" in told
    assert "weights, 32 bit" in told
    (folder / "config.json").write_text("[]")
    assert answer(["plan", "--model", str(folder)]) == 7


def test_a_folder_that_would_not_load_is_refused_in_the_same_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refusal(change: Mapping[str, object], *without: str) -> str:
        """Return what `plan` and the loader say of a folder that lacks some files."""
        config = {**SHAPES["0.8B"], **change}
        folder = cached(Path(tempfile.mkdtemp(dir=tmp_path)), "our/Tuned", config)
        for name in without:
            (folder / name).unlink()
        (folder / "profile.json").write_text('{"profile": "qwen3.5"}')
        assert answer(["plan", "--model", str(folder), "--vram", "0", "--ram", "32"]) == 7
        captured = capsys.readouterr()
        assert (captured.out, captured.err.count("\n")) == ("", 1)
        with pytest.raises(ModelUnavailable) as no:
            load(resolve(str(folder)), device="cpu")
        assert str(no.value) in captured.err
        return captured.err

    assert "of type 'llama'" in refusal({"model_type": "llama"})
    assert "a text_config that is no object" in refusal({"text_config": [1]})
    assert "quantized with hqq" in refusal({"quantization_config": {"quant_method": "hqq"}})
    assert "an unnamed method" in refusal({"quantization_config": {"bits": 4}})
    assert "on a GPU only" in refusal({"quantization_config": {"quant_method": "fp8"}})
    assert "gptqmodel" in refusal({"quantization_config": {"quant_method": "awq"}})
    only_linear = {"num_hidden_layers": 3, "layer_types": ["linear_attention"] * 3}
    assert "no layer has full attention" in refusal(only_linear)
    assert "no layer has full attention" in refusal({**only_linear, "layer_types": None})
    assert "num_hidden_layers = 0" in refusal({"num_hidden_layers": 0, "layer_types": []})
    assert "max_position_embeddings = 0" in refusal({"max_position_embeddings": 0})
    assert "vocab_size = 0" in refusal({"vocab_size": 0})
    experts = SHAPES["35B-A3B"]
    assert "num_experts_per_tok = 0" in refusal({**experts, "num_experts_per_tok": 0})
    assert "= 257 of num_experts = 256" in refusal({**experts, "num_experts_per_tok": 257})
    assert "has no tokenizer.json" in refusal({}, "tokenizer.json")
    assert "has no *.safetensors" in refusal({}, "model.safetensors")


@pytest.mark.parametrize("name", [".", "empty", "./empty", "/no/such/folder", "~/no-such/a/b"])
def test_a_folder_without_a_model_is_refused_as_where_it_is_run(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert answer(["plan", "--model", name]) == 7
    with pytest.raises(ModelUnavailable) as no:
        resolve(name)
    assert str(no.value) in capsys.readouterr().err


def test_a_missing_weight_file_is_told_by_the_plan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = cached(tmp_path, "our/Tuned", SHAPES["0.8B"])
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    assert answer(["plan", "--model", str(folder)]) == 7
    assert "lacks model-2.safetensors (1 of 2 weight files" in capsys.readouterr().err
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model.safetensors").rename(folder / "model-1.safetensors")
    assert answer(["plan", "--model", str(folder)]) == 7
    assert "has no model.safetensors" in capsys.readouterr().err


def test_the_draft_layer_is_counted_where_it_is_loaded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = ("--vram", "24", "--ram", "32")
    assert "  0.2 GiB  draft layer, which guesses tokens, 4 bit" in said(
        capsys, "--model", "27B", *card
    )
    how = ModelConfig(speculation="off")
    assert named("27B").shape.has_draft
    assert not named("27B", how).shape.has_draft
    assert named("nano").shape.has_draft
    vision = {"vision_config": {"depth": 12, "hidden_size": 768, "out_hidden_size": 1024}}
    whole = {"model_type": "qwen3_5", "text_config": dict(SHAPES["0.8B"]), **vision}
    folder = cached(tmp_path, "our/Tuned", whole)
    assert not named(str(folder)).shape.has_draft  # this one has none
    told = said(capsys, "--model", str(folder), *card)
    assert "draft layer" not in told
    assert "more once a picture is sent: the vision tower" in told


def test_what_is_run_is_planned_in_the_formats_that_were_asked_for(tmp_path: Path) -> None:
    folder = str(cached(tmp_path / "hub", "our/Tuned", SHAPES["9B"]))
    card = Hardware(64 * GIB, Gpu("a GPU", 24 * GIB), has_bfloat16=True)
    in_four = ModelConfig(weights="nf4", kv="int4")
    found, asked = plan_to_run(folder, card), plan_to_run(folder, card, in_four)
    assert found is not None
    assert asked is not None
    assert (found.plan.weights, found.plan.kv) == ("16bit", "int8")
    assert (asked.plan.weights, asked.plan.kv) == ("nf4", "int4")
    assert (found.sentence, asked.sentence) == ("", "")
    assert plan_to_run("Qwen/Qwen3.5-397B-A17B", card) is None
    assert plan_to_run("Qwen/Nothing", card) is None


def test_a_run_takes_the_nearest_offer_that_costs_no_quality_and_says_so() -> None:
    card = Hardware(32 * GIB, Gpu("a GPU", 16 * GIB), has_bfloat16=True)
    moved = plan_to_run("Qwen/Qwen3.6-35B-A3B", card)
    assert moved is not None
    settings = moved.plan.settings(EngineSettings("folder"))
    assert (settings.device, settings.num_cpu_expert_layers, settings.kv) == ("cuda", 7, "int8")
    assert moved.sentence == (
        "The model does not fit into 15.0 GiB whole: it runs with the experts of 7 of 40 layers on "
        "the CPU, which is slower; its window is 32,768 tokens."
    )
    shorter = plan_to_run("Qwen/Qwen3.8-27B", card, ModelConfig(context=262_144))
    assert shorter is not None
    assert (shorter.plan.context_tokens, shorter.plan.kv) == (49_152, "int8")
    assert "with a smaller window; its window is 49,152 tokens." in shorter.sentence
    whole = plan_to_run("Qwen/Qwen3.5-9B", card, ModelConfig(context=10_000_000))
    assert whole is not None
    assert (whole.plan.context_tokens, whole.sentence) == (262_144, "")


def test_a_run_does_not_take_the_cpu_unasked_where_there_is_a_gpu() -> None:
    tiny = Hardware(64 * GIB, Gpu("a GPU", 2 * GIB), has_bfloat16=True)
    assert plan_to_run("Qwen/Qwen3.5-9B", tiny) is None
    assert plan_to_run("Qwen/Qwen3.5-9B", replace(tiny, gpu=None)) is not None


def test_the_settings_move_what_they_name() -> None:
    card = Hardware(64 * GIB, Gpu("a GPU", 24 * GIB), has_bfloat16=True)
    how = ModelConfig(cpu_expert_layers=99, embedding_on_cpu=True, context=65_536)
    moved = plan_to_run("Qwen/Qwen3.6-35B-A3B", card, how)
    assert moved is not None
    assert (moved.plan.experts_on_cpu, moved.plan.embedding_on_cpu) == (40, True)
    assert (moved.plan.context_tokens, moved.sentence) == (65_536, "")
    in_16 = plan_to_run("Qwen/Qwen3.5-9B", card, replace(how, weights="16bit"))
    assert in_16 is not None
    assert not in_16.plan.embedding_on_cpu, "the loader moves what it has packed"


def test_what_did_not_fit_is_told_with_the_day_and_with_what_a_start_takes(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    folder = cached(tmp_path / "hub", "Qwen/Qwen3.5-0.8B", SHAPES["0.8B"])
    how, source = ModelConfig(), "Qwen/Qwen3.5-0.8B"
    shortage = shortage_of(source, how, plan_of(source, how))
    assert "did not fit" not in said(capsys, "--model", "0.8B")
    shortage.keep(["load"])
    noon_s = datetime(2026, 3, 14, 12).timestamp()
    os.utime(shortage.file, (noon_s, noon_s))
    shortage.keep(["load"])  # as each start does that goes by it
    told = said(capsys, "--model", "0.8B")
    assert "  It did not fit as planned on 2026-03-14; a start takes this:\n" in told
    assert told.endswith(f"  To have more tried, remove {shortage.file}\n")
    assert "weights, 8 bit" in told.partition("It did not fit")[2]
    (row,) = [line for line in said(capsys).splitlines() if line.startswith("  0.8B: ")]
    assert row == "  0.8B: did not fit as planned on 2026-03-14; a start takes less"
    (model,) = json.loads(said(capsys, "--json", "--model", "0.8B"))["models"]
    planned, start = model["plan"], model["start"]
    assert start["did_not_fit_on"] == "2026-03-14"
    assert start["remembered_in"] == str(shortage.file)
    assert (planned["weights"], start["plan"]["weights"]) == ("16bit", "int8")
    assert start["plan"]["bytes"]["snapshots"] == planned["bytes"]["snapshots"] // 4
    assert "did not fit" not in said(capsys, "--model", "0.8B", "--ram", "32")
    in_auto = shortage_of(str(folder), replace(how, thinking="high"), plan_of(source, how))
    assert in_auto == shortage, "by its folder it is the same model, and thinking takes no memory"


def test_what_did_not_fit_is_forgotten_with_other_settings_or_another_memory() -> None:
    how = ModelConfig()
    kept = {
        shortage_of(source, chosen, plan_to_run(source, Hardware(64 * GIB, gpu, True))).file
        for source, chosen, gpu in (
            ("Qwen/Qwen3.5-9B", how, Gpu("a GPU", 24 * GIB)),
            ("Qwen/Qwen3.5-9B", how, Gpu("a GPU", 16 * GIB)),
            ("Qwen/Qwen3.5-9B", how, None),
            ("Qwen/Qwen3.5-9B", replace(how, context=16_384), None),
            ("Qwen/Qwen3.5-4B", how, None),
        )
    }
    assert len(kept) == 5
    again = plan_to_run("Qwen/Qwen3.5-9B", Hardware(64 * GIB, Gpu("it", 24 * GIB), True), how)
    assert shortage_of("Qwen/Qwen3.5-9B", ModelConfig(), again).file in kept


def test_a_folder_under_two_gigabytes_is_run_as_it_is_planned(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of 0.8B has 1.5 GB and twice as much in float32."""
    folder = cached(tmp_path / "elsewhere", "our/Tuned", SHAPES["0.8B"], 1_500_000_000)
    small = Hardware(round(4.5 * GIB), None, has_bfloat16=False)
    monkeypatch.setattr("agent.planning.read_hardware", lambda: small)
    found = plan_of(str(folder), ModelConfig())
    assert found is not None
    assert (found.plan.weights, found.plan.room.device) == ("int8", "cpu")
    told = said(capsys, "--model", str(folder), "--vram", "0", "--ram", "4.5")
    assert "weights, 8 bit" in told
    assert plan_of("nano", ModelConfig()) is None
