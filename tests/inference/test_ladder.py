"""A line can be left cheaply near its end: a rung lies at most 2,048 tokens before."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from inference.door import FINE_LADDER_TOKENS, FINE_TOKENS, LADDER_TOKENS
from inference.engine import Engine
from inference.model import Model
from tests.inference.long_lines import GREEDY, ask, cold, drawn, engine_on, narrow_model, never

LINE = drawn(1, 70_000)
ROOMY = 1 << 30
NEW = 5


@pytest.fixture(scope="module")
def model() -> Model:
    return narrow_model()


def left_at(line: tuple[int, ...], cut: int) -> tuple[int, ...]:
    """A prompt of `NEW` new tokens that leaves a line after `cut` of its tokens."""
    return (*line[:cut], (line[cut] + 1) % 97, *drawn(cut, NEW - 1))


def num_again(engine: Engine, line: tuple[int, ...], cut: int) -> int:
    """How many tokens are read again to leave a line there."""
    return ask(engine, left_at(line, cut), 1).usage.num_prefilled - NEW


def after(num_calls: int) -> Callable[[], bool]:
    calls = count()
    return lambda: next(calls) >= num_calls


@pytest.mark.parametrize("num_before_end", [16_384, 16_383, 14_710, 14_337, 2_049, 1])
@pytest.mark.slow
def test_the_end_of_a_prompt_can_be_left_anywhere(model: Model, num_before_end: int) -> None:
    engine = Engine(model, cache_bytes=ROOMY)
    ask(engine, LINE, 1)
    assert num_again(engine, LINE, len(LINE) - num_before_end) < FINE_LADDER_TOKENS


@pytest.mark.slow
def test_a_line_that_grew_while_it_was_written_can_be_left_anywhere_near_its_end(
    model: Model,
) -> None:
    engine = Engine(model, cache_bytes=ROOMY)
    prompt = LINE[:33_000]
    line = prompt + ask(engine, prompt, 3_500).token_ids
    for num_before_end in (16_300, 9_000, 2_100):
        assert num_again(engine, line, len(line) - num_before_end) < FINE_LADDER_TOKENS


def test_a_prompt_that_was_cancelled_can_be_left_anywhere_near_where_it_stopped(
    model: Model,
) -> None:
    engine = Engine(model, cache_bytes=ROOMY)
    num_read = ask(engine, LINE[:60_000], cancel=after(60)).usage.num_prefilled
    assert 30_000 < num_read < 32_000
    for cut in (num_read - 2_101, 24_570, num_read - FINE_TOKENS):
        assert num_again(engine, LINE, cut) < FINE_LADDER_TOKENS


@pytest.mark.slow
def test_a_line_that_was_gone_back_to_can_be_left_near_its_new_end(model: Model) -> None:
    engine = Engine(model, cache_bytes=ROOMY)
    ask(engine, LINE[:60_000], 1, marks=(24_000,))
    line = LINE[:24_000] + drawn(7, 300)
    assert ask(engine, line, 20).usage.num_prefilled == 300
    assert num_again(engine, line, 22_500) < FINE_LADDER_TOKENS


@pytest.mark.slow
def test_a_fork_can_be_left_near_its_end_after_its_parent_went_far_on(model: Model) -> None:
    engine = Engine(model, cache_bytes=ROOMY)
    parent = engine.branch(LINE[:24_000], never)
    fork = engine.fork(parent)
    engine.branch(LINE[:60_000], never, live=parent)
    end = ask(engine, left_at(LINE, 22_500), 1, live=fork)
    assert end.usage.num_prefilled - NEW < FINE_LADDER_TOKENS


@pytest.mark.slow
def test_after_a_restart_the_end_of_a_line_can_be_left_anywhere(
    model: Model, tmp_path: Path
) -> None:
    engine = engine_on(model, tmp_path, [])
    ask(engine, LINE, 1)
    engine.close()
    for cut in (54_100, 56_000, 69_990):
        engine = engine_on(model, tmp_path, [])
        assert num_again(engine, LINE, cut) < FINE_LADDER_TOKENS
        engine.close()
    engine = engine_on(model, tmp_path, [])
    assert num_again(engine, LINE, 40_959) < LADDER_TOKENS
    engine.close()


@pytest.mark.slow
def test_after_a_cancel_and_a_restart_nothing_is_read_again(model: Model, tmp_path: Path) -> None:
    engine = engine_on(model, tmp_path, [])
    num_read = ask(engine, LINE[:60_000], cancel=after(79)).usage.num_prefilled
    engine.close()
    engine = engine_on(model, tmp_path, [])
    end = ask(engine, LINE[:60_000], 4)
    assert end.usage.num_prefilled == 60_000 - num_read
    assert end.token_ids == cold(model, LINE[:60_000], 4)
    engine.close()


@pytest.mark.slow
def test_where_memory_is_short_what_is_far_from_all_ends_goes_first(model: Model) -> None:
    one = model.new_state()
    model.forward(LINE[:10], one)
    num_pages = -(-len(LINE) // 256) + 1
    room = num_pages * model.pool.page_nbytes + 24 * one.snapshot().state_nbytes
    engine = Engine(model, cache_bytes=room)
    branch = engine.find(())
    list(engine.generate(branch, LINE[:50_000], GREEDY, max_new_tokens=0, cancel=never))
    lengths = sorted(node.length for node in engine.snapshots.holders())
    near = 50_000 - FINE_TOKENS - FINE_LADDER_TOKENS
    assert [n for n in lengths if n > near] == [
        *range(near // 2048 * 2048 + 2048, 50_000, 2048),
        50_000,
    ]
    assert {n for n in range(8192, near, 8192)} <= set(lengths)


@pytest.mark.slow
def test_what_a_line_held_is_let_go_with_it_when_the_next_prompt_comes(model: Model) -> None:
    engine = Engine(model, cache_bytes=2_000_000)
    branch = engine.branch(LINE[:60_000], never, marks=range(1_000, 60_000, 1_000))
    del branch
    engine.find(LINE[:500])
    assert engine.snapshots.nbytes <= 2_000_000
