"""Logits to one token id. Presets by family live with the family; this is only the arithmetic."""

import torch
from torch import Tensor

from inference.errors import ModelUnavailable
from inference.messages import SamplingOptions

NUM_ORDERED = 1024
"""Tokens among which those that hold `top_p` are looked for before all others are sorted too."""


class Sampler:
    """Draws the tokens of one reply.

    It has a generator of its own on the CPU, started from the seed: the same seed and logits give
    the same tokens whatever else the process draws, on every device.
    """

    def __init__(self, options: SamplingOptions) -> None:
        self.options = options
        self._generator = torch.Generator().manual_seed(options.seed)

    def draw(self, logits: Tensor) -> int:
        """Choose a token id from logits, float [V]; -inf is never chosen.

        Raises:
            ModelUnavailable: they are no numbers, so the weights are damaged.
        """
        if self.options.temperature <= 0:
            highest, token = logits.max(dim=0)
            _check_number(highest)
            return int(token)
        likely, shares = _likely(logits.float(), self.options)  # on the device: few are left
        shares = shares.cpu()
        _check_number(shares[0])
        place = self._place(shares)
        return place if likely is None else int(likely[place])

    def _place(self, shares: Tensor) -> int:
        """Choose a place by the shares [N] that places have: where their running sum passes a draw.

        `torch.multinomial` draws a number for each place, which for a vocabulary takes as long as
        a forward of a small model.
        """
        sums = shares.cumsum(dim=0, dtype=torch.float64)
        drawn = torch.rand(1, generator=self._generator, dtype=torch.float64)
        return int(torch.searchsorted(sums / sums[-1], drawn, right=True))


def probabilities_of(logits: Tensor, options: SamplingOptions) -> Tensor:
    """Turn logits [V] into the distribution that is drawn from, float32 [V].

    Temperature first, then each limit on what the ones before it left: the `top_k` most likely, of
    those the fewest that hold `top_p` of the mass, and none below `min_p` times the most likely.
    """
    likely, shares = _likely(logits, options)
    shares = shares / shares.sum()
    return shares if likely is None else torch.zeros_like(logits).scatter_(0, likely, shares)


def _likely(logits: Tensor, options: SamplingOptions) -> tuple[Tensor | None, Tensor]:
    """Return the tokens that may be drawn, in any order, None for all; and how likely they are.

    What was left out leaves the sum below one.
    """
    likely: Tensor | None = None
    logits = logits / options.temperature
    if 0 < options.top_k < len(logits):  # a tenth of the time of sorting all of a vocabulary
        ordered, likely = torch.topk(logits, options.top_k)
        kept = ordered.softmax(dim=-1)
    elif options.top_p < 1:
        kept, likely = _ordered(logits.softmax(dim=-1), options.top_p)
    else:
        kept = logits.softmax(dim=-1)
    if options.top_p < 1:
        before = kept.cumsum(dim=-1) - kept
        kept = kept.masked_fill((before >= options.top_p).index_fill(0, _first(kept), False), 0)
    if options.min_p > 0:
        kept = kept.masked_fill(kept < options.min_p * kept.max(), 0)
    return likely, kept


def _ordered(shares: Tensor, top_p: float) -> tuple[Tensor, Tensor]:
    """Return shares [V] and their tokens, the largest first: all of them, or what holds `top_p`."""
    most, tokens = torch.topk(shares, min(NUM_ORDERED, len(shares)))
    if most.sum() > top_p:
        return most, tokens
    return torch.sort(shares, descending=True, stable=True)


def _check_number(number: Tensor) -> None:
    """Refuse to draw by what is no number; one such logit makes every share one."""
    if number.isnan():
        raise ModelUnavailable(
            "The model computes what is no number, so its weights are damaged: download them again."
        )


def _first(kept: Tensor) -> Tensor:
    """The most likely stays, however small `top_p` is."""
    return torch.zeros(1, dtype=torch.long, device=kept.device)
