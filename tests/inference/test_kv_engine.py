"""An engine with keys and values in few bits: what it says of itself, and what it finds again."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from agent.stored import read_stored
from evals.bench.shapes import SHAPES, make_checkpoint
from inference.door import EngineSettings, GenerationEnd, KvChoice
from inference.errors import ModelUnavailable
from inference.loader import load
from inference.opened import INT4_WARNING, OpenedEngine, open_engine
from tests.inference.long_lines import ask, drawn

PROMPT = drawn(5, 700, 512)
Open = Callable[[KvChoice], OpenedEngine]


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(SHAPES["tiny"], tmp_path_factory.mktemp("tiny") / "model", torch.float32)


@pytest.fixture
def opened(checkpoint: Path, tmp_path: Path) -> Open:
    def open_one(kv: KvChoice) -> OpenedEngine:
        settings = EngineSettings(
            str(checkpoint), "cpu", store_folder=str(tmp_path), store_bytes=1 << 30, kv=kv
        )
        return open_engine(settings)

    return open_one


def answer(opened: OpenedEngine, prompt: tuple[int, ...] = PROMPT) -> GenerationEnd:
    end = ask(opened.engine, prompt)
    opened.engine.close()
    return end


def test_4_bits_are_warned_of_once_and_8_are_not(opened: Open) -> None:
    first = opened("int4")
    assert ask(first.engine, PROMPT).notices == (INT4_WARNING,)
    assert not answer(first).notices
    assert not answer(opened("int8")).notices


@pytest.mark.parametrize(("kv", "head_nbytes"), [("auto", 128), ("int8", 34), ("int4", 20)])
def test_the_memory_that_is_told_is_that_of_what_is_kept(
    opened: Open, kv: KvChoice, head_nbytes: int
) -> None:
    memory = answer(opened(kv)).memory
    assert memory is not None
    pages, heads = 3, 1 * 2 * 2  # a layer, keys and values, heads
    assert memory.kv_bytes == pages * 256 * heads * head_nbytes


@pytest.mark.parametrize("kv", ["int8", pytest.param("int4", marks=pytest.mark.slow)])
def test_after_a_restart_the_very_same_is_said_and_nothing_read_again(
    opened: Open, kv: KvChoice
) -> None:
    before = opened(kv)
    first = ask(before.engine, PROMPT)
    line = PROMPT + first.token_ids + (1, 2, 3)
    branch = before.engine.branch(line, lambda: False)
    before.engine.close()
    after = opened(kv).engine
    again = after.branch(line, lambda: False)
    assert again.num_unreported == 0
    assert torch.equal(again.logits, branch.logits)
    expected = before.engine.model.forward((7, 8), branch.state)
    assert torch.equal(after.model.forward((7, 8), again.state), expected)
    start, end = len(PROMPT), len(line)
    assert torch.equal(
        again.state.table.copy_out(start, end), branch.state.table.copy_out(start, end)
    )
    after.close()


def test_states_of_one_kind_are_not_found_by_another_and_all_are_listed(
    opened: Open, tmp_path: Path
) -> None:
    for kv in ("16bit", "int8", "int4"):
        assert answer(opened(kv)).usage.num_prefilled == len(PROMPT)
    kinds = {model.identity["kv_dtype"] for model in read_stored(tmp_path)}
    assert kinds == {"float32", "int8", "int4 rotated"}


def test_heads_that_cannot_be_rotated_are_refused_4_bits(tmp_path: Path) -> None:
    config = transformers.Qwen3Config(
        vocab_size=64, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=24,
    )  # fmt: skip
    transformers.AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    with pytest.raises(ModelUnavailable, match="hold 24 numbers, and int4 needs a power of two"):
        load(str(tmp_path), device="cpu", kv="int4")
    assert load(str(tmp_path), device="cpu", kv="int8").model.pool.shape.kind == "int8"
