"""Does a model of the true size fit, load and run on this machine, with quantized weights?

Method: random weights in the true shape are written file by file, each quantized and removed, so
that the disk holds the packed file and one weight file at most: a first start. A second process
maps the packed file, as every later start does, reads a prompt and writes some tokens, greedily.
Peaks are those of the whole process, the interpreter and torch (about 0.4 GiB) included. The free
disk is looked at first, and everything is removed. What the planner counts for the weights stands
beside what they are, and beside what the second process holds more with them. Last line: JSON,
figures and machine.
"""

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from evals.bench.adapter import BenchFailed
from evals.bench.arguments import add_threads, count, run_alone
from evals.bench.children import child
from evals.bench.machine import describe_machine, forget_peak, peak_rss_bytes, rss_bytes
from evals.bench.make_checkpoint import (
    ConsumedCheckpoint,
    PlannedCheckpoint,
    plan_checkpoint,
    write_description,
)
from evals.bench.own import OwnEngine
from evals.bench.shapes import SHAPES
from inference.door import LoadProgress
from inference.errors import ModelUnavailable
from inference.footprint import Footprint
from inference.loader import cpu_dtype, load_packed
from inference.model import Model
from inference.module import empty_module, stored_tensors
from inference.plan import GIB
from inference.quantize import quantize
from inference.shapes import shape_of
from inference.stack import StackFormat
from inference.weight_file import SPARE_BYTES

LOAD_SLACK_BYTES = int(1.1 * GIB)
"""What loading may hold beside the weights."""
PLAN_TOLERANCE = 0.03
"""Of the weights: so near to them what is planned must be ..."""
PROCESS_BYTES = 1 << 25
"""... or so near, where a process is measured, which holds some more of its own."""
SECONDS_A_LINE = 10.0


