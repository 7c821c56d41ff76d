"""Notices a turn that goes in circles; decides nothing about what a call may do.

Three things are watched. The same call on the same files with the same result: running the tests
again after an edit is therefore never a repetition, and going back and forth between two edits is
one, however many other calls lie between. One, two or three calls that give the same results round
after round, whatever they do to the files. And reading on where nothing new is shown (`stall.py`).
Each leads from a note in the result, over a refusal, to the end of the turn.
"""

import hashlib
import json
import re
from collections import Counter
from dataclasses import dataclass
from enum import Enum

from agent.settings import GuardConfig
from agent.stall import Stall
from inference.messages import ToolCall

PERIODS = (1, 2, 3)
SLACK_ROUNDS = 1
"""A circle on changing files is given one round more than a call on files that stay."""
REFUSAL = "Not run: this call has given the same result each time. Do something else, or finish."


class Step(Enum):
    """What to do with a call."""

    RUN = "run"
    REFUSE = "refuse"
    STOP = "stop"


@dataclass(frozen=True)
class Ruling:
    """What to do with a call, and why if the turn ends."""

    step: Step
    reason: str = ""


class Guard:
    """Watches the calls of one turn."""

    def __init__(self, config: GuardConfig) -> None:
        self._config = config
        self._stall = Stall(config)
        self._results: Counter[str] = Counter()
        self._last: dict[str, str] = {}
        self._refused: Counter[str] = Counter()
        self._history: list[str] = []
        """A digest of each call with its result, in order."""
        self._newest: dict[str, str] = {}
        """The digest that each call led to last."""
        self._is_warm = False

    def before(self, call: ToolCall, workspace: str) -> Ruling:
        """Say whether a call may run; `workspace` names the state of the files."""
        plain, key = _key(call, ""), _key(call, workspace)
        seen = self._results[self._last[key]] if key in self._last else 0
        expected = self._newest.get(plain)
        rounds = _num_rounds([*self._history, expected]) if expected else 0
        count = max(seen + self._refused[key] + 1, rounds - SLACK_ROUNDS)
        if count >= self._config.stop_at:
            return Ruling(Step.STOP, "the model repeats the same calls without effect")
        if self._stall.is_over:
            return Ruling(Step.STOP, "the model reads the same again and again")
        if expected and (count >= self._config.refuse_at or self._stall.refuses(call)):
            self._refuse(key, expected)
            return Ruling(Step.REFUSE)
        return Ruling(Step.RUN)

    def after(self, call: ToolCall, before: str, after: str, result: str) -> str:
        """Record a result and the files around it; return a note to add to it, or nothing."""
        plain, key = _key(call, ""), _key(call, before)
        note = self._stall.after(call, result, key in self._last, before != after)
        digest = f"{key}:{_digest(_settled(result))}"
        self._results[digest] += 1
        self._last[key] = digest
        self._newest[plain] = f"{plain}:{_digest(_settled(result))}"
        self._history.append(self._newest[plain])
        count = self._results[digest]
        if count >= self._config.note_at:
            return _noted(
                f"This is time {count} that this call gave this result with nothing changed "
                "in between. Do something else."
            )
        rounds = _num_rounds(self._history)
        if rounds >= self._config.note_at + SLACK_ROUNDS:
            return _noted(
                f"This is round {rounds} of the same calls with the same results. "
                "Do something else."
            )
        return _noted(note) if note else ""

    def take_warm(self) -> bool:
        """Say, once, that a call was refused: the next reply must not be drawn as before."""
        was_warm, self._is_warm = self._is_warm, False
        return was_warm

    def _refuse(self, key: str, expected: str) -> None:
        self._refused[key] += 1
        self._history.append(expected)
        self._stall.refused()
        self._is_warm = True


def _num_rounds(history: list[str]) -> int:
    """Count how often in a row the last one, two or three entries came; once is 1."""
    best = 0
    for period in PERIODS:
        num_same = 0
        for entry, earlier in zip(reversed(history), reversed(history[:-period]), strict=False):
            if entry != earlier:
                break
            num_same += 1
        best = max(best, num_same // period + 1)
    return best


def _settled(text: str) -> str:
    """Return a result without what differs each time: durations and times of the day."""
    return re.sub(r"(?<!\d)\d{1,9}\.\d{1,9} ?(?:ms|s\b|sec)|\b\d\d:\d\d:\d\d(?:\.\d+)?\b", "", text)


def _noted(sentence: str) -> str:
    return f"\n\n[{sentence}]"


def _key(call: ToolCall, workspace: str) -> str:
    arguments = json.dumps(dict(call.arguments), sort_keys=True, default=str)
    return _digest(f"{call.name}\0{arguments}\0{workspace}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
