"""The traces on tiny weights: every engine, counted against what has to be read."""

import io
import json
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from functools import partial
from pathlib import Path

import pytest
import torch

from evals.bench import fork, published, reuse, summary, trace
from evals.bench.adapter import Adapter, BenchFailed, InChild
from evals.bench.own import OwnEngine, open_engine
from evals.bench.peers import open_transformers
from evals.bench.rehearsal import Rehearsal, rehearse
from evals.bench.shapes import SHAPES, make_checkpoint
from evals.bench.text_trace import text_trace
from evals.bench.trace import GROUPS, Row, Run, Sizes, Trace, draw_trace, load_trace
from inference.loader import load
from inference.local import NANO_FOLDER
from inference.model import Model
from inference.tokenizer import Tokenizer

TINY = Sizes(num_base=64, num_shortest=12, num_longest=30, num_generated=4, num_thinking=4)
VOCAB = SHAPES["tiny"].vocab_size


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "tiny"
    return make_checkpoint(SHAPES["tiny"], folder, torch.float32)


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Model:
    return load(str(checkpoint), device="cpu", dtype="float32").model


@pytest.fixture(scope="module")
def material() -> Trace:
    return draw_trace(TINY, VOCAB)


def rows_of(engine: Adapter, material: Trace, groups: tuple[str, ...] = tuple(GROUPS)) -> list[Row]:
    rows: list[Row] = []
    run = Run(engine, material, TINY, rows.append)
    for group in groups:
        GROUPS[group](run)
    engine.close()
    return rows


