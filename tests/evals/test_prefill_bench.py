"""The benchmarks of prompts and turns run what they say, and judge by what a machine can do."""

import argparse
from dataclasses import replace

import pytest

from evals.bench.prefill import Trial, judge, taken_in_turns
from evals.bench.random_model import plain_model
from evals.bench.roofline import Ceilings, prefill_work
from evals.bench.shapes import SHAPES
from evals.bench.turns import measure
from inference.footprint import Footprint
from inference.shapes import shape_of

ARGUMENTS = argparse.Namespace(shape="0.8b", layers=None)


def test_sides_take_turns_and_a_slow_one_is_asked_once() -> None:
    asked: list[str] = []

    def side(name: str, seconds: float) -> float:
        asked.append(name)
        return seconds

    readers = {"ours": lambda _: side("ours", 90.0), "slow": lambda _: side("slow", 61.0)}
    seconds = taken_in_turns(readers, [1, 2], num_runs=3, patience_s=60.0)
    assert asked == ["ours", "slow", "ours", "ours"]
    assert seconds == {"ours": [90.0] * 3, "slow": [61.0]}


@pytest.mark.parametrize(("ours_s", "is_reached"), [(1.0, True), (1.1, False)])
def test_a_prompt_is_judged_beside_transformers_and_the_ceiling(
    ours_s: float, is_reached: bool
) -> None:
    """2,048 tokens in a second, beside 2.6: just the goal, where products take half of it."""
    footprint = Footprint(shape_of(SHAPES["0.8b"].config().to_dict()), is_gpu=False)
    peak = 2.0 * prefill_work(footprint, 2048).linear_flops
    trial = Trial(2048, {"ours": [ours_s] * 5, "transformers bfloat16": [2.6]})
    report, found = judge([trial], footprint, Ceilings(1e9, {"float32": peak}), ARGUMENTS)
    assert found is is_reached
    ours, theirs = report.figures
    assert (ours.n, theirs.n, ours.at) == (5, 1, 2048)
    assert report.beside["verdicts"][0].startswith(f"2,048 tokens: {2.6 / ours_s:.2f} times")
    assert ours.share == pytest.approx(theirs.share * 2.6 / ours_s)


def test_a_turn_reads_only_its_own_tokens_after_a_past_that_was_drawn() -> None:
    model = plain_model(replace(SHAPES["tiny"], vocab_size=512).config())
    read: list[int] = []
    model.module.register_forward_pre_hook(
        lambda _module, _args, options: read.append(options["input_ids"].shape[1]),
        with_kwargs=True,
    )
    found = measure(model, num_cached=300, num_new=70, num_runs=2)
    # One to see what a state is like, which few tokens may do elsewhere, and one to warm up.
    assert read in ([2, 70, 70, 70], [70, 70, 70])
    assert {name: len(samples) for name, samples in found.items()} == {
        "turn": 2,
        "products": 2,
        "attention": 2,
        "beside the forward": 2,
    }
    assert all(turn > 0 for turn in found["turn"])
