"""One turn: what it works on and with, and what it remembers from step to step.

What is remembered here is not in the journal; a turn that is resumed begins anew with it.
"""

import time
from dataclasses import dataclass, field

from agent.guard import Guard
from agent.parts import Parts
from agent.session import Session
from sandbox.base import Cancel


@dataclass
class Turn:
    """Changes while the turn runs."""

    session: Session
    parts: Parts
    cancel: Cancel
    guard: Guard = field(init=False)
    num_nudges: int = 0
    has_failed: bool = False
    """Whether a call of the last step failed, was refused, or showed red tests."""
    _before: tuple[int, int] = field(init=False, default=(0, 0))
    """Replies and calls of the session that are of earlier turns, each with a budget of its own."""

    def __post_init__(self) -> None:
        self.forget()
        if self.parts.talks:
            self._before = self.session.num_steps, self.session.num_calls

    @property
    def num_steps(self) -> int:
        """Replies that the budget has paid for."""
        return self.session.num_steps - self._before[0]

    @property
    def num_calls(self) -> int:
        """Calls that the budget has paid for."""
        return self.session.num_calls - self._before[1]

    def forget(self) -> None:
        """Begin to watch anew: what the model saw before is no longer before it."""
        self.guard = Guard(self.parts.config.guard)

    def stops(self) -> bool:
        """Say whether the person wants everything to stop, or the time is spent."""
        return self.cancel() or time.monotonic() >= self.parts.deadline_s
