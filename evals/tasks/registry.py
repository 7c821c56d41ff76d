"""All suites by name: what `eval run SUITE` can be told, and a source from its spec."""

import argparse
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evals.task import TaskSource
from evals.tasks import folder, mutants, nano, swebench


@dataclass(frozen=True)
class Suite:
    """A kind of source."""

    help: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    from_arguments: Callable[[argparse.Namespace], TaskSource]
    from_spec: Callable[[str], TaskSource]


SUITES: Mapping[str, Suite] = {
    "nano": Suite(
        "generated repositories, one a seed",
        nano.add_arguments, nano.from_arguments, nano.from_spec,
    ),
    "mutants": Suite(
        "a library with a mistake in it that its tests notice",
        mutants.add_arguments, mutants.from_arguments, mutants.from_spec,
    ),
    "swebench": Suite(
        "instances in the form of SWE-bench",
        swebench.add_arguments, swebench.from_arguments, swebench.from_spec,
    ),
    "folder": Suite(
        "tasks of your own: a repository, an issue, a test command",
        folder.add_arguments, folder.from_arguments, folder.from_spec,
    ),
}  # fmt: skip


def open_source(spec: str) -> TaskSource:
    """Open the source that a spec describes."""
    return SUITES[json.loads(spec)["suite"]].from_spec(spec)
