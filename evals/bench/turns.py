"""Does a turn cost what its new tokens cost, however long the conversation is?

Method: a context of random keys, values and states is put into the engine's cache as if it had been
read, then prompts that go on from it by 200 tokens are read, each from the cache: found, restored,
read, kept. Beside it, in turns: the products of 200 tokens with all weights of the layers, and the
attention of 200 tokens over that context and themselves, which is all that has to be done. 1
warm-up, 5 runs each, medians; what a turn costs over the two is held to the goal of 1.3 times.
`beside the forward` is what the engine did besides running the model. Last line: JSON, figures and
machine.
"""

import argparse
import random
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from evals.bench.arguments import add_threads, count, layers, run_alone
from evals.bench.random_model import plain_model
from evals.bench.roofline import Figure, Report
from evals.bench.shapes import SHAPES
from inference.attention import attend
from inference.chat import never
from inference.door import CACHE_BYTES
from inference.engine import Engine
from inference.messages import SamplingOptions
from inference.model import Model
from inference.packed import LinearStates, Packed, line_key
from inference.state import HybridState, Snapshot, unpack

NUM_NEW = 200
CONTEXTS = (1024, 4096, 16_384, 65_536)
GOAL = 1.3
"""A turn over the products of its tokens and their attention."""
STD = 0.02
"""Of what a random past remembers."""


class Clock:
    """Remembers how long a module's forwards took."""

    def __init__(self, module: nn.Module) -> None:
        self.seconds = 0.0
        self._began = 0.0
        module.register_forward_pre_hook(self._begin)
        module.register_forward_hook(self._end)

    def _begin(self, *_seen: Any) -> None:
        self._began = time.perf_counter()

    def _end(self, *_seen: Any) -> None:
        self.seconds += time.perf_counter() - self._began


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what `run` reads."""
    add = parser.add_argument
    add("--shape", default="0.8b", choices=SHAPES, help="of the model (0.8b)")
    add("--layers", type=layers, metavar="N", help="only so many layers: sooner, ratios alike")
    cached = list(CONTEXTS)
    add("--contexts", type=count, nargs="+", default=cached, metavar="N", help="cached tokens")
    add("--new", type=count, default=NUM_NEW, metavar="N", help="tokens of a turn (200)")
    add("--runs", type=count, default=5, metavar="N", help="at each length (5)")
    add_threads(parser)


def run(arguments: argparse.Namespace) -> int:
    """Measure and print; exit code 0 if a turn stays within the goal at every length."""
    torch.set_num_threads(arguments.threads)
    shape = SHAPES[arguments.shape]
    if arguments.layers:
        shape = replace(shape, num_hidden_layers=arguments.layers)
    model = plain_model(shape.config())
    figures: list[Figure] = []
    ratios: dict[int, float] = {}
    for num_cached in sorted(arguments.contexts):
        found = measure(model, num_cached, arguments.new, arguments.runs)
        needed = statistics.median(found["products"]) + statistics.median(found["attention"])
        figures += [
            Figure.of(name, samples, "s", needed if name == "turn" else None, num_cached)
            for name, samples in found.items()
        ]
        ratios[num_cached] = round(statistics.median(found["turn"]) / needed, 3)
        print(f"{num_cached:,} cached tokens: {ratios[num_cached]} times", file=sys.stderr)
    is_reached = max(ratios.values()) <= GOAL
    beside = {"shape": arguments.shape, "layers": shape.num_hidden_layers, "new": arguments.new}
    report = Report("turns", figures, None, {**beside, "ratios": ratios, "is_reached": is_reached})
    print(f"{report.table()}\n")
    print(f"a turn of {arguments.new} tokens, over the products and attention it needs: {ratios}")
    print(report.json())
    return 0 if is_reached else 1


def measure(model: Model, num_cached: int, num_new: int, num_runs: int) -> dict[str, list[float]]:
    """Return the seconds of turns on a context, and of what has to be done in each."""
    context, snapshot = random_past(model, num_cached)
    engine = Engine(model, cache_bytes=CACHE_BYTES)
    engine.snapshots.insert(snapshot)
    state = snapshot.restore()
    dice = random.Random(num_cached)
    clock = Clock(model.module)
    found: dict[str, list[float]] = {
        name: [] for name in ("turn", "products", "attention", "beside the forward")
    }
    for number in range(num_runs + 1):
        new = dice.choices(range(model.vocab_size), k=num_new)
        clock.seconds = 0.0
        seconds = {
            "turn": _seconds(_turn, engine, context, new),
            "beside the forward": -clock.seconds,
            "products": _seconds(products, model, num_new),
            "attention": _seconds(attention, model, state, num_new),
        }
        seconds["beside the forward"] += seconds["turn"]
        for name, samples in found.items():
            samples += [seconds[name]] if number else []  # the first one warms up
    engine.close()
    return found


def random_past(model: Model, num_tokens: int) -> tuple[list[int], Snapshot]:
    """Make a snapshot of so many tokens without reading them."""
    tokens = random.Random(0).choices(range(model.vocab_size), k=num_tokens)
    dtype, width = model.pool.shape.packed
    kv = torch.empty(model.pool.shape.sizes(num_tokens, width), dtype=dtype).normal_(std=STD)
    states = model.new_state()
    model.forward(tokens[:2], states)  # says what states look like
    linear = [slot.states for slot in states.slots.values()]
    packed = Packed(line_key(tokens), "", 0, tuple(tokens), kv, tuple(map(_drawn, linear)))
    return tokens, unpack([packed], model.layout, model.pool)


def _drawn(states: LinearStates) -> LinearStates:
    conv, recurrent = (
        tuple(None if state is None else torch.randn_like(state).mul_(STD) for state in kind)
        for kind in (states.conv, states.recurrent)
    )
    return LinearStates(conv, recurrent)


def products(model: Model, num_tokens: int) -> None:
    """Multiply so many rows by every matrix inside of the layers."""
    with torch.inference_mode():
        rows: dict[int, Tensor] = {}
        for layer in model.module.model.layers.modules():
            if isinstance(layer, nn.Linear):
                width = layer.in_features
                if width not in rows:
                    rows[width] = torch.ones(num_tokens, width, dtype=model.dtype)
                layer(rows[width])


def attention(model: Model, state: HybridState, num_tokens: int) -> None:
    """Let so many tokens attend to a past and to themselves, in every layer of attention."""
    config, layout = model.config, model.layout
    sizes = (num_tokens, layout.head_dim)
    with torch.inference_mode():
        query = torch.ones(1, config.num_attention_heads, *sizes, dtype=model.dtype)
        own = torch.ones(2, layout.num_kv_heads, *sizes, dtype=model.dtype)
        for rank in range(len(layout.attention)):
            past = state.table.read(rank)
            attend(query, past, (own[:1], own[1:]), layout.head_dim**-0.5)


def _turn(engine: Engine, context: Sequence[int], new: Sequence[int]) -> None:
    prompt = [*context, *new]
    branch = engine.find(prompt)
    assert len(branch) == len(context), "the context is cached"
    for _ in engine.generate(branch, new, SamplingOptions(), max_new_tokens=0, cancel=never):
        pass


def _seconds(run: Callable[..., None], *arguments: Any) -> float:
    started = time.perf_counter()
    run(*arguments)
    return time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(run_alone(__doc__, add_arguments, run))
