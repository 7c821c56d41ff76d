"""What one turn remembers from step to step; a turn that is resumed begins anew with it."""

from dataclasses import dataclass, field

from agent.guard import Guard
from agent.settings import GuardConfig


@dataclass
class Turn:
    """Changes while the turn runs."""

    config: GuardConfig
    guard: Guard = field(init=False)
    num_nudges: int = 0
    has_failed: bool = False
    """Whether a call of the last step failed, was refused, or showed red tests."""

    def __post_init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin to watch anew: what the model saw before is no longer before it."""
        self.guard = Guard(self.config)
