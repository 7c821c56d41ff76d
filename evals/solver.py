"""Who works on a task, and what came of it; how an attempt is made is not said here.

A `Solver` is handed a task that was laid out and changes the files in its folder. Whether that was
a repair is for the task's source to grade. The agent is one solver (`fix_solver.py`); the others
are scripted, know the secret of a task, and show that a grader can be believed.
"""

from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from agent.settings import Budget
from evals.task import Place, Task
from inference.chat import Cancel

Line = dict[str, Any]
"""One line of a trajectory, as JSON holds it; `type` says what it is."""


class Spent(BaseModel):
    """What the replies of an attempt cost together."""

    model_config = ConfigDict(frozen=True)

    num_prompt: int = 0
    num_reused: int = 0
    num_prefilled: int = 0
    num_generated: int = 0
    num_thinking: int = 0
    prefill_s: float = 0.0
    decode_s: float = 0.0


class Attempt(BaseModel):
    """What a solver did with one task; nothing here says whether that was right."""

    model_config = ConfigDict(frozen=True)

    outcome: str = Field(description="In one word; of the agent, its exit code's word.")
    sentence: str = Field(default="", description="The same for a person.")
    num_attempts: int = Field(default=0, description="Attempts of the agent, the kept one last.")
    num_turns: int = Field(default=0, description="Replies of the model.")
    num_calls: int = Field(default=0, description="Calls of tools.")
    num_bad_calls: int = Field(default=0, description="Calls that could not be read.")
    context_tokens: int = Field(default=0, description="The longest conversation.")
    spent: Spent = Spent()
    seconds: float = 0.0
    changed_files: tuple[str, ...] = ()
    patch: str = Field(default="", description="As the agent left the files.")
    ended_by: str = Field(default="", description="Why the last turn ended, if not by `finish`.")
    replies_sha256: str = Field(default="", description="Of the words of all replies, in order.")


class Solver(Protocol):
    """Works on tasks, one at a time."""

    @property
    def name(self) -> str:
        """What it is called in a report: the model, or the script."""
        ...

    @property
    def is_scripted(self) -> bool:
        """Whether it may see `Task.secret`; anyone else gets the task without."""
        ...

    def solve(
        self, task: Task, place: Place, budget: Budget, cancel: Cancel
    ) -> tuple[Attempt, tuple[Line, ...]]:
        """Change the files of a place; return what was done, and the trajectory."""
        ...