@dataclass(frozen=True)
class Trial:
    """What is tried; it goes from process to process."""

    shape: str
    kind: StackFormat
    folder: Path
    num_prompt: int
    num_new: int
    num_threads: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("--shape", default="0.8b", metavar="SIZE", help="0.8b (default), 2b, 9b, 27b, 35b-a3b, ...")
    add("--weights", choices=("nf4", "int8"), default="nf4", help="what they are kept in")
    add("--prompt", type=count, default=2048, metavar="N", help="tokens that are read (2048)")
    add("--new", type=count, default=32, metavar="N", help="tokens that are written (32)")
    add("--folder", type=Path, help="where there is room; the system's temporary one if left out")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Try it, and print the figures; exit code 0 if it ran as it may and as was planned."""
    if arguments.shape not in SHAPES:
        print(f"qwen-agent: {arguments.shape} is none of {', '.join(SHAPES)}.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="qwen-agent-plan-", dir=arguments.folder) as name:
        trial = Trial(
            arguments.shape,
            arguments.weights,
            Path(name),
            arguments.prompt,
            arguments.new,
            arguments.threads,
        )
        try:
            figures = try_out(trial)
        except (BenchFailed, ModelUnavailable) as error:
            print(f"qwen-agent: {error}", file=sys.stderr)
            return 7
    for key, value in figures.items():
        print(f"{key:26} {_words(key, value)}")
    machine = describe_machine(trial.num_threads)
    print(json.dumps({"bench": "plan", **figures, "machine": machine}))
    return 0 if figures["load_is_small"] and figures["plan_is_near"] else 1


def try_out(trial: Trial) -> dict[str, Any]:
    """Quantize in a process, load again and run in another; return the figures.

    Raises:
        BenchFailed: the disk has no room for it.
        ModelUnavailable: it cannot be loaded.
    """
    plan = _plan(trial)
    packed_bytes = _packed_bytes(plan, trial.kind)
    _check_room(trial.folder, packed_bytes + 2 * plan.largest_file_nbytes + SPARE_BYTES)
    write_description(plan)
    first = _in_child(_quantize, trial)
    ran = _in_child(_run, trial)
    planned_bytes = _planned_bytes(plan, trial.kind)
    off_bytes = planned_bytes - ran["resident_bytes"]
    return {
        "shape": trial.shape,
        "weights": trial.kind,
        "num_params": plan.nbytes // 2,
        "checkpoint_bytes": plan.nbytes,
        "packed_bytes": packed_bytes,
        **first,
        **ran,
        "planned_bytes": planned_bytes,
        "plan_off_percent": round(100 * off_bytes / ran["resident_bytes"], 2),
        "plan_is_near": is_near(planned_bytes, ran["weights_bytes"])
        and is_near(planned_bytes, ran["resident_bytes"], PROCESS_BYTES),
        "load_is_small": first["load_peak_bytes"] <= ran["loaded_bytes"] + LOAD_SLACK_BYTES,
    }


def is_near(planned_bytes: int, measured_bytes: int, spare_bytes: int = 0) -> bool:
    """Whether the planner has counted what the weights turned out to be."""
    off_bytes = abs(planned_bytes - measured_bytes)
    return off_bytes <= max(PLAN_TOLERANCE * measured_bytes, spare_bytes)


def _in_child(work: Callable[[Trial], dict[str, Any]], trial: Trial) -> dict[str, Any]:
    with child() as process:
        return process.do(work, trial)


def _quantize(trial: Trial) -> dict[str, Any]:
    """Make the packed file, in the way of a first start."""
    forget_peak()
    seconds, _ = _loaded(trial, _Lines())
    return {"first_load_s": round(seconds, 1), "load_peak_bytes": peak_rss_bytes()}


def _run(trial: Trial) -> dict[str, Any]:
    """Load as every start but the first does, read and write."""
    empty_module(_plan(trial).config, torch.bfloat16)  # what is imported is no weight
    before = rss_bytes()
    seconds, model = _loaded(trial)
    loaded = rss_bytes()
    forget_peak()
    engine = OwnEngine(model, None)
    prompt = random.Random(0).choices(range(model.vocab_size), k=trial.num_prompt)
    answer = engine.ask(prompt, trial.num_new)
    engine.close()
    return {
        "second_load_s": round(seconds, 1),
        "weights_bytes": model.weights_nbytes,
        "resident_bytes": loaded - before,
        "loaded_bytes": loaded,
        "run_peak_bytes": peak_rss_bytes(),
        "compute_dtype": str(model.dtype).removeprefix("torch."),
        "num_prompt": trial.num_prompt,
        "num_new": len(answer["tokens"]),
        "prefill_s": round(answer["ttft"], 2),
        "prefill_tok_s": round(trial.num_prompt / answer["ttft"], 3),
        "decode_tok_s": round(answer["gen_tok_s"] or 0.0, 4),
    }


def _loaded(
    trial: Trial, on_progress: Callable[[LoadProgress], None] = lambda _seen: None
) -> tuple[float, Model]:
    """Load the model of a trial from its folder; return how long it took."""
    torch.set_num_threads(trial.num_threads)
    os.environ["XDG_CACHE_HOME"] = str(trial.folder / "cache")
    started = time.perf_counter()
    plan = _plan(trial)
    module = empty_module(plan.config, cpu_dtype(plan.nbytes // 2))
    cpu = torch.device("cpu")
    load_packed(module, ConsumedCheckpoint(plan), trial.kind, cpu, on_progress=on_progress)
    return time.perf_counter() - started, Model(module)


def _plan(trial: Trial) -> PlannedCheckpoint:
    return plan_checkpoint(SHAPES[trial.shape].config(), trial.folder / "checkpoint")


def _packed_bytes(plan: PlannedCheckpoint, kind: StackFormat) -> int:
    module = empty_module(plan.config, torch.bfloat16)
    quantize(module, kind)
    return sum(tensor.nbytes for _, tensor in stored_tensors(module))


def _planned_bytes(plan: PlannedCheckpoint, kind: StackFormat) -> int:
    """Return what the planner counts for the weights on this machine."""
    value_bytes = cpu_dtype(plan.nbytes // 2).itemsize
    footprint = Footprint(shape_of(plan.config.to_dict()), value_bytes, is_gpu=False)
    return sum(footprint.weights(kind).values())


def _check_room(folder: Path, num_bytes: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < num_bytes:
        raise BenchFailed(
            f"{folder.parent} has {free / 1e9:.1f} GB free and this needs {num_bytes / 1e9:.1f} "
            "GB; name a --folder on a larger disk."
        )


class _Lines:
    """Prints how far loading is, now and then."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def __call__(self, seen: LoadProgress) -> None:
        if (now := time.perf_counter()) - self._last < SECONDS_A_LINE:
            return
        self._last = now
        done = seen.num_bytes / seen.num_total_bytes
        left = f"{seen.left_s:.0f} s left" if seen.left_s is not None and done > 0.01 else ""
        print(f"{seen.stage} {done:4.0%} {seen.bytes_per_s / 1e9:.2f} GB/s {left}", flush=True)


def _words(key: str, value: object) -> str:
    if isinstance(value, int) and key.endswith("_bytes"):
        return f"{value / GIB:.3f} GiB"
    return str(value)


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
