"""The suites and who can work on them, by name; each is imported when it is asked for.

A suite is a module of `evals/tasks/` that can be told things on the command line and opened again
from the JSON of its source, in any process.
"""

import argparse
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from evals.conditions import AGENT, Conditions
from evals.solver import Solver
from evals.task import TaskSource


class SuiteModule(Protocol):
    """What the module of a suite offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare what the suite can be told."""
        ...

    def from_arguments(self, arguments: argparse.Namespace) -> TaskSource:
        """Open it for a person."""
        ...

    def from_spec(self, spec: str) -> TaskSource:
        """Open it again elsewhere."""
        ...


@dataclass(frozen=True)
class Suite:
    """Where a suite is found, and what a person is told of it."""

    where: str
    help: str
    model: str = "auto"
    """Who works on it if nobody says."""

    @property
    def module(self) -> SuiteModule:
        """The module, imported."""
        return cast(SuiteModule, import_module(self.where))


SUITES: Mapping[str, Suite] = {
    "nano": Suite("evals.tasks.nano", "generated repositories, one a seed", model="nano"),
}


def open_source(spec: str) -> TaskSource:
    """Make the source that has this spec."""
    return SUITES[json.loads(spec)["suite"]].module.from_spec(spec)


def open_solver(conditions: Conditions) -> Solver:
    """Return who works on the tasks of a run.

    Raises:
        ModelUnavailable: the model cannot be had.
    """
    if conditions.solver != AGENT:
        from evals.script_solver import ScriptSolver

        return ScriptSolver(conditions.solver)
    from evals.fix_solver import open_fix_solver  # the agent, and with nano torch

    return open_fix_solver(conditions)
