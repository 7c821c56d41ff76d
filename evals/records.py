"""What a run writes down: its head, and one record a task. Where that lies is `run_folder.py`."""

import os
import platform
import time
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict, Field

from evals.conditions import Conditions, digest_of
from evals.solver import Attempt
from evals.task import NOT_COUNTED, FailureClass, Grade, TaskSource

PACKAGES = ("qwen-agent-local", "torch", "transformers", "tokenizers", "llguidance")
"""Whose versions may change what a run comes to."""


class Head(BaseModel):
    """What stands first in every file of a run: enough to make the run again."""

    model_config = ConfigDict(frozen=True)

    type: str = "run"
    suite: str
    source: str = Field(description="JSON from which the same tasks are made.")
    contamination: str = Field(description="May a model have seen these tasks?")
    num_tasks: int
    model: str
    seed: int
    conditions: Conditions
    config_sha256: str = Field(description="Of source and conditions.")
    versions: dict[str, str]
    machine: str
    started: str = Field(description="UTC.")

    @classmethod
    def of(cls, source: TaskSource, num_tasks: int, conditions: Conditions) -> "Head":
        """Say what is about to be run, here and now."""
        return cls(
            suite=source.suite,
            source=source.spec,
            contamination=source.contamination,
            num_tasks=num_tasks,
            model=conditions.model or conditions.solver,
            seed=conditions.seed,
            conditions=conditions,
            config_sha256=digest_of(source.spec, conditions),
            versions=versions(),
            machine=f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
            started=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        )


class Record(BaseModel):
    """What came of one task."""

    model_config = ConfigDict(frozen=True)

    type: str = "task"
    task: str
    facts: dict[str, str] = {}
    grade: Grade
    attempt: Attempt
    failure: FailureClass | None = Field(description="Why it was not solved.")

    @property
    def is_solved(self) -> bool:
        """Whether the grader says so."""
        return self.grade.is_solved

    @property
    def counts(self) -> bool:
        """Whether it says something of the solver."""
        return self.failure not in NOT_COUNTED

    @property
    def outcome(self) -> tuple[bool, str | None, str]:
        """What has to be the same when a run is made again; times are not."""
        return self.is_solved, self.failure, self.attempt.replies_sha256


def versions() -> dict[str, str]:
    """Return the versions of Python and of what the engine is made of, as far as installed."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
