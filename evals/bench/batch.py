"""How much more is written a second when replies of several lines are read together?

Method: a model of the true shape with random weights reads a prompt; so many lines go on from it,
each drawing with a seed of its own. One run writes the tokens of one line alone, then those of all
lines in step, one forward for all; 1 warm-up, then runs of both in turns, medians. The ceiling is
measured before: all matrices of the model times M rows, one after another, for M = 1, 2, 4, 8. The
weights are read once whatever M is, so M rows cost less than M times one; that ratio is the most
that lines together can gain. Last line with --json: figures and machine.
"""

import argparse
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence

import torch
from torch import nn
from torch.nn import functional
from transformers import AutoModelForCausalLM

from evals.bench.arguments import run_alone
from evals.bench.machine import describe_machine
from evals.bench.shapes import SHAPES
from inference.branch import Branch
from inference.door import GenerationEnd, Token
from inference.engine import Engine
from inference.messages import Prefill, SamplingOptions
from inference.model import Model

NUM_ROWS = (1, 2, 4, 8)
WANTED = 1.7
"""Times the tokens a second of one line, with four."""
DTYPES = {"bfloat16": torch.bfloat16, "float32": torch.float32}
Reply = tuple[Branch, Iterator[Prefill | Token | GenerationEnd]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `bench batch`."""
    add = parser.add_argument
    add("--shape", default="0.8b", metavar="SIZE", help="0.8b (default), 2b, tiny, ...")
    add("--dtype", choices=tuple(DTYPES), default="bfloat16", help="of the weights")
    add("--lines", type=int, default=4, metavar="N", help="written together (4)")
    add("--prompt", type=int, default=512, metavar="N", help="tokens that they share (512)")
    add("--new", type=int, default=16, metavar="N", help="tokens of each line and run (16)")
    add("--runs", type=int, default=5, metavar="N", help="of both ways, in turns (5)")
    add("--json", action="store_true", help="end with a line of JSON")
    num_cores = len(os.sched_getaffinity(0))
    add("--threads", type=int, default=num_cores, metavar="N", help="default: all")


def run(arguments: argparse.Namespace) -> int:
    """Measure, and print the figures."""
    if arguments.shape not in SHAPES:
        print(f"qwen-agent: {arguments.shape} is none of {', '.join(SHAPES)}.", file=sys.stderr)
        return 2
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    config = SHAPES[arguments.shape].config()
    make = AutoModelForCausalLM.from_config
    model = Model(make(config, dtype=DTYPES[arguments.dtype]))  # type: ignore[no-untyped-call]
    ceilings = {rows: rows / _products_s(model, rows, arguments.runs) for rows in NUM_ROWS}
    for rows, speed in ceilings.items():
        gain = speed / ceilings[1]
        print(f"{rows} rows times all matrices{speed:10.1f} rows a second, {gain:.2f} times one")
    alone, joined = _measured(model, arguments)
    gain = joined / alone
    print(f"one line by itself        {alone:10.1f} tokens a second")
    words = f"{arguments.lines} lines together"
    print(f"{words:26}{joined:10.1f} tokens a second, {gain:.2f} times")
    if arguments.json:
        figures = {
            "bench": "batch",
            "shape": arguments.shape,
            "dtype": arguments.dtype,
            "num_lines": arguments.lines,
            "num_prompt": arguments.prompt,
            "num_runs": arguments.runs,
            "rows_per_s": {str(rows): round(speed, 2) for rows, speed in ceilings.items()},
            "alone_tok_s": round(alone, 2),
            "together_tok_s": round(joined, 2),
            "gain": round(gain, 3),
            "wanted": WANTED,
        }
        print(json.dumps({**figures, "machine": describe_machine(arguments.threads)}))
    return 0


def _products_s(model: Model, num_rows: int, num_runs: int) -> float:
    """Return the seconds of all products of a forward of so many rows, each matrix read anew."""
    weights = [layer.weight for layer in model.module.modules() if isinstance(layer, nn.Linear)]
    inputs = {
        width: torch.ones(num_rows, width, dtype=model.dtype) for _, width in map(_size, weights)
    }
    seconds = []
    with torch.inference_mode():
        for _ in range(num_runs + 1):
            start = time.perf_counter()
            for weight in weights:
                functional.linear(inputs[weight.shape[1]], weight)
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds[1:])


def _size(weight: torch.Tensor) -> tuple[int, int]:
    return weight.shape[0], weight.shape[1]


def _measured(model: Model, arguments: argparse.Namespace) -> tuple[float, float]:
    """Return the tokens a second of one line, and of all together; medians of runs in turns."""
    engine = Engine(model, cache_bytes=1 << 28)
    prompt = random.Random(0).choices(range(model.vocab_size), k=arguments.prompt)
    first = engine.branch(prompt, _never)
    speeds: list[tuple[float, float]] = []
    for _ in range(arguments.runs + 1):
        alone = _speed(engine, first, 1, arguments.new)
        speeds.append((alone, _speed(engine, first, arguments.lines, arguments.new)))
    one, all_lines = zip(*speeds[1:], strict=True)
    return statistics.median(one), statistics.median(all_lines)


def _speed(engine: Engine, first: Branch, num_lines: int, num_new: int) -> float:
    """Return the tokens a second, the first of each line left out: nothing is read for it."""
    replies = [_begun(engine, engine.fork(first), seed, num_new) for seed in range(num_lines)]
    _in_step(engine, replies)
    start = time.perf_counter()
    for _ in range(num_new - 1):
        _in_step(engine, replies)
    seconds = time.perf_counter() - start
    for _, events in replies:
        assert isinstance(next(events), GenerationEnd)
    return num_lines * (num_new - 1) / seconds


def _begun(engine: Engine, branch: Branch, seed: int, num_new: int) -> Reply:
    sampling = SamplingOptions(temperature=1.0, seed=seed)
    return branch, engine.generate(branch, (), sampling, max_new_tokens=num_new, cancel=_never)


def _in_step(engine: Engine, replies: Sequence[Reply]) -> None:
    """Let each reply go on by a token, as the host does with those that are asked for at once."""
    offering = [branch for branch, _ in replies if branch.offered is not None]
    if len(offering) > 1:
        engine.together.read(offering)
    for _, events in replies:
        assert isinstance(next(events), Token)


def _never() -> bool:
    return False


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
