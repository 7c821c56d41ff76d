"""Holds the thinking of one reply to its budget, where the next token is chosen.

From the budget on, a thought is closed as soon as the model itself thinks of closing it; a grace
later it is closed whatever the model thinks. Either way the model has closed it as far as anyone
can tell: with the token of its own vocabulary, followed by the blank lines that its template puts
there, and all of them are tokens of the reply like any other. A thought that was closed here stays
closed: a model that was interrupted likes to close again, or to open the next thought.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from inference.door import ThinkingLimit
from inference.profiles import THINK_CLOSE, THINK_OPEN
from inference.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

MAX_GRACE = 1024
"""How long a thought may look for its own end after the budget: long enough for a paragraph ..."""
GRACE_SHARE = 4
"""... but no more than this part of the budget, or a small budget would be none."""
NUM_LIKELY = 3
"""The model thinks of closing when the closing token is among so many of the most likely."""


def thinking_limit(
    budget: int, tokenizer: Tokenizer, opener: Sequence[int]
) -> ThinkingLimit | None:
    """Return what an engine must know to hold a reply to `budget` tokens of thinking.

    Args:
        budget: 0 closes a thought as soon as it is open.
        tokenizer: has the tags by name, since Qwen3.5 does not list them among its special tokens.
        opener: the part of the reply that the prompt already holds.

    Returns:
        None where the vocabulary has no such tags, so that there is nothing to close.
    """
    if not (tokenizer.has_control(THINK_OPEN) and tokenizer.has_control(THINK_CLOSE)):
        return None
    return ThinkingLimit(
        budget,
        min(MAX_GRACE, budget // GRACE_SHARE),
        tokenizer.control(THINK_OPEN),
        tokenizer.control(THINK_CLOSE),
        before=tokenizer.encode("\n"),
        after=tokenizer.encode("\n\n"),
        is_open=is_open(opener, tokenizer),
    )


def is_open(opener: Sequence[int], tokenizer: Tokenizer) -> bool:
    """Say whether a prompt that ends so ends inside a thought."""
    tags = [i for i in opener if i in tokenizer.controls_of((THINK_OPEN, THINK_CLOSE))]
    return bool(tags) and tags[-1] == tokenizer.controls.get(THINK_OPEN)


class ThinkingGate:
    """What the next token of one reply may be, for the sake of its budget: a `Rule` (pen.py)."""

    def __init__(self, limit: ThinkingLimit) -> None:
        self._limit = limit
        self._is_open = limit.is_open
        self._num_thinking = 0
        self._forced: tuple[int, ...] = ()
        """What comes next, whatever the model thinks."""
        self._has_closed = False
        """Whether a thought was closed here."""

    def mask(self, logits: "Tensor") -> None:
        """Set the logits [V] of tokens that may not come to -inf, in place."""
        if self._is_open and not self._forced:
            self._forced = self._closing(logits)
        if self._forced:
            logits.fill_(float("-inf"))
            logits[self._forced[0]] = 0.0
        elif self._has_closed:
            logits[[self._limit.open_id, self._limit.close_id]] = float("-inf")

    def advance(self, token: int) -> None:
        """Go on by the token that was drawn."""
        self._has_closed = self._has_closed or bool(self._forced)
        self._forced = self._forced[1:]
        if token in (self._limit.open_id, self._limit.close_id):
            self._is_open = token == self._limit.open_id
        elif self._is_open:
            self._num_thinking += 1

    def _closing(self, logits: "Tensor") -> tuple[int, ...]:
        """Return the tokens that close the thought now, if it is time."""
        limit = self._limit
        num_over = self._num_thinking - limit.budget
        if num_over >= limit.grace:
            return (*limit.before, limit.close_id, *limit.after)
        if num_over >= 0 and self._is_likely(limit.close_id, logits):
            return (limit.close_id, *limit.after)
        return ()

    def _is_likely(self, token: int, logits: "Tensor") -> bool:
        """Whether a token is among the most likely, and no other rule forbids it."""
        likely = logits.topk(min(NUM_LIKELY, len(logits)))
        is_there = (likely.indices == token) & (likely.values > float("-inf"))
        return bool(is_there.any())
