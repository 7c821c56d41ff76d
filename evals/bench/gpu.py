"""Do 27B and 35B-A3B run with their whole window in the memory of a 24 GB card, and how fast?

    qwen-agent bench gpu [--out FILE]                          on a CUDA device, ten minutes at most
    qwen-agent bench gpu --shape tiny --device cpu --window 2048

Method, for each shape: random NF4 weights are drawn on the device, keys and values are int8, and
memory is capped. One prompt is read from nothing to the end of the window, as the agent reads it.
On its way, at set depths, a fork of it goes on: tokens that are written one after the other, turns
whose memory must not grow, a new message until the first token of its answer. Then forks, and what
the planner said beside what was allocated. With a smaller window all depths shrink alike.
A stage ends when its share of the time is over, and says how far it came; each figure is in the
file as soon as it is there. Last line: JSON, figures and machine.
"""

import argparse
import gc
import random
import sys
import traceback
from pathlib import Path

import torch

from agent.hardware import memory_bytes
from evals.bench.arguments import add_threads, at_least, count, positive, run_alone
from evals.bench.gpu_stages import Depths, Stages
from evals.bench.machine import describe_machine
from evals.bench.meter import Meter
from evals.bench.notes import Clock, Notes
from evals.bench.random_model import random_model
from evals.bench.roofline import measure_ceilings
from evals.bench.shapes import SHAPES
from inference.engine import Engine
from inference.errors import Cancelled
from inference.module import Placement
from inference.plan import GIB, NUM_SNAPSHOTS, Plan, Room, Wanted
from inference.planner import Refusal, plan
from inference.shapes import shape_of

WINDOW = 262_144
CAP_GIB = 22.8
"""What a card of 24 GB has beside its screen and its context."""
READ_BYTES = 1 << 31
MIN_WINDOW = 512
"""Below that all depths are one."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    default = ["27b", "35b-a3b"]
    add("--shape", nargs="+", choices=SHAPES, default=default, help="default: 27b 35b-a3b")
    add("--device", choices=("cuda", "cpu"), default="cuda")
    window = f"tokens, from {MIN_WINDOW} on (default {WINDOW})"
    add("--window", type=at_least(MIN_WINDOW), default=WINDOW, metavar="N", help=window)
    add("--cap", type=positive, default=CAP_GIB, metavar="GIB", help="of memory (default 22.8)")
    add("--minutes", type=positive, default=9.5, metavar="M", help="for all of it (default 9.5)")
    add("--turns", type=count, default=50, metavar="N", help="one after the other (default 50)")
    out = "where figures are written as they come (default bench-gpu.json)"
    add("--out", type=Path, default=Path("bench-gpu.json"), metavar="FILE", help=out)
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure shape after shape; exit code 0 if every stage came to its end."""
    torch.set_num_threads(arguments.threads)
    if arguments.device == "cuda" and not torch.cuda.is_available():
        print("qwen-agent: There is no CUDA device; give --device cpu.", file=sys.stderr)
        return 7
    device = torch.device(arguments.device)
    clock = Clock(60 * arguments.minutes)
    notes = Notes("gpu", arguments.out, _machine(arguments.threads, device))
    room = _room(arguments.cap, device)
    plans = [found for name in arguments.shape if (found := _planned(name, arguments, room, notes))]
    if plans:
        largest = max((found.shape for found in plans), key=lambda shape: shape.num_params)
        notes.limits(measure_ceilings(largest, device.type, _read_bytes(device)))
    for number, found in enumerate(plans):
        share = clock.share(1 / (len(plans) - number))
        try:
            _measure(found, arguments.turns, notes, share)
        except Cancelled:
            notes.fail(f"{found.name}: time was over before the prompt was begun")
        except RuntimeError as error:  # memory is short, or a kernel is missing
            traceback.print_exc()
            notes.fail(f"{found.name}: broken off: {str(error).partition(chr(10))[0]}")
        gc.collect()  # the model is gone before the next one comes
        if device.type == "cuda":
            torch.cuda.empty_cache()
    print(notes.report().json())
    return 1 if notes.failures else 0


def _planned(name: str, arguments: argparse.Namespace, room: Room, notes: Notes) -> Plan | None:
    """Plan one shape; None if it does not fit, which is noted."""
    shape = shape_of(SHAPES[name].config().to_dict())
    found = plan(name, shape, room, Wanted(arguments.window, kv="int8", weights="nf4"))
    if isinstance(found, Refusal):
        notes.fail(f"{name}: {found.sentence}")
        return None
    kept = ("weights", "kv", "context_tokens", "prefill_chunk", "embedding_on_cpu")
    notes.beside(name, {field: getattr(found, field) for field in kept})
    return found


def _measure(found: Plan, num_turns: int, notes: Notes, clock: Clock) -> None:
    """Make the model of a plan and run all stages on it."""
    device = torch.device(found.room.device)
    meter = Meter(device)
    bytes_before = meter.held_bytes()
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    placement = Placement(found.embedding_on_cpu, found.experts_on_cpu)
    model = random_model(SHAPES[found.name].config(), device, dtype, "nf4", "int8", placement)
    notes.beside(f"{found.name} few tokens", model.few_tokens_by)
    engine = Engine(
        model,
        cache_bytes=NUM_SNAPSHOTS * found.state_bytes,  # what the plan counts on
        prefill_chunk=found.prefill_chunk,
    )
    ids = random.Random(0).choices(range(model.vocab_size), k=found.context_tokens)
    stages = Stages(engine, found, notes, clock, ids, meter, bytes_before)
    stages.run(Depths.of(found.context_tokens), num_turns)
    engine.close()


def _room(cap_gib: float, device: torch.device) -> Room:
    """Cap the memory that may be used, and describe it; what a card keeps for itself is off."""
    num_bytes = round(cap_gib * GIB)
    if device.type == "cpu":
        return Room("cpu", num_bytes, num_bytes, value_bytes=4)
    total = torch.cuda.get_device_properties(device).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, num_bytes / total))
    return Room("cuda", min(num_bytes, total), memory_bytes())


def _read_bytes(device: torch.device) -> int:
    return READ_BYTES if device.type == "cuda" else READ_BYTES // 8


def _machine(num_threads: int, device: torch.device) -> dict[str, object]:
    machine = dict(describe_machine(num_threads))
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        machine["gpu"] = properties.name
        machine["gpu_bytes"] = properties.total_memory
        machine["cuda"] = torch.version.cuda
    return machine


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
