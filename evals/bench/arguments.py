"""The command lines of benchmarks: what they share, and how one is run alone.

A benchmark is a module with `add_arguments` and `run`: `qwen-agent bench NAME` (`suite.py`) or
`python -m evals.bench.NAME`. No torch in here.
"""

import argparse
import math
import os
from collections.abc import Callable
from pathlib import Path

from agent.errors import UsageError

PERIOD = 4
"""Layers that a model is made of over and over: three linear ones, then one of full attention."""


def at_least(least: int) -> Callable[[str], int]:
    """Return what reads a whole number that is not smaller."""

    def read(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least} on")
        return number

    return read


count = at_least(1)
"""Reads how many there are of something."""


def positive(text: str) -> float:
    """Read a number above zero."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def layers(text: str) -> int:
    """Read how many layers a model is to have: whole periods."""
    number = count(text)
    if number % PERIOD:
        words = f"{text!r} is not a multiple of {PERIOD}: every fourth layer is one of attention"
        raise argparse.ArgumentTypeError(words)
    return number


def file(text: str) -> Path:
    """Read the name of a file that is there, before anything long is begun."""
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"{text!r} is no file")
    return Path(text)


def checkpoint(text: str) -> Path:
    """Read the name of a folder that holds a model."""
    if not (Path(text) / "config.json").is_file():
        raise argparse.ArgumentTypeError(f"{text!r} has no config.json; give a checkpoint's folder")
    return Path(text)


def run_alone(
    doc: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
) -> int:
    """Read the command line and run a benchmark; the first line of its `doc` describes it."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    add_arguments(parser)
    try:
        return run(parser.parse_args())
    except UsageError as error:
        parser.error(str(error))


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare how many threads compute."""
    num_cores = len(os.sched_getaffinity(0))
    parser.add_argument(
        "--threads", type=count, default=num_cores, metavar="N", help="default: all"
    )


def add_llama(parser: argparse.ArgumentParser) -> None:
    """Declare the llama.cpp that is measured in the same run (`llama.py`)."""
    program = "also measure this llama-bench or llama-server, on --gguf"
    parser.add_argument("--llama", type=Path, metavar="PATH", help=program)
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="the same weights for it")
