"""The suites and the scripted solvers by name; each is imported when it is asked for.

What a suite can be told on the command line is here; what its tasks are is in the file of its
source. The JSON of a source names its suite, so that any process can open it again.
"""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evals.numbers import count, seeds
from evals.solver import Solver
from evals.task import TaskSource


@dataclass(frozen=True)
class Suite:
    """How a person and another process come by the source of one suite."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    open: Callable[[argparse.Namespace], TaskSource]
    """From the arguments; a `UsageError` says what is wrong with them."""
    from_spec: Callable[[Mapping[str, Any]], TaskSource]
    """From what was in `TaskSource.spec`."""
    model: str = "auto"
    """Who works on it if nobody says."""


def open_source(spec: str) -> TaskSource:
    """Make the source that has this spec."""
    values = json.loads(spec)
    return SUITES[values["suite"]].from_spec(values)


def open_script(name: str) -> Solver:
    """Make a scripted solver."""
    return SCRIPTS[name]()


def _add_nano(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seeds", type=seeds, default=range(900_000, 900_100), metavar="A:B",
        help="first and one past the last; from 900000 on they are held out of training",
    )  # fmt: skip
    parser.add_argument("--bugs", type=count, default=1, metavar="N", help="of every repository")


def _open_nano(arguments: argparse.Namespace) -> TaskSource:
    from evals.nano.source import NanoSource

    return NanoSource(arguments.seeds.start, arguments.seeds.stop, arguments.bugs)


def _nano_from(values: Mapping[str, Any]) -> TaskSource:
    from evals.nano.source import NanoSource

    return NanoSource.from_spec(values)


SUITES: Mapping[str, Suite] = {
    "nano": Suite(
        "generated repositories, one a seed", _add_nano, _open_nano, _nano_from, model="nano"
    ),
}
SCRIPTS: Mapping[str, Callable[[], Solver]] = {}