@pytest.fixture(scope="module")
def own_rows(model: Model, material: Trace, tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return rows_of(OwnEngine(model, tmp_path_factory.mktemp("store"), material.opener), material)


@pytest.mark.slow
def test_every_case_is_asked(own_rows: list[Row]) -> None:
    assert {row.case for row in own_rows} >= set(published.LLAMA_CPP) | {
        trace.FORKED, trace.TOOL_LOOP, trace.SUB_AGENT, trace.PARENT, trace.BEST, trace.BEST_ON,
        trace.INTERLEAVED, trace.EDIT,
    }  # fmt: skip
    assert all(row.num_prefilled + row.num_reused == row.num_prompt for row in own_rows)
    assert all(row.num_generated in (4, 8) and row.ttft_s > 0 for row in own_rows)


@pytest.mark.slow
def test_our_engine_reads_exactly_the_new_tokens_where_nothing_diverged(
    own_rows: list[Row],
) -> None:
    kept = [row for row in own_rows if not row.diverges]
    assert len(kept) > 35
    assert [row for row in kept if row.num_prefilled > max(row.num_new, 1)] == []


@pytest.mark.slow
def test_our_engine_goes_back_no_further_than_the_message_where_history_diverged(
    own_rows: list[Row],
) -> None:
    diverged = [row for row in own_rows if row.diverges]
    assert len(diverged) > 8
    longest = TINY.num_longest + TINY.num_thinking
    assert [row for row in diverged if row.num_prefilled > row.num_new + longest] == []


def test_without_reuse_everything_is_read_every_time(model: Model, material: Trace) -> None:
    rows = rows_of(OwnEngine(model, None, material.opener), material, ("conversation", "restart"))
    assert all(row.num_reused == 0 for row in rows)


@pytest.mark.slow
def test_transformers_reads_what_an_engine_reads_that_keeps_its_last_line(
    checkpoint: Path, material: Trace
) -> None:
    groups = ("conversation", "tools", "restart")
    rows = rows_of(open_transformers(checkpoint, "float32", 1), material, groups)
    expected = rehearse("last", material, TINY, groups)
    assert [row.num_prefilled for row in rows] == [row.num_prefilled for row in expected]
    assert any(row.num_reused for row in rows)


@pytest.mark.slow
def test_our_engine_and_transformers_write_the_same_tokens(
    checkpoint: Path, model: Model, material: Trace, tmp_path: Path
) -> None:
    ours, theirs = OwnEngine(model, tmp_path, None), open_transformers(checkpoint, "float32", 1)
    ids = [*material.base, *material.chunk(0)]
    for turn in range(1, 4):
        reply = ours.ask(ids, 6)["tokens"]
        assert reply == theirs.ask(ids, 6)["tokens"]
        ids = ids + reply + list(material.close) + material.chunk(turn)
    ours.close()


def test_a_seed_draws_other_replies_and_the_same_ones_again(model: Model, tmp_path: Path) -> None:
    engine = OwnEngine(model, tmp_path, None)
    ids = list(range(20))
    first, second = (engine.ask(ids, 8, seed)["tokens"] for seed in (1, 2))
    assert first != second
    assert engine.ask(ids, 8, 1)["tokens"] == first
    engine.close()


def test_an_engine_in_a_child_forgets_by_a_restart_and_its_end_is_one_sentence(
    capfd: pytest.CaptureFixture[str],
) -> None:
    engine = InChild(partial(Rehearsal, "last"))
    reply = engine.ask([1, 2, 3], 2)["tokens"]
    ids = [1, 2, 3, *reply, 9]
    assert engine.ask(ids, 2)["cached_n"] == 4
    assert engine.restart()["restart_s"] > 0
    assert engine.ask(ids, 2)["cached_n"] == 0
    with pytest.raises(BenchFailed, match=r"process ended with 1"):
        engine.ask(ids, "many")
    engine.close()
    assert "TypeError" in capfd.readouterr().err


@pytest.mark.slow
def test_an_engine_that_keeps_all_reads_the_tokens_of_the_published_trace() -> None:
    material = draw_trace(Sizes(), 248_320)
    assert published.is_comparable(material)
    rows = rehearse("all", material, Sizes(), list(GROUPS))
    first = next(row for row in rows if row.case == trace.FIRST)
    assert first.num_prefilled == 8589
    for case, known in published.LLAMA_CPP.items():
        of_case = [row for row in rows if row.case == case]
        allowed = known.allowed(of_case)
        assert len(allowed) == len(of_case) > 0
        assert all(row.num_prefilled <= most for row, most in zip(of_case, allowed, strict=True)), (
            case
        )
    strips = [row for row in rows if row.case == trace.TOOL_STRIP]
    assert [row.num_new for row in strips] == [1280, 1266]


def test_messages_that_come_again_are_not_the_same(material: Trace) -> None:
    assert material.chunk(1) != material.chunk(41)
    assert material.chunk(1)[:4] == material.chunk(41)[:4]
    assert sorted(material.chunk(1)) == sorted(material.chunk(41))


def test_a_trace_of_text_has_the_drawn_lengths_and_one_opener(tmp_path: Path) -> None:
    sizes = Sizes(num_base=256, num_shortest=100, num_longest=140)
    tokenizer = Tokenizer.from_folder(NANO_FOLDER)
    text, drawn = text_trace(tokenizer, sizes), draw_trace(sizes, 1000)
    assert [len(chunk) for chunk in text.chunks] == [len(chunk) for chunk in drawn.chunks]
    assert len(text.base) == 256
    assert text.opener == tokenizer.control("<|im_start|>")
    file = tmp_path / "trace.json"
    words = {"base": text.base, "chunks": text.chunks, "close": text.close}
    file.write_text(json.dumps(words))
    assert load_trace(file) == text


@pytest.mark.parametrize("content", ["", "[]", '{"base": [1]}', '{"base": 1, "chunks": []}'])
def test_a_file_that_is_no_trace_is_refused_in_one_sentence(content: str, tmp_path: Path) -> None:
    file = tmp_path / "trace.json"
    file.write_text(content)
    with pytest.raises(BenchFailed, match=r"is no trace"):
        load_trace(file)


def measured(engine: str, ttft_s: float, num_prefilled: int) -> summary.Measured:
    row = Row(trace.BACK, 1, 9000, 251, False, num_prefilled, 9000 - num_prefilled, 32, ttft_s,
              ttft_s, 10.0, 1)  # fmt: skip
    return summary.Measured(engine, 8192, 0, row)


def test_what_falls_short_is_said() -> None:
    good = [measured("ours", 2.0, 251), measured("transformers", 50.0, 9000)]
    assert summary.shortfalls(summary.summarise(good, {8192: True})) == []
    bad = [measured("ours", 9.0, 4500), measured("transformers", 8.0, 9000)]
    words = " ".join(summary.shortfalls(summary.summarise(bad, {8192: True})))
    assert "than the new tokens" in words
    assert "than llama.cpp read" in words
    assert "than from transformers" in words
    assert "under 5x" in words
    (ours, _) = summary.summarise(good, {8192: True})
    assert ours.times_transformers == 25
    assert ours.times_published == pytest.approx(19.2)


@pytest.mark.slow
def test_the_command_prints_a_table_and_one_line_of_json(checkpoint: Path) -> None:
    words = ["--model", str(checkpoint), "--base", "64", "--dtype", "float32", "--threads", "1"]
    words += ["--engines", "ours", "--cases", "edit", "--json"]
    parser = ArgumentParser()
    reuse.add_arguments(parser)
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        assert reuse.run(parser.parse_args(words)) == 0
    (line,) = out.getvalue().splitlines()
    report = json.loads(line)
    assert [case["case"] for case in report["cases"]] == [trace.EDIT]
    assert report["machine"]["num_threads"] == 1
    assert report["cases"][0]["peak_rss_bytes"] > 2**20
    assert "64-token base" in err.getvalue()
    assert "s left" in err.getvalue()


@pytest.mark.slow
def test_a_stop_leaves_what_there_is(checkpoint: Path, tmp_path: Path) -> None:
    plan = reuse.Plan(
        checkpoint, ("ours", "cold"), ("edit",), (Sizes(num_base=64),), "float32", 1, 1, seed=0
    )

    def stop_at_the_third(words: str) -> None:
        if "(opening) 3" in words:
            raise KeyboardInterrupt

    outcome = reuse.carry_out(plan, tmp_path, stop_at_the_third)
    assert outcome.is_interrupted
    assert [result.row.turn for result in outcome.results] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--llama-server", "/bin/true"], "go together"),
        (["--shape", "huge"], "is no shape"),
        (["--model", "/nowhere"], "holds no model"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(words: list[str], sentence: str) -> None:
    parser = ArgumentParser()
    reuse.add_arguments(parser)
    err = io.StringIO()
    with redirect_stderr(err):
        assert reuse.run(parser.parse_args(words)) == 2
    assert sentence in err.getvalue()
    assert len(err.getvalue().splitlines()) == 1


def test_a_fork_holds_its_state_and_no_copy_of_the_line(model: Model, tmp_path: Path) -> None:
    figures = fork.measure(model, 2048, tmp_path)
    state = open_engine(model, None).branch([1], lambda: False).state.snapshot()
    assert figures["state_bytes"] == state.state_nbytes
    assert figures["page_bytes"] == 256 * 2 * 2 * 32 * 4
    assert isinstance(figures["fork_s"], dict)
