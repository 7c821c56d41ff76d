"""The command lines of benchmarks: what cannot be measured is refused before anything is."""

import argparse
import importlib
import multiprocessing
import os
import signal
from contextlib import suppress

import pytest

from agent.arguments import Parser
from agent.errors import UsageError
from evals.bench import speculate
from evals.bench.adapter import BenchFailed
from evals.bench.children import child
from evals.bench.suite import BENCHES


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = Parser(prog=f"qwen-agent bench {name}")
    importlib.import_module(f"evals.bench.{BENCHES[name][0]}").add_arguments(parser)
    return parser


@pytest.mark.parametrize("name", BENCHES)
def test_no_number_lets_a_benchmark_fail_later(name: str) -> None:
    """Every option that takes a number has a least one, but for seeds of what is drawn."""
    parser = parser_of(name)
    for action in parser._actions:
        if action.type is int or action.type is float:
            assert action.dest == "seed"
        elif action.type is not None and action.metavar == "N":
            with pytest.raises(UsageError, match=f"argument {action.option_strings[0]}: '-1' is"):
                parser.parse_args([f"{action.option_strings[0]}=-1"])


@pytest.mark.parametrize(
    ("name", "words", "reason"),
    [
        ("decode", "--threads 0", "'0' is not a whole number from 1 on"),
        ("batch", "--new 1", "'1' is not a whole number from 2 on"),
        ("turns", "--contexts 512 0", "'0' is not a whole number from 1 on"),
        ("prefill", "--layers 0", "'0' is not a whole number from 1 on"),
        ("prefill", "--layers 6", "'6' is not a multiple of 4: every fourth layer is"),
        ("gpu", "--minutes nan", "'nan' is not a number above 0"),
        ("gpu", "--cap -1", "'-1' is not a number above 0"),
        ("gpu", "--window 511", "'511' is not a whole number from 512 on"),
        ("trace", "--base 8192 8", "'8' is not a whole number from 16 on"),
        ("kv", "--windows many", "'many' is not a whole number from 1 on"),
        ("decode", "--checkpoint /proc", "'/proc' has no config.json"),
        ("trace", "--trace /proc/x", "'/proc/x' is no file"),
    ],
)
def test_what_cannot_be_measured_is_named(name: str, words: str, reason: str) -> None:
    with pytest.raises(UsageError, match=reason) as caught:
        parser_of(name).parse_args(words.split())
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("words", ["--random 1", "--runs 5000"])
def test_parts_that_are_too_short_to_be_timed_are_refused(words: str) -> None:
    with pytest.raises(UsageError, match="2 tokens"):
        speculate.forced(parser_of("speculate").parse_args(words.split()))


def test_none_is_a_number_where_a_part_can_be_left_out() -> None:
    words = ["--lines", "0", "--random", "0", "--seeds", "0", "--layers", "4"]
    chosen = parser_of("speculate").parse_args(words)
    assert (chosen.lines, chosen.random, chosen.seeds, chosen.layers) == (0, 0, 0, 4)


def test_a_child_is_deaf_to_ctrl_c_and_is_ended_with_its_benchmark() -> None:
    others = {*multiprocessing.active_children()}
    with suppress(KeyboardInterrupt), child() as one:
        (process,) = {*multiprocessing.active_children()} - others
        assert process.pid is not None
        for number in range(2):  # while it begins, and while it works
            os.kill(process.pid, signal.SIGINT)
            assert one.do(abs, -number) == number
        raise KeyboardInterrupt
    assert not process.is_alive()


def test_what_fails_in_a_child_is_told() -> None:
    with child() as one:
        with pytest.raises(ValueError, match="invalid literal") as caught:
            one.do(int, "many")
        assert "work(*words)" in caught.value.__notes__[0]
        with pytest.raises(BenchFailed, match="A process ended with 3;"):
            one.do(os._exit, 3)
