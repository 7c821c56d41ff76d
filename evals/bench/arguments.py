"""The command lines of benchmarks: what they share, and how one is run alone.

A benchmark is a module with `add_arguments` and `run`: `qwen-agent bench NAME` (`suite.py`) or
`python -m evals.bench.NAME`. No torch in here.
"""

import argparse
import os
from collections.abc import Callable
from pathlib import Path


def run_alone(
    doc: str | None,
    add_arguments: Callable[[argparse.ArgumentParser], None],
    run: Callable[[argparse.Namespace], int],
) -> int:
    """Read the command line and run a benchmark; the first line of its `doc` describes it."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    add_arguments(parser)
    return run(parser.parse_args())


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Declare how many threads compute."""
    num_cores = len(os.sched_getaffinity(0))
    parser.add_argument("--threads", type=int, default=num_cores, metavar="N", help="default: all")


def add_llama(parser: argparse.ArgumentParser) -> None:
    """Declare the llama.cpp that is measured in the same run (`llama.py`)."""
    program = "also measure this llama-bench or llama-server, on --gguf"
    parser.add_argument("--llama", type=Path, metavar="PATH", help=program)
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="the same weights for it")
