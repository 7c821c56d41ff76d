"""What a run holds fixed for every task: the solver, the model and the switches of an ablation.

Two runs are compared task by task, so everything that may differ between them is a field here, and
the hash of all of it is in every file of a run.
"""

import hashlib
import json
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from agent.settings import Budget, Effort

AGENT = "agent"
EditorForm = Literal["full", "plain", "none"]


class Conditions(BaseModel):
    """How every task of a run is worked on."""

    model_config = ConfigDict(frozen=True)

    solver: str = Field(default=AGENT, description="The agent, or the name of a script.")
    model: str = Field(default="", description="Of the agent; empty for a script.")
    seed: int = Field(default=0, description="Of sampled attempts: attempt i draws with seed + i.")
    attempts: int = Field(default=1, ge=1)
    temperature: float | None = Field(
        default=None, description="Of every attempt; none is greedy or the model's preset first."
    )
    reuse: bool = Field(default=True, description="False prefills everything for every reply.")
    verify: bool = Field(default=True, description="False checks nothing after edits.")
    editor: EditorForm = Field(
        default="full",
        description="`plain` is what nano has, `none` leaves edits to shell commands.",
    )
    thinking: Effort = "normal"
    thinking_tokens: int = Field(default=2048, ge=1, description="Of one reply.")
    max_turns: int = Field(default=60, ge=1, description="Replies of one attempt.")
    max_tokens: int = Field(default=1_000_000, ge=1, description="Prefilled and generated.")
    max_time_s: float = Field(default=3600.0, gt=0, description="Of all attempts at a task.")

    @property
    def budget(self) -> Budget:
        """What one task may use."""
        return Budget(
            max_steps=self.max_turns, max_time_s=self.max_time_s, max_tokens=self.max_tokens
        )


def digest_of(spec: str, conditions: Conditions) -> str:
    """Return what names the tasks and the conditions of a run together."""
    text = json.dumps([json.loads(spec), conditions.model_dump()], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
