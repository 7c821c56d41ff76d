"""How much sooner does a turn begin because what was read before need not be read again?

Method: the traces of `trace.py`, same token ids for every engine, greedy except where replies are
sampled; each engine in a process of its own, whose restart is a real one; medians with n and
range. Engines: ours, ours without reuse (cold), transformers with its cache kept, llama-server
where one is given. Clock: perf_counter in the engine's process, from the question to the first
token. Last line: JSON, figures and machine.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from evals.bench import published
from evals.bench.adapter import Adapter, BenchFailed, InChild
from evals.bench.arguments import add_threads, at_least, count, file
from evals.bench.machine import describe_machine
from evals.bench.peers import LlamaServer, is_program, open_transformers
from evals.bench.rehearsal import Keeps, cost, rehearse
from evals.bench.summary import (
    COLD,
    LLAMA_CPP,
    OURS,
    TRANSFORMERS,
    Measured,
    shortfalls,
    summarise,
    table,
)
from evals.bench.trace import GROUPS, Row, Run, Sizes, Trace, draw_trace, load_trace

if TYPE_CHECKING:
    from inference.door import DType

KEEPS: dict[str, Keeps] = {OURS: "all", COLD: "nothing", TRANSFORMERS: "last", LLAMA_CPP: "all"}
"""What each engine is thought to reuse, for the estimate of the time that is left."""


@dataclass(frozen=True)
class Plan:
    """What is run."""

    checkpoint: Path
    engines: tuple[str, ...]
    groups: tuple[str, ...]
    sizes: tuple[Sizes, ...]
    """One a base."""
    dtype: str
    num_threads: int
    num_repeats: int
    seed: int
    trace_file: Path | None = None
    llama_server: Path | None = None
    gguf: Path | None = None


@dataclass
class Outcome:
    """What came of it; filled as it runs, so that a stop loses nothing."""

    results: list[Measured]
    comparable: dict[int, bool]
    failures: list[str]
    is_interrupted: bool = False


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        metavar="FOLDER",
        help="a checkpoint; one with --shape is made if left out",
    )
    add(
        "--shape",
        default="0.8b",
        metavar="NAME",
        help="0.8b (default), 2b, 4b or tiny; random weights",
    )
    base = "tokens of the base, from 16 on"
    add("--base", type=at_least(16), nargs="+", default=[8192, 16384], metavar="N", help=base)
    add(
        "--cases",
        nargs="+",
        choices=GROUPS,
        default=list(GROUPS),
        metavar="CASE",
        help=", ".join(GROUPS),
    )
    add(
        "--engines",
        nargs="*",
        choices=(OURS, COLD, TRANSFORMERS),
        metavar="NAME",
        default=[OURS, COLD, TRANSFORMERS],
        help="ours, cold (no reuse), transformers",
    )
    add("--llama-server", type=Path, metavar="BIN", help="also run this llama-server, on --gguf")
    add("--gguf", type=file, metavar="FILE", help="the same weights for it")
    add(
        "--trace", type=file, metavar="FILE", help="token ids to use; drawn from --seed if left out"
    )
    add("--seed", type=int, default=0, help="of the token ids and the lengths of messages")
    add("--repeats", type=count, default=1, metavar="N", help="passes over everything")
    add("--dtype", choices=("bfloat16", "float32"), default="bfloat16", help="of all weights")
    add_threads(parser)
    add("--json", action="store_true", help="print one line of JSON; the table goes to stderr")


def run(arguments: argparse.Namespace) -> int:
    """Run as the arguments say; return the exit code."""
    try:
        with tempfile.TemporaryDirectory(prefix="qwen-agent-bench-") as folder:
            plan = plan_of(arguments, Path(folder))
            started = time.perf_counter()
            outcome = carry_out(plan, Path(folder), _say)
            seconds = time.perf_counter() - started
    except BenchFailed as error:
        print(f"qwen-agent: {error}", file=sys.stderr)
        return 2
    summaries = summarise(outcome.results, outcome.comparable)
    print(table(summaries), file=sys.stderr if arguments.json else sys.stdout)
    found = shortfalls(summaries)
    for sentence in [*found, *outcome.failures]:
        print(sentence, file=sys.stderr)
    if arguments.json:
        report = {
            "bench": "reuse",
            "machine": {**describe_machine(plan.num_threads), "dtype": plan.dtype},
            "model": str(arguments.model or arguments.shape),
            "num_repeats": plan.num_repeats,
            "seconds": round(seconds, 1),
            "is_interrupted": outcome.is_interrupted,
            "failures": outcome.failures,
            "shortfalls": found,
            "cases": [asdict(summary) for summary in summaries],
            "rows": [asdict(result) for result in outcome.results],
            "published": {
                "source": published.SOURCE,
                "llama.cpp": {case: asdict(one) for case, one in published.LLAMA_CPP.items()},
                "llama.cpp -sps 0": {
                    case: asdict(one) for case, one in published.LLAMA_CPP_TUNED.items()
                },
            },
        }
        print(json.dumps(report), flush=True)
    return 130 if outcome.is_interrupted else 1 if outcome.failures else 0


def plan_of(arguments: argparse.Namespace, folder: Path) -> Plan:
    """Check the arguments, and make a checkpoint in `folder` if none is given.

    Raises:
        BenchFailed: they cannot be run.
    """
    engines = tuple(arguments.engines)
    if (arguments.llama_server is None) != (arguments.gguf is None):
        raise BenchFailed("--llama-server and --gguf go together; give both.")
    if arguments.llama_server is not None:
        if not is_program(arguments.llama_server):
            raise BenchFailed(f"{arguments.llama_server} is not a program.")
        engines = (*engines, LLAMA_CPP)
    return Plan(
        checkpoint=arguments.model or _made(arguments.shape, arguments.dtype, folder),
        engines=engines,
        groups=tuple(group for group in GROUPS if group in arguments.cases),
        sizes=tuple(Sizes(num_base=n) for n in sorted(set(arguments.base))),
        dtype=arguments.dtype,
        num_threads=arguments.threads,
        num_repeats=arguments.repeats,
        seed=arguments.seed,
        trace_file=arguments.trace,
        llama_server=arguments.llama_server,
        gguf=arguments.gguf,
    )


def _made(shape: str, dtype: str, folder: Path) -> Path:
    """Make a checkpoint."""
    import torch

    from evals.bench.shapes import SHAPES, make_checkpoint

    if shape not in SHAPES:
        raise BenchFailed(f"{shape} is no shape; take one of {', '.join(SHAPES)}.")
    _say(f"making random weights in the shape of {shape}")
    return make_checkpoint(SHAPES[shape], folder / "checkpoint", getattr(torch, dtype))


def carry_out(plan: Plan, folder: Path, say: Callable[[str], None]) -> Outcome:
    """Run every engine over every base; Ctrl-C ends it with what there is.

    Raises:
        BenchFailed: the trace cannot be used.
    """
    outcome = Outcome([], {}, [])
    passes = []
    for sizes in plan.sizes:
        material = material_of(plan, sizes)
        outcome.comparable[len(material.base)] = published.is_comparable(material)
        passes += [
            (engine, material, sizes, repeat)
            for repeat in range(plan.num_repeats)
            for engine in plan.engines
        ]
    clock = _Clock(
        [
            (name, sum(map(cost, rehearse(KEEPS[name], material, sizes, plan.groups))))
            for name, material, sizes, _ in passes
        ]
    )
    try:
        for number, (name, material, sizes, repeat) in enumerate(passes):
            store = folder / f"pass-{number}"
            store.mkdir()
            _one_pass(plan, name, material, sizes, repeat, store, outcome, clock, say)
            clock.finish()
    except KeyboardInterrupt:
        outcome.is_interrupted = True
        say("interrupted; here is what there is")
    return outcome


def material_of(plan: Plan, sizes: Sizes) -> Trace:
    """Return the token ids for one base."""
    if plan.trace_file is None:
        return draw_trace(sizes, vocab_size_of(plan.checkpoint), plan.seed)
    material = load_trace(plan.trace_file)
    if sizes.num_base > len(material.base):
        raise BenchFailed(
            f"{plan.trace_file} has a base of {len(material.base)} tokens; ask for --base "
            f"{len(material.base)} or less."
        )
    kept = material.base[: sizes.num_base - 1] + material.base[-1:]
    return Trace(kept, material.chunks, material.close)


def vocab_size_of(checkpoint: Path) -> int:
    """Read how many tokens a model knows.

    Raises:
        BenchFailed: the folder holds no model.
    """
    try:
        config = json.loads((checkpoint / "config.json").read_text(encoding="utf-8"))
        return int(config.get("text_config", config)["vocab_size"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise BenchFailed(f"{checkpoint} holds no model that can be run ({error}).") from error


def _one_pass(
    plan: Plan,
    name: str,
    material: Trace,
    sizes: Sizes,
    repeat: int,
    store: Path,
    outcome: Outcome,
    clock: "_Clock",
    say: Callable[[str], None],
) -> None:
    """Run all cases on one engine; what goes wrong with it is said, and the next one follows."""
    label = f"{name} {len(material.base):,}"

    def on_row(row: Row) -> None:
        outcome.results.append(Measured(name, len(material.base), repeat, row))
        say(
            f"{label}: {row.case} {row.turn}: read {row.num_prefilled:,} of {row.num_prompt:,}, "
            f"first token after {row.ttft_s:.2f} s; {clock.left(name, cost(row))}"
        )

    say(f"{label}: starting")
    try:
        engine = open_adapter(plan, name, material, sizes, store)
        clock.begin()
        try:
            trace_run = Run(engine, material, sizes, on_row)
            for group in plan.groups:
                GROUPS[group](trace_run)
        finally:
            engine.close()
    except BenchFailed as error:
        outcome.failures.append(f"{label}: {error}")
        say(outcome.failures[-1])


def open_adapter(plan: Plan, name: str, material: Trace, sizes: Sizes, store: Path) -> Adapter:
    """Start an engine by its name.

    Raises:
        BenchFailed: it does not start.
    """
    if name == TRANSFORMERS:
        return InChild(partial(open_transformers, plan.checkpoint, plan.dtype, plan.num_threads))
    if name == LLAMA_CPP:
        assert plan.llama_server is not None
        assert plan.gguf is not None
        longest = max(map(len, material.chunks)) + sizes.num_generated + sizes.num_thinking
        window = len(material.base) + 12 * (longest + 8)
        return LlamaServer(
            plan.llama_server, plan.gguf, window, plan.num_threads, store / "server.log"
        )
    folder = store if name == OURS else None
    make = partial(
        _open_own, plan.checkpoint, folder, plan.dtype, plan.num_threads, material.opener
    )
    return InChild(make)


def _open_own(
    checkpoint: Path, folder: Path | None, dtype: str, num_threads: int, opener: int | None
) -> Adapter:
    """Open ours; torch is loaded here, in the child."""
    from evals.bench.own import open_own

    name: DType = "float32" if dtype == "float32" else "bfloat16"
    return open_own(checkpoint, folder, name, num_threads, opener)


class _Clock:
    """Estimates the time that is left from what questions were thought to cost."""

    def __init__(self, costs: Sequence[tuple[str, int]]) -> None:
        """Take the engine and the cost of each pass, in order."""
        self._left = list(costs)
        self._done: dict[str, int] = {}
        self._seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def left(self, name: str, num: int) -> str:
        """Note a question's cost; return words for the time left."""
        now = time.perf_counter()
        self._done[name] = self._done.get(name, 0) + num
        self._seconds[name] = self._seconds.get(name, 0.0) + now - self._last
        self._last = now
        engine, remaining = self._left[0]
        self._left[0] = (engine, max(0, remaining - num))
        average = sum(self._seconds.values()) / max(1, sum(self._done.values()))
        seconds = sum(
            cost * (self._seconds[engine] / self._done[engine] if engine in self._done else average)
            for engine, cost in self._left
        )
        return (
            f"about {seconds / 60:.0f} min left" if seconds > 90 else f"about {seconds:.0f} s left"
        )

    def begin(self) -> None:
        """A pass begins; what it took to start its engine is not part of a question."""
        self._last = time.perf_counter()

    def finish(self) -> None:
        """A pass is over, whatever it cost."""
        self._left.pop(0)


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_arguments(parser)
    return run(parser.parse_args([*sys.argv[1:], "--json"]))


if __name__ == "__main__":
    sys.exit(main())
