"""Whether the next tokens are guessed, which, and how many.

A forward over several tokens costs little more than over one, for the weights are read once. So
tokens that are likely to come are read together with the one that was drawn, and drawing decides
how many of them stay (Leviathan et al. 2023, arXiv:2211.17192); the others are taken back. Guesses
are told as what they are, single tokens, not distributions: to accept a guess with the chance that
the model gives it, and else to draw from what is left, is to draw as always and to compare. So a
reply is what it would have been without, token by token, however its tokens are drawn.

Where guesses come from is `ngrams.py` and `mtp.py`; who reads and draws is `reply.py`.
"""

from collections.abc import Iterable, Sequence
from typing import Protocol

from inference.branch import Branch
from inference.mtp import Mtp, MtpSource
from inference.ngrams import NgramSource, new_records
from inference.odds import MAX_GUESSES, Costs, Hopes
from inference.pictures import FIRST_ID
from inference.prefix import num_common


class Source(Protocol):
    """Guesses the next tokens of one reply."""

    @property
    def guess_s(self) -> float:
        """Seconds that one guess takes."""
        ...

    def hopes(self, unread: Sequence[int]) -> Sequence[float]:
        """Look at the line and `unread` after it.

        Returns:
            For each number of guesses that could be had, how many of them may come true.
        """
        ...

    def guess(self, num_guesses: int) -> list[int]:
        """Return guesses of what comes after the last look, no more than there were hopes."""
        ...

    def learn(self, came: Sequence[int]) -> None:
        """See what came after the last look."""
        ...


class Drafts:
    """The guesses of one reply, from the source that promises most, as many as pay."""

    def __init__(self, sources: Iterable[Source], costs: Costs, stop_ids: frozenset[int]) -> None:
        """Begin a reply.

        Args:
            sources: none to guess nothing.
            costs: of the model on this machine; they are added to.
            stop_ids: what ends a reply is not guessed, so that it is drawn last and not read.
        """
        self._sources = tuple(sources)
        self._costs = costs
        self._stop_ids = stop_ids
        self.num_drafted = 0
        self.num_accepted = 0

    def guess(self, unread: Sequence[int], num_wanted: int) -> list[int]:
        """Return what may come after `unread`, which has yet to be read: `num_wanted` at most."""
        num_max = min(num_wanted, MAX_GUESSES + 1 - len(unread))
        alone_s = self._costs.of(len(unread))
        hopes = [(source, source.hopes(unread)) for source in self._sources]
        if alone_s is None:
            return []
        best, chosen = 1 / alone_s, None
        for source, of_source in hopes:
            for number, num_right in enumerate(of_source[: max(0, num_max)], 1):
                read_s = self._costs.of(len(unread) + number)
                assert read_s is not None, "a wider forward is told by a narrower one"
                if (rate := (1 + num_right) / (read_s + number * source.guess_s)) > best:
                    best, chosen = rate, (source, number)
        if chosen is None:
            return []
        return self._drawable(chosen[0].guess(chosen[1]))

    def learn(
        self, guess: Sequence[int], came: Sequence[int], num_read: int, seconds: float
    ) -> None:
        """See what a forward over `num_read` tokens, the guesses included, has come to."""
        self._costs.note(num_read, seconds)
        self.num_drafted += len(guess)
        self.num_accepted += num_common(guess, came)
        for source in self._sources:
            source.learn(came)

    def _drawable(self, guess: list[int]) -> list[int]:
        """Cut guesses off before the end of the reply, and before a picture, which nobody draws."""
        for number, token in enumerate(guess):
            if token in self._stop_ids or token >= FIRST_ID:
                return guess[:number]
        return guess


class Speculation:
    """What an engine has seen of guessing, over all its replies."""

    def __init__(self, mtp: Mtp | None = None) -> None:
        """Begin; `mtp` is the model's draft layer, if it has one."""
        self.costs = Costs()
        self.mtp = mtp
        self._records = new_records()
        self._kept = Hopes()

    def drafts(self, branch: Branch, stop_ids: frozenset[int]) -> Drafts:
        """Begin the guesses of a reply on `branch`."""
        line = branch.state.tokens
        sources: list[Source] = [NgramSource(line, branch.ngrams, self._records, self._kept)]
        if self.mtp is not None:
            sources.append(MtpSource(self.mtp, branch.state))
        return Drafts(sources, self.costs, stop_ids)


def no_drafts() -> Drafts:
    """Return those of a reply for which nothing is guessed."""
    return Drafts((), Costs(), frozenset())
