"""Writes the tokens of one reply: draws each within the rules that hold for it.

What the rules are is told elsewhere: the grammar of calls (`grammar.py`), the budget of thinking
(`thinking.py`). It runs no model.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from inference.door import ThinkingLimit
from inference.messages import SamplingOptions
from inference.sampling import Sampler
from inference.thinking import ThinkingGate


class Rule(Protocol):
    """What the next token may be."""

    def mask(self, logits: Tensor) -> None:
        """Set the logits [V] of forbidden tokens to -inf, in place."""
        ...

    def advance(self, token: int) -> None:
        """Go on by the token that was drawn."""
        ...


class ForcingRule(Rule, Protocol):
    """A rule that may leave no choice for some tokens."""

    def forced(self) -> tuple[int, ...]:
        """Return the tokens that follow whatever the model thinks; `advance` goes by each."""
        ...


class Pen:
    """Draws the tokens of one reply."""

    def __init__(
        self,
        sampling: SamplingOptions,
        calls: ForcingRule | None = None,
        thinking: ThinkingLimit | None = None,
    ) -> None:
        """Begin a reply.

        Args:
            sampling: how tokens are drawn.
            calls: what calls it may make; None is any text.
            thinking: how long it may think; None is as long as it likes.
        """
        self._sampler = Sampler(sampling)
        self._calls = calls
        gate = None if thinking is None else ThinkingGate(thinking)
        self._rules: list[Rule] = [rule for rule in (calls, gate) if rule is not None]

    def write(self, logits: Tensor, max_tokens: int, stop_ids: frozenset[int]) -> list[int]:
        """Draw the next token; return it and those that follow whatever the model thinks.

        Args:
            logits: float [V], left as they are.
            max_tokens: no more than so many, at least 1.
            stop_ids: the first of them is the last that is returned.
        """
        if self._rules:
            logits = logits.clone()  # a snapshot may have them too
        for rule in self._rules:
            rule.mask(logits)
        tokens = [self._sampler.draw(logits)]
        self._advance(tokens)
        if self._calls is not None:
            forced = _until_stop(self._calls.forced()[: max_tokens - 1], stop_ids)
            self._advance(forced)
            tokens += forced
        return tokens

    def _advance(self, tokens: Sequence[int]) -> None:
        for token in tokens:
            for rule in self._rules:
                rule.advance(token)


def _until_stop(tokens: Sequence[int], stop_ids: frozenset[int]) -> list[int]:
    """Return tokens up to the first that ends a reply."""
    first = next((number for number, token in enumerate(tokens, 1) if token in stop_ids), None)
    return list(tokens[:first])
