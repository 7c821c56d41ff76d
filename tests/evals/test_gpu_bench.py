"""The script for a GPU, at a tiny shape on the CPU: every stage, and what stops one."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

import pytest
import torch

from evals.bench import gpu
from evals.bench.random_model import random_model
from evals.bench.shapes import SHAPES

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def run(out: Path, *words: str) -> tuple[int, dict[str, Any]]:
    parser = ArgumentParser()
    gpu.add_arguments(parser)
    common = ["--device", "cpu", "--threads", "1", "--out", str(out)]
    code = gpu.run(parser.parse_args([*common, *words]))
    return code, json.loads(out.read_text())


@pytest.mark.slow
def test_both_kinds_of_model_go_through_every_stage(tmp_path: Path, capsys: Any) -> None:
    words = ["--shape", "tiny", "tiny-moe", "--window", "768", "--turns", "7"]
    code, report = run(tmp_path / "gpu.json", *words)
    assert code == 0
    assert json.loads(capsys.readouterr().out)["figures"] == report["figures"]
    assert report["beside"]["failures"] == []
    found = {}
    for figure in report["figures"]:
        found.setdefault(figure["name"], []).append(figure["at"])
    for shape in ("tiny", "tiny-moe"):
        assert report["beside"][f"{shape} few tokens"], "the name of what reads them"
        assert found[f"{shape} decode"] == [0, 96, 384, 512]
        assert found[f"{shape} prefill"] == [6, 48, 192, 512]
        assert found[f"{shape} warm time to first token"] == [114, 300]
        assert {f"{shape} {name}" for name in ("fork", "restore", "growth over 2 turns")} <= {
            *found
        }
    weights = [one["value"] for one in report["figures"] if "weights beside plan" in one["name"]]
    assert weights == pytest.approx([100, 100], abs=0.5)


def test_what_stops_a_shape_is_said_and_the_figures_before_it_stay(tmp_path: Path) -> None:
    code, report = run(tmp_path / "gpu.json", "--shape", "27b", "--cap", "1")
    assert code == 1
    assert report["figures"] == []
    assert "27b with 262,144 tokens needs" in report["beside"]["failures"][0]


def test_a_random_model_is_as_large_as_planned_and_says_numbers() -> None:
    model = random_model(SHAPES["tiny"].config(), CPU, torch.float32, "nf4", "int8")
    logits = model.forward_all(list(range(40)), model.new_state())
    assert logits.isfinite().all()
    assert 0.01 < logits.std() < 10, "like those of a fresh model"
    again = random_model(SHAPES["tiny"].config(), CPU, torch.float32, "nf4", "int8")
    assert torch.equal(again.forward_all(list(range(40)), again.new_state()), logits)
