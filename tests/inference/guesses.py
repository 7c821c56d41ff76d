"""Guesses that are known beforehand to be right or wrong, the same on every machine."""

from collections.abc import Sequence

from inference.branch import Branch
from inference.odds import MAX_GUESSES, Costs
from inference.speculate import Drafts, Speculation


class EvenCosts(Costs):
    """Any number of tokens is read in the same time, so that all that may come is guessed."""

    def of(self, num_tokens: int) -> float | None:
        return 1.0


class Knows:
    """Guesses what it was told will come, and now and then something else."""

    guess_s = 0.0

    def __init__(self, ids: Sequence[int], wrong_every: int) -> None:
        self._ids = [
            id + (number % wrong_every == wrong_every - 1) for number, id in enumerate(ids)
        ]
        self._num_came = 1  # the first is drawn before anything can be guessed

    def hopes(self, unread: Sequence[int]) -> Sequence[float]:
        return range(1, 1 + min(MAX_GUESSES, len(self._ids) - self._num_came))

    def guess(self, num_guesses: int) -> list[int]:
        return self._ids[self._num_came :][:num_guesses]

    def learn(self, came: Sequence[int]) -> None:
        self._num_came += len(came)


class Told(Speculation):
    """Gives every reply the same guesses."""

    def __init__(self, ids: Sequence[int], wrong_every: int = 19) -> None:
        super().__init__()
        self._ids, self._wrong_every = ids, wrong_every

    def drafts(self, branch: Branch, stop_ids: frozenset[int]) -> Drafts:
        return Drafts([Knows(self._ids, self._wrong_every)], EvenCosts(), stop_ids)
