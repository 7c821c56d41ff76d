"""How long does a conversation take to come back from disk after a restart?

Method: a line of `--tokens` tokens with keys, values and states of random numbers in the true
shape, as one node in a fresh folder; written and synchronised once, then read and put into pages 5
times, 1 warm-up, from the page cache of the system. Every byte is verified when it is read. No
weight is loaded. Goal: 1 s to read 16,384 tokens. Last line: JSON, figures and machine.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch

from evals.bench.arguments import add_threads, count, run_alone
from evals.bench.machine import describe_machine
from evals.bench.shapes import SHAPES, Shape
from inference.identity import Identity
from inference.packed import LinearStates, Packed, line_key
from inference.slabs import PagePool
from inference.state import Layout, Snapshot, unpack
from inference.store import Store

NUM_RUNS = 5
LOAD_GOAL_S = 1.0
MIB = 2**20
IDENTITY = Identity("random", "", "", "bfloat16", "float32", "", "")


def fake_line(shape: Shape, num_tokens: int) -> Packed:
    """Return a line from the root with a state of random numbers, bfloat16 and float32."""
    layout = Layout.of(shape.config())
    heads, dim = shape.linear_num_value_heads, shape.linear_head_dim
    torch.manual_seed(0)
    tokens = tuple(torch.randint(shape.vocab_size, (num_tokens,)).tolist())
    kv = layout.kv_shape(torch.bfloat16, torch.device("cpu")).empty(num_tokens).normal_()
    states = LinearStates(
        conv=(torch.randn(1, _channels(shape), 3).bfloat16(),),
        recurrent=(torch.randn(1, heads, dim, dim),),
    )
    return Packed(
        key=line_key(tokens),
        parent="",
        num_before=0,
        edge=tokens,
        kv=kv,
        linear=(states,) * len(layout.linear),
        logits=torch.randn(shape.vocab_size),
    )


def file_arithmetic(shape: Shape, num_tokens: int) -> int:
    """Return what such a line weighs: tokens, keys and values, states and logits."""
    layout = Layout.of(shape.config())
    token = 4 + 2 * 2 * len(layout.attention) * shape.num_key_value_heads * shape.head_dim
    state = 4 * shape.linear_num_value_heads * shape.linear_head_dim**2 + 2 * 3 * _channels(shape)
    return num_tokens * token + len(layout.linear) * state + 4 * shape.vocab_size


def measure(shape: Shape, num_tokens: int, folder: Path) -> dict[str, object]:
    """Store a line and load it; return the figures."""
    notices: list[str] = []
    store = Store(folder, IDENTITY, 1 << 40, notices.append)
    packed = fake_line(shape, num_tokens)
    started = time.perf_counter()
    store.put(packed)
    write_s = time.perf_counter() - started
    seconds = []
    for _ in range(NUM_RUNS + 1):
        started = time.perf_counter()
        snapshot = _load(store, shape, packed.key)
        seconds.append(time.perf_counter() - started)
        assert snapshot.tokens == packed.edge
    assert not notices, notices
    loads = sorted(seconds[1:])
    return {
        "num_tokens": num_tokens,
        "num_runs": NUM_RUNS,
        "file_bytes": store.nbytes,
        "arithmetic_bytes": file_arithmetic(shape, num_tokens),
        "write_s": round(write_s, 3),
        "load_s": {
            "median": round(statistics.median(loads), 3),
            "low": round(loads[0], 3),
            "high": round(loads[-1], 3),
        },
        "load_is_quick": statistics.median(loads) <= LOAD_GOAL_S,
    }


def _load(store: Store, shape: Shape, key: str) -> Snapshot:
    layout = Layout.of(shape.config())
    pool = PagePool(layout.kv_shape(torch.bfloat16, torch.device("cpu")))
    packed = store.get(key)
    assert packed is not None, "it was written a moment ago"
    return unpack([packed], layout, pool)


def _channels(shape: Shape) -> int:
    """How many channels are convolved: queries, keys and values."""
    num_heads = 2 * shape.linear_num_key_heads + shape.linear_num_value_heads
    return num_heads * shape.linear_head_dim


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--shape", choices=SHAPES, default="0.8b")
    parser.add_argument("--tokens", type=count, default=16_384, help="of the stored line")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="qwen-agent-bench-") as name:
        figures = measure(SHAPES[arguments.shape], arguments.tokens, Path(name))
    for label, value in figures.items():
        words = f"{value / MIB:.2f} MiB" if isinstance(value, int) and "bytes" in label else value
        print(f"{label:18} {words}")
    machine = describe_machine(arguments.threads)
    print(json.dumps({"bench": "store", "model": arguments.shape, **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
