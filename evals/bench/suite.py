"""All benchmarks by name: `qwen-agent bench NAME` finds one here and loads it, and no other.

A benchmark is a module with `add_arguments` and `run`. It prints what people read and, as its last
line, JSON; with `--keep FOLDER` before its name that line becomes a page there (`keep.py`).
"""

import argparse
import importlib
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import Protocol, TextIO, cast

from agent.arguments import Parser
from agent.errors import UsageError
from evals.bench.adapter import BenchFailed

BENCHES: Mapping[str, tuple[str, str]] = {
    "trace": ("reuse", "turns, forks, restarts: what is read again, and how soon a reply begins"),
    "prefill": ("prefill", "how soon a prompt has been read"),
    "decode": ("decode", "how fast a reply is written"),
    "turns": ("turns", "whether a turn costs what its new tokens cost"),
    "speculate": ("speculate", "what guessing tokens saves, and costs where it cannot"),
    "batch": ("batch", "what lines gain that are read together"),
    "grammar": ("grammar", "calls held to their form: what it costs, and whether it holds"),
    "gpu": ("gpu", "27B and 35B-A3B in the memory of a 24 GB card, up to the whole window"),
    "plan": ("plan", "a model of the true size and random weights: does it load and run here?"),
    "quality": ("quality", "how far the next token is from that of unquantized weights"),
    "kv": ("kv", "what keys and values in 8 and 4 bits cost in quality"),
    "fork": ("fork", "what a snapshot and a fork cost in a long conversation"),
    "store": ("store", "how long a conversation takes to come back from disk"),
    "edit": ("edit", "whether edits land where they were meant, and recover from mistakes"),
    "outline": ("outline", "how long the map of a large repository takes"),
}  # fmt: skip
"""Name, module and question of each."""
ROOMS = ("agent", "evals", "inference", "sandbox", "tools")


class Bench(Protocol):
    """What a module of a benchmark has."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the arguments."""
        ...

    def run(self, arguments: argparse.Namespace) -> int:
        """Measure and print; return the exit code."""
        ...


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the name of a benchmark; what comes after it is for its module."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    width = max(map(len, BENCHES))
    lines = (f"  {name:{width}}  {asks}" for name, (_, asks) in BENCHES.items())
    parser.epilog = "benchmarks:\n" + "\n".join(lines)
    keep = "write what is found there as a page, JSON and a plot; before NAME"
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help=keep)
    named = "one of those below"
    parser.add_argument("bench", nargs="?", choices=BENCHES, metavar="NAME", help=named)
    words = "see `qwen-agent bench NAME --help`"
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help=words)


def run(arguments: argparse.Namespace) -> int:
    """Load and run the benchmark that was named.

    Raises:
        UsageError: there is no such benchmark or argument, or none was named.
    """
    if arguments.bench is None:
        names = f"{', '.join(BENCHES)}; see `qwen-agent bench --help`"
        raise UsageError(f"name a benchmark: {names}")
    module, asks = BENCHES[arguments.bench]
    try:
        bench = cast(Bench, importlib.import_module(f"evals.bench.{module}"))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in ROOMS:
            raise
        print(f"qwen-agent: this needs {error.name}; install it to run this.", file=sys.stderr)
        return 2
    parser = Parser(prog=f"qwen-agent bench {arguments.bench}", description=asks)
    bench.add_arguments(parser)
    chosen = parser.parse_args(arguments.words)
    try:
        with _tidy_ends():
            if arguments.keep is None:
                return bench.run(chosen)
            return _kept(bench, chosen, arguments)
    except BenchFailed as error:
        print(f"qwen-agent: {error}", file=sys.stderr)
        return 1


@contextmanager
def _tidy_ends() -> Iterator[None]:
    """End on SIGTERM and SIGHUP as on Ctrl-C: folders with gigabytes of weights are removed."""

    def leave(number: int, _frame: object) -> None:
        sys.exit(128 + number)

    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    ours = [number for number, handler in before.items() if handler is signal.SIG_DFL]
    for number in ours:
        signal.signal(number, leave)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)


def _kept(bench: Bench, chosen: argparse.Namespace, arguments: argparse.Namespace) -> int:
    """Run it, and keep its last line in a folder."""
    from evals.bench.keep import NothingToKeep, keep, make_room

    make_room(arguments.keep)
    printed = _LastLine(sys.stdout)
    with redirect_stdout(cast(TextIO, printed)):
        code = bench.run(chosen)
    command = " ".join(["qwen-agent bench", arguments.bench, *arguments.words])
    try:
        page = keep(printed.line, command, arguments.keep)
    except NothingToKeep as error:
        print(f"qwen-agent: {error}", file=sys.stderr)
        return code or 1
    print(f"kept in {page}", file=sys.stderr)
    return code


class _LastLine:
    """Hands on what is written, and remembers the last line."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._text = ""

    def write(self, text: str) -> int:
        self._text = "\n".join((self._text + text).split("\n")[-2:])
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    @property
    def line(self) -> str:
        """What was written last."""
        return self._text.strip().rpartition("\n")[2]
