"""What `qwen-agent plan` says of machines that are described to it, and how a machine is read."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent import hardware
from agent.cli import answer
from agent.hardware import (
    GIB,
    MIB,
    Gpu,
    Hardware,
    gpus_of,
    has_bfloat16,
    memory_bytes,
    read_hardware,
)
from agent.planning import plan_of, plan_to_run
from agent.settings import ModelConfig
from inference.door import EngineSettings
from inference.models import SHAPES
from tests.agent.test_settings import cached


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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
    assert "experts of 12 of 40 layers on the CPU, which is slower" in told
    assert "a smaller model: Qwen/Qwen3.5-9B" in told
    told = said(capsys, "--model", "397b-a17b", "--vram", "16", "--ram", "16", code=7)
    assert "It is for several GPUs, or a server" in told


def test_what_is_offered_can_be_asked_for(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = said(capsys, "--model", "35B-A3B", "--vram", "16", "--ram", "32", code=7)
    assert "taken by itself, or with [model] cpu_expert_layers = 6\n" in told
    assert "with CUDA_VISIBLE_DEVICES= qwen-agent --model Qwen/Qwen3.6-35B-A3B\n" in told
    assert "with qwen-agent --model Qwen/Qwen3.8-27B\n" in told
    words = ("--model", "27B", "--context", "262144", "--vram", "16", "--ram", "32")
    told = said(capsys, *words, code=7)
    assert "taken by itself, or with [model] context = 57344\n" in told
    assert '  with [model] context = 110592, kv = "int4"\n' in told
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    settings = tmp_path / "qwen-agent" / "config.toml"
    settings.parent.mkdir()
    settings.write_text("[model]\ncpu_expert_layers = 6\n")
    told = said(capsys, "--model", "35B-A3B", "--vram", "16", "--ram", "32")
    assert "the embedding, experts of 6 layers" in told
    settings.write_text('[model]\ncontext = 110592\nkv = "int4"\n')
    assert "110,592 tokens: keys and values, 4 bit" in said(capsys, *words[:2], *words[4:])


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
        "the experts of 6 of 40 layers on the CPU, which is slower",
        "all of it on the CPU, which is much slower",
        "a smaller model",
    ]
    assert models["35B-A3B"]["offers"][1]["plan"]["device"] == "cpu"
    assert [offer["is_run"] for offer in models["35B-A3B"]["offers"]] == [True, False, False]
    assert models["35B-A3B"]["offers"][0]["way"] == "[model] cpu_expert_layers = 6"
    plan = models["27B"]["plan"]
    weighed = plan.pop("bytes")
    assert plan == {
        "name": "Qwen/Qwen3.8-27B",
        "device": "cuda",
        "weights": "nf4",
        "kv": "int8",
        "value_bytes": 2,
        "context_tokens": 57_344,
        "prefill_chunk": 512,
        "embedding_on_cpu": True,
        "experts_on_cpu": 0,
    }
    parts = ("weights", "kv", "state", "workspace")
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
    assert (settings.device, settings.num_cpu_expert_layers, settings.kv) == ("cuda", 6, "int8")
    assert moved.sentence == (
        "The model does not fit into 15.0 GiB whole: it runs with the experts of 6 of 40 layers on "
        "the CPU, which is slower; its window is 32,768 tokens."
    )
    shorter = plan_to_run("Qwen/Qwen3.8-27B", card, ModelConfig(context=262_144))
    assert shorter is not None
    assert (shorter.plan.context_tokens, shorter.plan.kv) == (57_344, "int8")
    assert "with a smaller window; its window is 57,344 tokens." in shorter.sentence
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


# --- the machine


def files(root: Path, **contents: str) -> Path:
    for name, text in contents.items():
        file = root / name.replace("__", "/").replace("_dot_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


def test_a_container_has_as_much_memory_as_its_tightest_group(tmp_path: Path) -> None:
    files(
        tmp_path,
        proc__self__cgroup="0::/a/b\n",
        sys__fs__cgroup__a__memory_dot_max=f"{300 * MIB}\n",
        sys__fs__cgroup__a__b__memory_dot_max="max\n",
    )
    assert memory_bytes(tmp_path) == 300 * MIB
    files(tmp_path, sys__fs__cgroup__a__b__memory_dot_max=f"{200 * MIB}\n")
    assert memory_bytes(tmp_path) == 200 * MIB


def test_groups_of_the_first_version_count_too(tmp_path: Path) -> None:
    files(
        tmp_path,
        proc__self__cgroup="4:cpu:/x\n3:memory:/docker/1\n",
        sys__fs__cgroup__memory__docker__1__memory_dot_limit_in_bytes=f"{100 * MIB}\n",
    )
    assert memory_bytes(tmp_path) == 100 * MIB
    assert memory_bytes(tmp_path / "none") > 100 * MIB


def test_the_cpu_says_whether_it_multiplies_bfloat16(tmp_path: Path) -> None:
    assert not has_bfloat16(files(tmp_path, proc__cpuinfo="flags : fpu avx2 avx512f\n"))
    assert has_bfloat16(files(tmp_path, proc__cpuinfo="flags : fpu avx512_bf16\n"))


def test_gpus_are_read_from_what_the_driver_prints() -> None:
    printed = "NVIDIA A, B, 24564, 512\nTesla T4, 15360, 0\nbroken, [N/A], 1\n"
    first, second = gpus_of(printed, {})
    assert first == Gpu("NVIDIA A, B", 24_564 * MIB, 512 * MIB)
    assert gpus_of(printed, {"CUDA_VISIBLE_DEVICES": "1"}) == (second,)
    assert gpus_of(printed, {"CUDA_VISIBLE_DEVICES": ""}) == ()
    assert gpus_of("", {}) == ()


def test_a_driver_is_asked_and_its_silence_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "nvidia-smi"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(hardware, "version", lambda _name: "2.11.0")
    program.write_text("#!/bin/sh\necho 'NVIDIA RTX 4090, 24564, 3000'\n")
    program.chmod(0o700)
    found = read_hardware()
    assert found.gpu == Gpu("NVIDIA RTX 4090", 24_564 * MIB, 3_000 * MIB)
    assert found.note == "2.9 GiB of the GPU are in use now."
    assert [room.device for room in found.rooms] == ["cuda", "cpu"]
    monkeypatch.setattr(hardware, "version", lambda _name: "2.11.0+cpu")
    assert read_hardware().gpu is None
    assert "for the CPU" in read_hardware().note
    program.write_text("#!/bin/sh\nexit 9\n")
    assert read_hardware().gpu is None
    program.write_text("#!/bin/no-such-shell\n")
    assert "does not answer" in read_hardware().note
