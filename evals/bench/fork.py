"""What do a snapshot and a fork cost in the middle of a long conversation?

Method: a prompt is read once; then snapshots and forks of it are taken, 1 warm-up and 20 runs
each, median and range. What either puts off until somebody writes is paid by the next token: so a
fork and one token of it are timed beside one token without a fork, and the difference is held to
the goal. What a fork holds of its own is the growth of the process over 8 forks kept alive, each
gone on by one token, beside arithmetic (the states of the linear layers, and one page of keys and
values a layer of attention, which is the goal).
Goals: fork under 20 ms, snapshot under 10 ms. Last line: JSON, figures and machine.
"""

import argparse
import ctypes
import gc
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from evals.bench.arguments import add_threads, count, run_alone
from evals.bench.machine import describe_machine, rss_bytes
from evals.bench.own import open_engine
from evals.bench.shapes import SHAPES, make_checkpoint
from inference.branch import Branch
from inference.chat import never
from inference.engine import Engine
from inference.errors import ModelUnavailable
from inference.loader import load
from inference.model import Model
from inference.sizes import PAGE_TOKENS

NUM_RUNS = 20
NUM_FORKS = 8
RECURRENT_BYTES = 4
"""The recurrent state is float32 whatever the weights are."""
FORK_GOAL_S, SNAPSHOT_GOAL_S = 0.020, 0.010
MIB = 2**20


def state_bytes(config: Any, item_bytes: int) -> int:
    """Return what the linear layers remember, by arithmetic; `item_bytes` of a weight."""
    heads_k, heads_v = config.linear_num_key_heads, config.linear_num_value_heads
    dim_k, dim_v = config.linear_key_head_dim, config.linear_value_head_dim
    recurrent = heads_v * dim_k * dim_v * RECURRENT_BYTES
    channels = 2 * heads_k * dim_k + heads_v * dim_v
    conv = channels * (config.linear_conv_kernel_dim - 1) * item_bytes
    num_layers: int = config.layer_types.count("linear_attention")
    return num_layers * int(recurrent + conv)


def page_bytes(config: Any, item_bytes: int) -> int:
    """Return one page of keys and values in every attention layer."""
    token = 2 * config.num_key_value_heads * config.head_dim * item_bytes
    num_layers: int = config.layer_types.count("full_attention")
    return num_layers * PAGE_TOKENS * int(token)


def measure(model: Model, num_tokens: int, folder: Path) -> dict[str, object]:
    """Read `num_tokens`, then take snapshots and forks; return the figures."""
    engine = open_engine(model, folder)
    try:
        ids = random.Random(0).choices(range(model.vocab_size), k=num_tokens)
        started = time.perf_counter()
        branch = engine.branch(ids, never)
        prefill_s = time.perf_counter() - started
        snapshots = _times(branch.state.snapshot)
        forks = _times(lambda: engine.fork(branch))
        # What a fork or a snapshot puts off until somebody writes is paid by the next token.
        forked_tokens = _times(lambda: _read_one(engine, engine.fork(branch)))
        going_on = engine.fork(branch)
        tokens = _times(lambda: _read_one(engine, going_on))
        extra = _bytes_a_fork(engine, branch)
    finally:
        engine.close()
    item_bytes = model.dtype.itemsize
    state, page = state_bytes(model.config, item_bytes), page_bytes(model.config, item_bytes)
    return {
        "num_tokens": num_tokens,
        "num_runs": NUM_RUNS,
        "prefill_s": round(prefill_s, 3),
        "snapshot_s": _spread(snapshots),
        "fork_s": _spread(forks),
        "fork_and_token_s": _spread(forked_tokens),
        "token_s": _spread(tokens),
        "put_off_s": round(statistics.median(forked_tokens) - statistics.median(tokens), 6),
        "fork_bytes": extra,
        "state_bytes": state,
        "page_bytes": page,
        "fork_bytes_goal": state + page,
        "snapshot_is_quick": statistics.median(snapshots) < SNAPSHOT_GOAL_S,
        "fork_is_quick": statistics.median(forked_tokens) - statistics.median(tokens) < FORK_GOAL_S,
        # The process also grows by a page of memory here and there: 2 % of slack.
        "fork_is_small": extra <= 1.02 * (state + page),
    }


def _times(action: Callable[[], object]) -> list[float]:
    """Run `action` once to warm up, then `NUM_RUNS` times; return the seconds of each."""
    seconds = []
    for _ in range(NUM_RUNS + 1):
        started = time.perf_counter()
        made = action()
        seconds.append(time.perf_counter() - started)
        del made
    return seconds[1:]


def _bytes_a_fork(engine: Engine, branch: Branch) -> int:
    """Return by how much the process grows a fork, each gone on by one token."""

    def fork() -> Branch:
        return _read_one(engine, engine.fork(branch))

    warm = fork()
    before = _settled_rss()
    forks = [fork() for _ in range(NUM_FORKS)]
    grown = _settled_rss() - before
    assert len(forks) == NUM_FORKS
    assert len(warm) == len(branch) + 1
    return grown // NUM_FORKS


def _read_one(engine: Engine, branch: Branch) -> Branch:
    """Let a branch go on by one token."""
    engine.model.forward([1], branch.state)
    return branch


def _settled_rss() -> int:
    """Give freed memory back to the system, so that what is left is in use."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return rss_bytes()


def _spread(seconds: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(seconds), 6),
        "low": round(min(seconds), 6),
        "high": round(max(seconds), 6),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a checkpoint")
    parser.add_argument("--shape", choices=SHAPES, default="0.8b", help="of one made here")
    parser.add_argument("--tokens", type=count, default=16384, help="read before the fork")
    parser.add_argument("--dtype", choices=("bfloat16", "float32"), default="bfloat16")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print."""
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory(prefix="qwen-agent-bench-") as name:
        folder = Path(name)
        checkpoint = arguments.model
        if checkpoint is None:
            dtype = getattr(torch, arguments.dtype)
            checkpoint = make_checkpoint(SHAPES[arguments.shape], folder / "checkpoint", dtype)
        try:
            model = load(str(checkpoint), device="cpu", dtype=arguments.dtype).model
        except ModelUnavailable as error:
            print(error, file=sys.stderr)
            return error.exit_code
        (folder / "states").mkdir()
        figures = measure(model, arguments.tokens, folder / "states")
    for name, value in figures.items():
        words = f"{value / MIB:.2f} MiB" if isinstance(value, int) and "bytes" in name else value
        print(f"{name:18} {words}")
    machine = {**describe_machine(arguments.threads), "dtype": arguments.dtype}
    model_name = str(arguments.model or arguments.shape)
    print(json.dumps({"bench": "fork", "model": model_name, **figures, "machine": machine}))
    return 0


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
