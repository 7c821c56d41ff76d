"""What a person types while a turn runs, until somebody takes it; from any thread.

What steers goes to the model with its next result; what is queued is a prompt of its own, later.
"""

import threading
from dataclasses import dataclass


@dataclass(frozen=True)
class _Typed:
    text: str
    steers: bool


class Inbox:
    """Texts in the order in which they were typed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._typed: list[_Typed] = []

    def steer(self, text: str) -> None:
        """Keep a text for the turn that runs."""
        self._add(_Typed(text, steers=True))

    def queue(self, text: str) -> None:
        """Keep a text for when that turn has ended."""
        self._add(_Typed(text, steers=False))

    def take_back(self) -> str | None:
        """Return what was typed last, as if it had not been typed; None if it was taken."""
        with self._lock:
            return self._typed.pop().text if self._typed else None

    def queued(self) -> tuple[str, ...]:
        """Return what waits for the turn to end, and steers nothing."""
        with self._lock:
            return tuple(typed.text for typed in self._typed if not typed.steers)

    def take_steering(self) -> str | None:
        """Return all that steers, for the model."""
        with self._lock:
            texts = [typed.text for typed in self._typed if typed.steers]
            self._typed = [typed for typed in self._typed if not typed.steers]
        return "\n".join(texts) or None

    def take_prompt(self) -> str | None:
        """Return the next prompt when no turn runs: what came too late to steer first."""
        late = self.take_steering()
        if late is not None:
            return late
        with self._lock:
            return self._typed.pop(0).text if self._typed else None

    def _add(self, typed: _Typed) -> None:
        with self._lock:
            self._typed.append(typed)
