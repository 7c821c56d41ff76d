"""A benchmark that may be cut off: the time it has left, and figures that are kept as they come."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evals.bench.roofline import Ceilings, Figure, Report


class Clock:
    """Seconds that may be used, and parts of them."""

    def __init__(self, seconds: float) -> None:
        self._deadline = time.monotonic() + seconds

    @property
    def left_s(self) -> float:
        """Seconds that are left."""
        return self._deadline - time.monotonic()

    def is_over(self) -> bool:
        """Whether none are."""
        return self.left_s <= 0

    def share(self, share: float) -> "Clock":
        """Return a clock with a part of what is left."""
        return Clock(self.left_s * share)


class Notes:
    """Figures in a file that is whole at any moment; the report is made of the same."""

    def __init__(self, bench: str, file: Path, machine: Mapping[str, object]) -> None:
        self._bench = bench
        self._file = file
        self._machine = machine
        self._figures: list[Figure] = []
        self._beside: dict[str, Any] = {}
        self._goals: dict[str, bool] = {}
        self._ceilings: Ceilings | None = None
        self.failures: list[str] = []

    def note(self, figure: Figure) -> None:
        """Keep a figure and say it."""
        self._figures.append(figure)
        at = "" if figure.at is None else f" at {figure.at:,}"
        share = "" if figure.share is None else f", {figure.share:.1%} of the ceiling"
        self.say(f"{figure.name}{at}: {figure.value:.4g} {figure.unit}{share}")
        self._write()

    def beside(self, name: str, found: object) -> None:
        """Keep what is no figure."""
        self._beside[name] = found
        self._write()

    def goal(self, name: str, is_met: bool) -> None:
        """Keep whether a goal is met."""
        self._goals[name] = is_met
        self._write()

    def fail(self, sentence: str) -> None:
        """Keep what did not come to its end."""
        self.failures.append(sentence)
        self.say(sentence)
        self._write()

    @property
    def ceilings(self) -> Ceilings:
        """What `limits` was told."""
        assert self._ceilings is not None, "ceilings are measured first"
        return self._ceilings

    def limits(self, ceilings: Ceilings) -> None:
        """Keep the ceilings, and say them."""
        self._ceilings = ceilings
        self.say(ceilings.words())

    def say(self, words: str) -> None:
        """Tell who waits."""
        print(words, file=sys.stderr, flush=True)

    def report(self) -> Report:
        """Return all that there is."""
        beside = {**self._beside, "goals": self._goals, "failures": self.failures}
        return Report(self._bench, self._figures, self._ceilings, beside, self._machine)

    def _write(self) -> None:
        draft = self._file.with_suffix(".part")
        draft.write_text(self.report().json() + "\n", encoding="utf-8")
        draft.replace(self._file)
