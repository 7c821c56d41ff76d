"""How much more is written a second when replies of several lines are read together?

Method: a model of the true shape with random weights reads a prompt; so many lines go on from it,
each drawing with a seed of its own. One run writes the tokens of one line alone, then those of all
lines in step, one forward for all; 1 warm-up, then runs of both in turns, medians. That is done for
each kind of weights, and the fastest together is held against the fastest alone. The ceiling is
measured before: all matrices of the model times M rows, one after another, for M = 1, 2, 4, 8. The
weights are read once whatever M is, so M rows cost less than M times one; that ratio is the most
that lines together can gain. Last line: JSON, figures and machine.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import nn

from evals.bench.arguments import add_threads, at_least, count, run_alone
from evals.bench.random_model import KINDS, model_of_kind
from evals.bench.roofline import Figure, Report, seconds_of
from evals.bench.shapes import SHAPES
from inference.branch import Branch
from inference.chat import never
from inference.decode_step import matrices_of
from inference.door import GenerationEnd, Token
from inference.engine import Engine
from inference.messages import Prefill, SamplingOptions
from inference.model import Model
from inference.quantize import StackLinear

NUM_ROWS = (1, 2, 4, 8)
WANTED = 1.7
"""Times the tokens a second of one line, with four."""
Reply = tuple[Branch, Iterator[Prefill | Token | GenerationEnd]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare those of `bench batch`."""
    add = parser.add_argument
    add("--shape", default="0.8b", choices=SHAPES, help="of the model (0.8b)")
    add("--weights", nargs="+", choices=KINDS, default=["int8", "nf4"], help="(int8 nf4)")
    add("--lines", type=count, default=4, metavar="N", help="written together (4)")
    add("--prompt", type=count, default=512, metavar="N", help="tokens that they share (512)")
    add("--new", type=at_least(2), default=16, metavar="N", help="tokens of each line and run (16)")
    add("--runs", type=count, default=5, metavar="N", help="of both ways, in turns (5)")
    add_threads(parser)
    add("--json", action="store_true", help="print nothing but JSON")


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 0 if the goal is met."""
    torch.set_num_threads(arguments.threads)
    figures: list[Figure] = []
    fastest = {"alone": 0.0, "together": 0.0}
    for weights in arguments.weights:
        model = model_of_kind(SHAPES[arguments.shape].config(), weights, torch.bfloat16)
        ceilings = {rows: _rows_per_s(model, rows, arguments.runs) for rows in NUM_ROWS}
        for rows, speeds in ceilings.items():
            name = f"{weights}, all matrices times {rows} rows"
            figures.append(Figure.of(name, speeds, "rows/s"))
        alone, joined = _measured(model, arguments)
        one = statistics.median(ceilings[1])
        all_lines = statistics.median(ceilings.get(arguments.lines, ceilings[NUM_ROWS[-1]]))
        together = f"{weights}, {arguments.lines} lines together"
        figures.append(Figure.of(f"{weights}, one line by itself", alone, "tok/s", one))
        figures.append(Figure.of(together, joined, "tok/s", all_lines))
        fastest["alone"] = max(fastest["alone"], statistics.median(alone))
        fastest["together"] = max(fastest["together"], statistics.median(joined))
    gain = fastest["together"] / fastest["alone"]
    about = {
        "shape": arguments.shape,
        "num_prompt": arguments.prompt,
        "gain": round(gain, 3),
        "wanted": WANTED,
    }
    report = Report("batch", figures, beside=about)
    if not arguments.json:
        print(report.table())
        print(f"together {gain:.2f} times the fastest line by itself")
    print(report.json())
    return 0 if gain >= WANTED else 1


def _rows_per_s(model: Model, num_rows: int, num_runs: int) -> list[float]:
    """Multiply so many rows by every matrix of a forward, each read anew."""
    products = [
        _product(model, layer, num_rows)
        for layer in model.module.modules()
        if isinstance(layer, nn.Linear | StackLinear)
    ]
    with torch.inference_mode():
        found = seconds_of(lambda: [product() for product in products], num_runs=num_runs)
    return [num_rows / seconds for seconds in found]


def _product(model: Model, layer: nn.Linear | StackLinear, num_rows: int) -> Callable[[], object]:
    """Return the product that the flat pass would make, or else that of the module."""
    if isinstance(layer, StackLinear):
        columns, is_known = layer.weight.columns, layer.weight.matrix(0) is not None
    else:
        columns, is_known = layer.in_features, True
    x = torch.ones(num_rows, columns)
    if model.kernels is None or not is_known:
        return partial(layer, x.to(model.dtype))
    return partial(model.kernels.multiply, matrices_of(layer), x)


def _measured(model: Model, arguments: argparse.Namespace) -> tuple[Sequence[float], ...]:
    """Return the tokens a second of one line, and of all together, of runs in turns."""
    engine = Engine(model, cache_bytes=1 << 28)
    prompt = random.Random(0).choices(range(model.vocab_size), k=arguments.prompt)
    first = engine.branch(prompt, never)
    speeds: list[tuple[float, float]] = []
    for _ in range(arguments.runs + 1):
        alone = _speed(engine, first, 1, arguments.new)
        speeds.append((alone, _speed(engine, first, arguments.lines, arguments.new)))
    return tuple(zip(*speeds[1:], strict=True))


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
    return branch, engine.generate(branch, (), sampling, max_new_tokens=num_new, cancel=never)


def _in_step(engine: Engine, replies: Sequence[Reply]) -> None:
    """Let each reply go on by a token, as the host does with those that are asked for at once."""
    offering = [branch for branch, _ in replies if branch.offered is not None]
    if len(offering) > 1:
        engine.together.read(offering)
    for _, events in replies:
        assert isinstance(next(events), Token)


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
