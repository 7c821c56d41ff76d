"""How fast is a reply written on a CPU, beside transformers and beside what memory allows?

Method: random weights in the true shape, one checkpoint for all. Each side has a process of its
own: transformers' `generate` with bfloat16 weights, and our model with each kind of ours, greedy.
They take turns, some tokens each; a run's figure is the median time between two of its tokens.
Then our side again behind a long context: pages filled with zeros, which are read as any others,
with keys and values as they are and in int8. Last, products of one row and of four with the
matrices of this shape, as many of each as no cache holds, beside torch's own kernels for few bits.
The ceiling is the fastest that memory was read before. Last line: JSON, figures and machine.
"""

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from evals.bench.arguments import add_llama, add_threads, checkpoint, count, run_alone
from evals.bench.children import child
from evals.bench.llama import llama_of
from evals.bench.roofline import Ceilings, Figure, Report, decode_work, measure_ceilings, seconds_of
from evals.bench.shapes import SHAPES, make_checkpoint
from inference.footprint import Footprint
from inference.kv_codec import KvKind
from inference.loader import load
from inference.model import Model
from inference.shapes import ModelShape, shape_of
from inference.stack import StackFormat, Workspace, new_stack
from inference.state import HybridState

PEER = "transformers bfloat16"
GOALS: dict[StackFormat, float] = {"int8": 3.4, "nf4": 4.6}
"""How many times as fast as the peer we have to be, by what the weights are kept in."""
KV_GOAL = 0.8
"""Of our own speed without a context, at the longest one with int8 keys and values."""
NUM_PROMPT = 64
NUM_IDS = min(shape.vocab_size for shape in SHAPES.values())
"""Of those that a prompt is drawn from: the same for every shape."""
WARM_UP = 2
PRODUCT_BYTES = 1 << 27
"""Of the matrices that a product is timed over: more than a cache."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    add = parser.add_argument
    add("--shape", default="0.8b", choices=SHAPES, help="of the model (0.8b)")
    made = "of that shape; made in a temporary folder if left out"
    add("--checkpoint", type=checkpoint, metavar="FOLDER", help=made)
    add("--weights", nargs="+", choices=get_args(StackFormat), default=list(GOALS))
    before = [8192, 12288]
    add("--contexts", type=count, nargs="*", default=before, metavar="N", help="tokens before")
    add("--new", type=count, default=16, metavar="N", help="tokens a run (16)")
    add("--runs", type=count, default=5, metavar="N", help="of each side (5)")
    add_threads(parser)
    add_llama(parser)
    add("--no-peer", action="store_true", help="our side alone")
    add("--json", action="store_true", help="print nothing but JSON")


@dataclass(frozen=True)
class Side:
    """What one process runs."""

    weights: str
    """PEER, or a kind of ours."""
    kv: KvKind
    num_context: int
    checkpoint: str
    num_threads: int


class Writer:
    """Writes tokens in a process and says how long each took."""

    def __init__(self, side: Side) -> None:
        torch.set_num_threads(side.num_threads)
        self._tokens = random.Random(0).choices(range(NUM_IDS), k=NUM_PROMPT)
        if side.weights == PEER:
            transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
            transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            make: Any = transformers.AutoModelForCausalLM.from_pretrained
            self._module = make(side.checkpoint, dtype=torch.bfloat16)
            return
        weights: Any = side.weights
        self._model = load(side.checkpoint, device="cpu", weights=weights, kv=side.kv).model
        self._state = _state_behind(self._model, side.num_context)
        self._model.forward(self._tokens, self._state)

    def seconds(self, num_new: int, is_peer: bool) -> float:
        """Write some tokens; return the median time of one."""
        times = self._of_peer(num_new) if is_peer else self._of_ours(num_new)
        return statistics.median(times)

    def _of_peer(self, num_new: int) -> list[float]:
        clock = _Clock()
        with torch.inference_mode():
            self._module.generate(
                torch.tensor([self._tokens]),
                max_new_tokens=num_new + 2,
                min_new_tokens=num_new + 2,
                do_sample=False,
                pad_token_id=0,
                streamer=clock,
            )
        return clock.between()[-num_new:]

    def _of_ours(self, num_new: int) -> list[float]:
        clock, token = _Clock(), 1
        for _ in range(num_new + 1):
            clock.put(None)
            token = int(self._model.forward([token], self._state).argmax())
        return clock.between()


class _Clock(BaseStreamer):
    """Notes when tokens come."""

    def __init__(self) -> None:
        self._times: list[float] = []

    def put(self, _value: object) -> None:
        """Note a token."""
        self._times.append(time.perf_counter())

    def end(self) -> None:
        """Be told of the end."""

    def between(self) -> list[float]:
        """Return the seconds between each two."""
        return [end - start for start, end in zip(self._times, self._times[1:], strict=False)]


def _state_behind(model: Model, num_context: int) -> HybridState:
    """Return a state that seems to have read so many tokens."""
    state = model.new_state()
    if num_context:
        state.table.append(model.pool.shape.empty(num_context).zero_())
        state.tokens.extend([0] * num_context)
    return state


_writer: Writer | None = None
"""Of this process."""


def _open(side: Side) -> None:
    global _writer  # a process of a pool has no other place to keep it
    _writer = Writer(side)


def _seconds(num_new: int, is_peer: bool) -> float:
    assert _writer is not None
    return _writer.seconds(num_new, is_peer)


def turns(sides: Sequence[Side], num_runs: int, num_new: int) -> dict[Side, list[float]]:
    """Let sides write in turn; return the seconds a token of each of their runs."""
    found: dict[Side, list[float]] = {side: [] for side in sides}
    with ExitStack() as stack:
        children = {side: stack.enter_context(child()) for side in sides}
        for side, writer in children.items():
            writer.do(_open, side)
            writer.do(_seconds, WARM_UP, side.weights == PEER)
        for _ in range(num_runs):
            for side, writer in children.items():
                found[side].append(writer.do(_seconds, num_new, side.weights == PEER))
    return found


def products(shape: ModelShape, ceiling: float) -> Iterator[Figure]:
    """Time products of one row and of four with the largest matrices of each shape."""
    sizes = {p.shape for p in shape.parts if p.group in ("delta", "attention", "mlp")}
    for rows, columns in sorted(size for size in sizes if len(size) == 2 and min(size) >= 256):
        for kind, num, way, nbytes in _ways(rows, columns):
            samples = [nbytes / seconds / 1e9 for seconds in seconds_of(way)]
            name = f"{kind}, {num} x [{rows}, {columns}]"
            yield Figure.of(name, samples, "GB/s", ceiling / 1e9)


def _ways(rows: int, columns: int) -> Iterator[tuple[str, int, Callable[[], object], int]]:
    """Yield ways to multiply: a name, rows of x, the product, the bytes that it reads."""
    count = -(-PRODUCT_BYTES // (rows * columns))
    for kind in get_args(StackFormat):
        for num in (1, 4):
            yield (f"ours {kind}", num, *_ours(kind, count, rows, columns, num))
    if columns % 64 == 0 and rows % 64 == 0:
        yield ("torch int8", 1, *_torch_int8(count, rows, columns))
        yield ("torch int4", 1, *_torch_int4(count, rows, columns))


def _ours(
    kind: StackFormat, count: int, rows: int, columns: int, num: int
) -> tuple[Callable[[], object], int]:
    from inference.kernels import kernels

    stack = new_stack(kind, count, rows, columns, Workspace())
    for buffer in stack.buffers():
        buffer.fill_(1)
    stack.kernels = kernels()
    x = torch.randn(num, columns)
    nbytes = sum(buffer.nbytes for buffer in stack.buffers())
    return lambda: [stack.linear(index, x) for index in range(count)], nbytes


def _torch_int8(count: int, rows: int, columns: int) -> tuple[Callable[[], object], int]:
    values = torch.ones(count, rows, columns, dtype=torch.int8)
    x, scale = (torch.ones(size, dtype=torch.bfloat16) for size in ((1, columns), (rows,)))
    multiply = torch.ops.aten._weight_int8pack_mm
    return lambda: [multiply(x, matrix, scale) for matrix in values], values.nbytes


def _torch_int4(count: int, rows: int, columns: int) -> tuple[Callable[[], object], int]:
    ones = torch.ones(rows, columns, dtype=torch.int32)
    packed = torch.ops.aten._convert_weight_to_int4pack_for_cpu(ones, 1)
    matrices: list[Tensor] = [packed.clone() for _ in range(count)]
    scales = torch.ones(columns // 64, rows, 2, dtype=torch.bfloat16)
    x = torch.ones(1, columns, dtype=torch.bfloat16)
    multiply = torch.ops.aten._weight_int4pack_mm_for_cpu
    nbytes = count * (packed.nbytes + scales.nbytes)
    return lambda: [multiply(x, matrix, 64, scales) for matrix in matrices], nbytes


def figures_of(
    found: dict[Side, list[float]], footprint: Footprint, ceilings: Ceilings
) -> Iterator[Figure]:
    """Say the speeds of sides beside what memory allows."""
    for side, seconds in found.items():
        weights: Any = "16bit" if side.weights == PEER else side.weights
        work = decode_work(footprint, side.num_context + NUM_PROMPT, weights, side.kv)
        name = side.weights if side.weights == PEER else f"ours {side.weights}, kv {side.kv}"
        ceiling = ceilings.bytes_per_s / work.num_bytes
        yield Figure.of(name, [1 / s for s in seconds], "tok/s", ceiling, side.num_context)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 0 if every goal that was measured is met."""
    with tempfile.TemporaryDirectory(prefix="qwen-agent-decode-") as name:
        folder = arguments.checkpoint or make_checkpoint(
            SHAPES[arguments.shape], Path(name) / "checkpoint"
        )
        if arguments.checkpoint is None:  # packed weights of random numbers are of no later use
            os.environ["XDG_CACHE_HOME"] = str(Path(name) / "cache")
        report = measure(arguments, str(folder))
    if not arguments.json:
        print(report.table())
        for verdict, value in report.beside.items():
            print(f"{verdict}: {value}")
    print(report.json())
    return 0 if all(value >= 1 for value in report.beside["share_of_goal"].values()) else 1


