"""A trace without a model: what each question costs an engine that keeps all, the last, or nothing.

It is how a run knows how long it will take, and an oracle for tests: an engine that keeps its last
line must read exactly the tokens that `Rehearsal("last")` counts.
"""

import random
from collections.abc import Sequence
from typing import Literal

from evals.bench.adapter import Answer, Restarted
from evals.bench.trace import GROUPS, Row, Run, Sizes, Trace
from inference.prefix import num_common

Keeps = Literal["all", "last", "nothing"]

DECODE_COST = 10
"""Reading tokens takes a fraction of the time of writing as many; this is roughly which."""


class Rehearsal:
    """Answers with tokens drawn at random, and says what an engine would have had to read."""

    def __init__(self, keeps: Keeps) -> None:
        self.keeps = keeps
        self._lines: list[list[int]] = []
        self._random = random.Random(0)

    def ask(self, ids: Sequence[int], n_gen: int, seed: int = 0) -> Answer:
        """Count what is not known; a whole prompt that is known still takes one token."""
        cached = min(self._num_known(list(ids)), len(ids) - 1)
        tokens = [self._random.randrange(1_000_000) for _ in range(n_gen)]
        if self.keeps != "all":
            self._lines.clear()
        self._lines.append([*ids, *tokens[:-1]])
        return {
            "tokens": tokens,
            "prompt_n": len(ids) - cached,
            "cached_n": cached,
            "ttft": 0.0,
            "total": 0.0,
            "gen_tok_s": None,
            "peak_rss_bytes": 0,
        }

    def restart(self) -> Restarted:
        """Forget what is only in memory."""
        if self.keeps == "last":
            self._lines.clear()
        return {"restart_s": 0.0}

    def close(self) -> None:
        """Nothing is held."""

    def _num_known(self, ids: list[int]) -> int:
        if self.keeps == "nothing":
            return 0
        if self.keeps == "last":
            return max((len(line) for line in self._lines if ids[: len(line)] == line), default=0)
        return max((num_common(ids, line) for line in self._lines), default=0)


def rehearse(keeps: Keeps, trace: Trace, sizes: Sizes, groups: Sequence[str]) -> list[Row]:
    """Return the rows of a pass over `groups`."""
    rows: list[Row] = []
    run = Run(Rehearsal(keeps), trace, sizes, rows.append)
    for group in groups:
        GROUPS[group](run)
    return rows


def cost(row: Row) -> int:
    """Return what a question weighs in the estimate of the time that is left."""
    return row.num_prefilled + DECODE_COST * row.num_generated
