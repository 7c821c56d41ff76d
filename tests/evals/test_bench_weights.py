"""Checkpoints of random weights and what is measured on them, at a tiny size."""

import json
import os
import subprocess
import sys
from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch

from evals.bench import plan as bench_plan
from evals.bench import quality
from evals.bench.make_checkpoint import (
    ConsumedCheckpoint,
    plan_checkpoint,
    write_checkpoint,
    write_description,
)
from evals.bench.quality import compare, run, windows_of
from evals.bench.shapes import SHAPES
from inference.loader import load, load_packed
from inference.model import Model
from inference.module import empty_module
from inference.packed_files import weights_folder

ROOT = Path(__file__).parents[2]
TOKENS = list(range(40))
PARAMS = {"0.8b": 752_393_024, "27b": 26_895_998_464, "35b-a3b": 34_660_610_688}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize("name", PARAMS)
def test_shapes_have_as_many_numbers_as_the_models(name) -> None:
    module = empty_module(SHAPES[name].config(), torch.bfloat16)
    assert sum(weight.numel() for weight in module.parameters()) == PARAMS[name]


def test_a_consumed_checkpoint_is_the_written_one_with_a_file_at_a_time(tmp_path) -> None:
    config = SHAPES["tiny-moe"].config()
    whole = plan_checkpoint(config, tmp_path / "whole", file_bytes=100_000)
    write_checkpoint(whole)
    assert len(list(whole.folder.glob("*.safetensors"))) == len(whole.files) > 4
    expected = load(str(whole.folder), device="cpu", dtype="float32", weights="int8").model
    plan = plan_checkpoint(config, tmp_path / "consumed", file_bytes=100_000)
    write_description(plan)
    num_files = []

    def look(_progress) -> None:
        num_files.append(len(list(plan.folder.glob("*.safetensors"))))

    module = empty_module(config, torch.float32)
    load_packed(module, ConsumedCheckpoint(plan), "int8", torch.device("cpu"), on_progress=look)
    assert set(num_files) == {1}
    assert not list(plan.folder.glob("*.safetensors"))
    model = Model(module)
    logits = expected.forward_all(TOKENS, expected.new_state())
    assert torch.equal(model.forward_all(TOKENS, model.new_state()), logits)
    packed = max(weights_folder().glob("consumed-*.safetensors")).stat().st_size
    assert packed == pytest.approx(
        bench_plan._packed_bytes(plan, "int8"), abs=20_000
    )  # and a header


def test_a_model_agrees_with_itself_and_less_with_another(tmp_path, capsys) -> None:
    parser = ArgumentParser()
    quality.add_arguments(parser)
    words = ["--weights", "int8", "--tokens", "300", "--window", "200", "--threads", "1"]
    assert run(parser.parse_args([*words, "--device", "cpu"])) == 0
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["int8"]["num_tokens"] == 300
    assert 0 < figures["int8"]["mean_kld"] < 0.005
    assert figures["int8"]["top1_agreement"] > 0.95
    assert figures["int8"]["weights_bytes"] < 0.27 * figures["plain_bytes"]


def test_without_a_tokenizer_random_tokens_are_read(tmp_path) -> None:
    write_checkpoint(plan_checkpoint(SHAPES["tiny"].config(), tmp_path / "model"))
    model = load(str(tmp_path / "model"), device="cpu").model
    windows = windows_of(tmp_path / "model", model.vocab_size, 100, 64)
    assert [len(window) for window in windows] == [64, 36]
    same = compare(model, model, windows)
    assert (same.mean_kld, same.kld_999, same.top1_agreement) == (0.0, 0.0, 1.0)


@pytest.mark.slow
def test_a_tiny_model_is_quantized_run_and_mapped_again(tmp_path) -> None:
    words = [
        "--shape",
        "tiny-moe",
        "--prompt",
        "64",
        "--new",
        "4",
        "--threads",
        "1",
        "--weights",
        "int8",
    ]
    command = [sys.executable, "-m", "agent.cli", "bench", "plan", *words, "--folder", tmp_path]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True,
        text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert (figures["num_prompt"], figures["num_new"]) == (64, 4)
    assert figures["load_is_small"]
    assert figures["planned_bytes"] == pytest.approx(figures["weights_bytes"], rel=0.01)
    assert figures["plan_is_near"]
    assert list(tmp_path.glob("qwen-agent-plan-*")) == []


def test_a_plan_that_is_off_by_more_than_three_percent_fails(tmp_path, monkeypatch, capsys) -> None:
    def figures_with(planned: int, resident: int) -> dict[str, object]:
        """Return what is told where the processes measured this."""
        ran = {"weights_bytes": 10**9, "resident_bytes": resident, "loaded_bytes": 0}
        measured = {"_quantize": {"load_peak_bytes": 0}, "_run": ran}
        monkeypatch.setattr(bench_plan, "_in_child", lambda work, _trial: measured[work.__name__])
        monkeypatch.setattr(bench_plan, "_planned_bytes", lambda _plan, _kind: planned)
        parser = ArgumentParser()
        bench_plan.add_arguments(parser)
        words = ["--shape", "tiny", "--folder", str(tmp_path)]
        code = bench_plan.run(parser.parse_args(words))
        return {**json.loads(capsys.readouterr().out.splitlines()[-1]), "code": code}

    near = figures_with(planned=980_000_000, resident=1_000_000_000)
    assert (near["code"], near["plan_off_percent"], near["planned_bytes"]) == (0, -2.0, 980_000_000)
    assert figures_with(planned=960_000_000, resident=1_000_000_000)["code"] == 1
    assert figures_with(planned=1_000_000_000, resident=1_100_000_000)["code"] == 1


def test_a_shape_or_a_disk_that_is_not_there_is_said(tmp_path, monkeypatch, capsys) -> None:
    parser = ArgumentParser()
    bench_plan.add_arguments(parser)
    assert bench_plan.run(parser.parse_args(["--shape", "1t"])) == 2
    monkeypatch.setattr(bench_plan, "SPARE_BYTES", 1 << 60)
    assert bench_plan.run(parser.parse_args(["--shape", "tiny", "--folder", str(tmp_path)])) == 7
    assert "GB free and this needs" in capsys.readouterr().err
    assert list(tmp_path.glob("qwen-agent-plan-*")) == []