def measure(arguments: argparse.Namespace, folder: str) -> Report:
    """Run all of it."""
    llama = llama_of(arguments)
    torch.set_num_threads(arguments.threads)
    shape = shape_of(SHAPES[arguments.shape].config().to_dict())
    footprint = Footprint(shape, is_gpu=False)
    ceilings = measure_ceilings(shape, num_rows=128)

    def side(weights: str, kv: KvKind = "16bit", num_context: int = 0) -> Side:
        return Side(weights, kv, num_context, folder, arguments.threads)

    peers = [] if arguments.no_peer else [side(PEER)]
    short = turns([*peers, *map(side, arguments.weights)], arguments.runs, arguments.new)
    kinds: tuple[KvKind, ...] = ("16bit", "int8")
    last = arguments.weights[-1]
    long = turns(
        [side(last), *(side(last, kv, n) for n in arguments.contexts for kv in kinds)],
        arguments.runs, arguments.new,
    )  # fmt: skip
    medians = {one: statistics.median(seconds) for one, seconds in short.items()}
    reached = {
        weights: medians[peer] / medians[side(weights)] / GOALS[weights]
        for peer in peers
        for weights in arguments.weights
    }
    for num in arguments.contexts:
        ours = statistics.median(long[side(last)]) / statistics.median(
            long[side(last, "int8", num)]
        )
        reached[f"kv int8 at {num}"] = ours / KV_GOAL
    return Report(
        "decode",
        [
            *figures_of(short, footprint, ceilings),
            *figures_of(long, footprint, ceilings),
            *(llama.decode([0, *arguments.contexts], arguments.runs) if llama else ()),
            *products(shape, ceilings.bytes_per_s),
        ],
        ceilings,
        {
            "shape": arguments.shape,
            "goals": {**GOALS, "kv int8": KV_GOAL},
            "share_of_goal": {name: round(value, 3) for name, value in reached.items()},
        },
    )


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
