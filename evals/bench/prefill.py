"""How soon has a prompt been read, beside transformers and beside what this CPU can multiply?

Method: random weights in the true shape, one checkpoint for all. Our engine reads a prompt from
nothing, as it reads any (its own type of numbers, its own chunks, nothing reused); transformers'
own `model(...)` reads the same tokens at once, with logits of the last token alone. 1 warm-up on a
short prompt, then the sides take turns, 5 runs each, median and range; a peer that needs longer
than `--patience` for a prompt is asked once, and its n says so. The ceiling is the best product of
matrices that was measured here in any type. Last line: JSON, figures and machine.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import transformers

from evals.bench.arguments import add_llama, add_threads, count, layers, positive, run_alone
from evals.bench.llama import llama_of
from evals.bench.own import open_engine
from evals.bench.roofline import Ceilings, Figure, Report, measure_ceilings, prefill_work
from evals.bench.shapes import SHAPES, make_checkpoint
from inference.chat import never
from inference.engine import Engine
from inference.footprint import Footprint
from inference.loader import load
from inference.messages import SamplingOptions
from inference.shapes import shape_of

WARM_UP_TOKENS = 64
PEERS = ("bfloat16", "float32")
GOALS = {512: 2.9, 2048: 2.6, 8192: 2.9}
"""How many times as fast as transformers' bfloat16 we have to be, by length of the prompt."""
SHARE_GOAL = 0.4
"""Of the ceiling, for the products with the weights at `SHARE_TOKENS`."""
SHARE_TOKENS = 2048

Reader = Callable[[Sequence[int]], float]
"""Reads a prompt from nothing; returns the seconds."""


@dataclass(frozen=True)
class Trial:
    """One length of a prompt and what each side needed for it, in seconds."""

    num_tokens: int
    seconds: Mapping[str, Sequence[float]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    add = parser.add_argument
    add("--shape", default="0.8b", choices=SHAPES, help="of the model (0.8b)")
    add("--layers", type=layers, metavar="N", help="only so many layers: sooner, ratios alike")
    add("--prompts", type=count, nargs="+", default=list(GOALS), metavar="N", help="tokens of each")
    add("--peers", nargs="*", choices=PEERS, default=PEERS, help="transformers in which types")
    add("--runs", type=count, default=5, metavar="N", help="of each side at each length (5)")
    patience = "a peer that needs more seconds for a prompt is asked once (60)"
    add("--patience", type=positive, default=60.0, metavar="S", help=patience)
    add_threads(parser)
    add_llama(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 0 if every goal that was measured is reached."""
    llama = llama_of(arguments)
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    if arguments.layers:
        shape = replace(shape, num_hidden_layers=arguments.layers)
    footprint = Footprint(shape_of(shape.config().to_dict()), is_gpu=False)
    ceilings = measure_ceilings(footprint.shape)
    print(ceilings.words(), flush=True)
    with tempfile.TemporaryDirectory(prefix="qwen-agent-prefill-") as name:
        readers = _readers(make_checkpoint(shape, Path(name) / "checkpoint"), arguments.peers)
    for read in readers.values():
        read(_prompt(WARM_UP_TOKENS, shape.vocab_size))
    trials = []
    for num_tokens in sorted(arguments.prompts):
        prompt = _prompt(num_tokens, shape.vocab_size)
        seconds = taken_in_turns(readers, prompt, arguments.runs, arguments.patience)
        trials.append(Trial(num_tokens, seconds))
        print(f"{num_tokens:,} tokens are measured", file=sys.stderr, flush=True)
    del readers  # of two programs that compute, each has the machine to itself
    beside = llama.prefill(sorted(arguments.prompts), arguments.runs) if llama else []
    report, is_reached = judge(trials, footprint, ceilings, arguments, beside)
    print(f"{report.table()}\n\n" + "\n".join(report.beside["verdicts"]))
    print(report.json())
    return 0 if is_reached else 1


def taken_in_turns(
    readers: Mapping[str, Reader], prompt: Sequence[int], num_runs: int, patience_s: float
) -> dict[str, list[float]]:
    """Let each side read the prompt, one after the other, and again."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    for _ in range(num_runs):
        for name, read in readers.items():
            if name == "ours" or not seconds[name] or seconds[name][0] <= patience_s:
                seconds[name].append(read(prompt))
    return seconds


def judge(
    trials: Sequence[Trial],
    footprint: Footprint,
    ceilings: Ceilings,
    arguments: argparse.Namespace,
    others: Sequence[Figure] = (),
) -> tuple[Report, bool]:
    """Return what was found, and whether all goals are reached that were measured."""
    figures: list[Figure] = [*others]
    verdicts: list[str] = []
    is_reached = True
    peak = max(ceilings.flops_per_s.values())
    for trial in trials:
        num, work = trial.num_tokens, prefill_work(footprint, trial.num_tokens)
        found = {
            name: Figure.of(name, [num / s for s in seconds], "tok/s", num * peak / work.flops, num)
            for name, seconds in trial.seconds.items()
        }
        figures += found.values()
        ours = found.pop("ours")
        found |= {other.name: other for other in others if other.at == num}
        for name, theirs in found.items():
            ratio, goal = ours.value / theirs.value, GOALS.get(num)
            words = f"{num:,} tokens: {ratio:.2f} times as fast as {name}"
            if goal is not None and name.endswith("bfloat16"):
                words += f", the goal is {goal}"
                is_reached &= ratio >= goal
            verdicts.append(words)
        share = work.linear_flops * ours.value / num / peak
        words = f"{num:,} tokens: products with the weights alone are {share:.0%} of the ceiling"
        if num == SHARE_TOKENS:
            words += f", the goal is {SHARE_GOAL:.0%}"
            is_reached &= share >= SHARE_GOAL
        verdicts.append(words)
    beside = {
        "shape": arguments.shape,
        "layers": arguments.layers or SHAPES[arguments.shape].num_hidden_layers,
        "verdicts": verdicts,
        "is_reached": is_reached,
    }
    return Report("prefill", figures, ceilings, beside), is_reached


def _readers(checkpoint: Path, peers: Sequence[str]) -> dict[str, Reader]:
    """Load one checkpoint for each side."""
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    engine = open_engine(load(str(checkpoint), device="cpu").model, None)
    readers: dict[str, Reader] = {"ours": lambda prompt: _read(engine, prompt)}
    for peer in peers:
        module = transformers.AutoModelForCausalLM.from_pretrained(
            checkpoint, dtype=getattr(torch, peer)
        )
        readers[f"transformers {peer}"] = _peer(module)
    return readers


def _read(engine: Engine, prompt: Sequence[int]) -> float:
    started = time.perf_counter()
    branch = engine.find(prompt, reuse=False)
    events = engine.generate(branch, prompt, SamplingOptions(), max_new_tokens=0, cancel=never)
    for _ in events:
        pass
    return time.perf_counter() - started


def _peer(module: Any) -> Reader:
    module.train(False)

    def read(prompt: Sequence[int]) -> float:
        ids = torch.tensor([list(prompt)])
        started = time.perf_counter()
        with torch.inference_mode():
            module(ids, use_cache=True, logits_to_keep=1)
        return time.perf_counter() - started

    return read


def _prompt(num_tokens: int, vocab_size: int) -> list[int]:
    return random.Random(num_tokens).choices(range(vocab_size), k=num_tokens)


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
