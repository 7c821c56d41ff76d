"""The bundled nano model: it is what its profile says, and it repairs what it never saw.

The claim itself (95 of 100 held-out seeds) is measured by `qwen-agent eval nano`; here a few
seeds show that the whole chain works, and that nothing but the weights does the repairing.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from evals.nano.corpus import HELD_OUT, generate
from evals.nano.evaluate import NanoReport, Settings, evaluate
from evals.nano.rendering import REPAIR, rendering_hash, sample_session
from evals.nano.sessions import ideal_session
from evals.nano.warm import WarmPytest
from inference.local import NANO_FOLDER, LocalChat, open_chat
from inference.profiles import NANO
from inference.tokenizer import Tokenizer
from inference.transcript import Transcript
from sandbox.choose import choose

GREEDY = Settings()
SEEDS = range(HELD_OUT + 500, HELD_OUT + 504)


def run(chat: LocalChat, seeds: range, settings: Settings = GREEDY) -> NanoReport:
    return evaluate(seeds, settings, lambda _request: chat, lambda _task: None)


@pytest.fixture(scope="module")
def report() -> NanoReport:
    return run(open_chat("nano"), SEEDS)


def test_the_words_are_those_that_nano_was_trained_on(tmp_path: Path) -> None:
    profile = json.loads((NANO_FOLDER / "profile.json").read_text())
    transcript = Transcript(Tokenizer.from_folder(NANO_FOLDER), NANO)
    assert (
        rendering_hash(tmp_path, choose("bubblewrap"), transcript) == (profile["rendering_sha256"])
    ), "a prompt, a tool or a result has other words now: train nano again (docs/nano.md)"


@pytest.mark.slow
def test_training_sessions_read_as_real_ones_do(tmp_path: Path) -> None:
    (tmp_path / "warm").mkdir()
    (tmp_path / "real").mkdir()
    warm = sample_session(tmp_path / "warm", WarmPytest())
    real = sample_session(tmp_path / "real", choose("bubblewrap"))
    assert warm == real


def test_the_sample_session_meets_good_and_failed_calls(tmp_path: Path) -> None:
    texts = [m.content for m in sample_session(tmp_path, WarmPytest()) if m.role == "tool"]
    assert texts[0].startswith("1 failed, 1 passed.")
    assert "No match." in texts
    assert any("not found" in text for text in texts)
    assert any("occurs 2 times" in text for text in texts)
    assert texts[-1] == "2 passed."
    assert REPAIR.new_str in "".join(texts)


def test_a_training_session_ends_green(tmp_path: Path) -> None:
    messages = ideal_session(generate(16), tmp_path, WarmPytest())
    assert messages[-1].tool_calls[0].name == "finish"  # type: ignore[union-attr]
    assert messages[-2].content.endswith("passed.")


def test_nano_repairs_repositories_it_never_saw(report: NanoReport) -> None:
    assert report.n == len(SEEDS)
    assert report.fixed >= 3  # of four; how many of a hundred: README
    for task in report.tasks:
        assert task.num_prompt == task.num_reused + task.num_prefilled
        assert task.num_prefilled + task.num_generated <= task.transcript_tokens + task.num_turns


@pytest.mark.slow
def test_without_reuse_the_same_repairs_come_out_and_more_is_read(report: NanoReport) -> None:
    without = run(open_chat("nano", reuse=False), SEEDS[:1], Settings(reuse=False))
    for task, same in zip(without.tasks, report.tasks, strict=False):
        assert task.replies_sha256 == same.replies_sha256
        assert task.num_reused == 0
        assert task.num_prefilled > 2 * same.num_prefilled


@pytest.mark.slow
def test_zeroed_weights_repair_nothing(tmp_path: Path) -> None:
    folder = broken_nano(tmp_path, lambda weight: weight * 0)
    report = run(open_chat(folder), SEEDS[:1], Settings(model=str(folder)))
    assert report.fixed == 0


def broken_nano(tmp_path: Path, change: Callable) -> Path:  # type: ignore[type-arg]
    folder = tmp_path / "changed"
    shutil.copytree(NANO_FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    weights = load_file(folder / "model.safetensors")
    changed = {name: change(weight) for name, weight in weights.items()}
    save_file(changed, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_nano_carries_the_draft_layer_under_the_familys_names() -> None:
    names = set(load_file(NANO_FOLDER / "model.safetensors"))
    assert {"mtp.fc.weight", "mtp.norm.weight", "mtp.pre_fc_norm_hidden.weight"} <= names
    assert "mtp.layers.0.self_attn.q_proj.weight" in names
