"""Notices a turn that goes in circles; decides nothing about what a call may do.

What counts is the same call, on the same files, with the same result. Running the tests again
after an edit is therefore never a repetition, and going back and forth between two edits is one,
however many other calls lie between.
"""

import hashlib
import json
from collections import Counter
from enum import Enum

from agent.settings import GuardConfig
from inference.messages import ToolCall


class Step(Enum):
    """What to do with a call."""

    RUN = "run"
    REFUSE = "refuse"
    STOP = "stop"


class Guard:
    """Counts the calls of one turn."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._results: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._refused: Counter[str] = Counter()

    def before(self, call: ToolCall, workspace: str) -> Step:
        """Say whether a call may run; `workspace` names the state of the files."""
        key = _key(call, workspace)
        seen = self._results[self._last[key]] if key in self._last else 0
        count = seen + self._refused[key] + 1
        if count >= self._config.stop_at:
            return Step.STOP
        if count >= self._config.refuse_at:
            self._refused[key] += 1
            return Step.REFUSE
        return Step.RUN

    def after(self, call: ToolCall, workspace: str, result: str) -> str:
        """Record a result; return a note to add to it, or nothing."""
        key = _key(call, workspace)
        digest = f"{key}:{_digest(result)}"
        self._results[digest] += 1
        self._last[key] = digest
        count = self._results[digest]
        if count < self._config.note_at:
            return ""
        return (
            f"\n\n[This is time {count} that this call gave this result with nothing changed "
            "in between. Do something else.]"
        )


REFUSAL = "Not run: this call has given the same result each time. Do something else, or finish."


def _key(call: ToolCall, workspace: str) -> str:
    arguments = json.dumps(dict(call.arguments), sort_keys=True, default=str)
    return _digest(f"{call.name}\0{arguments}\0{workspace}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
