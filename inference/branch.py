"""A line of tokens that goes on: what its state has read, and what of that is still to be told."""

from collections.abc import Sequence

from torch import Tensor

from inference.ngrams import Ngrams
from inference.state import HybridState


class Branch:
    """A line of tokens and the state that has read all of them. It changes as it goes on."""

    def __init__(
        self, state: HybridState, logits: Tensor | None = None, reuse: bool = True
    ) -> None:
        self.state = state
        self.logits = logits
        """What comes after the last token, float32 [V]; None where a snapshot did not know it."""
        self.reuse = reuse
        """Whether snapshots are taken of it."""
        self.ngrams = Ngrams()
        """Where its runs of tokens are, as far as somebody asked."""
        self.offered: int | None = None
        """The token that it is to read next, which may be read together with those of others."""
        self.num_unreported = 0
        """Tokens prefilled for a reply still to come; `unreported_s` is how long that took."""
        self.unreported_s = 0.0
        self.num_repeated = 0
        """Of the tokens still to come, those that some line had read, but left no state near."""

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the state has read."""
        return tuple(self.state.tokens)

    def __len__(self) -> int:
        return len(self.state)

    def take_unreported(self) -> tuple[int, int, float]:
        """Return the tokens, repeated ones and seconds of prefill that no `Usage` has told of."""
        num_prefilled, prefill_s = self.num_unreported, self.unreported_s
        num_repeated = min(self.num_repeated, num_prefilled)
        self.num_unreported, self.num_repeated, self.unreported_s = 0, 0, 0.0
        return num_prefilled, num_repeated, prefill_s


def goes_on(branch: Branch, tokens: Sequence[int]) -> bool:
    """Tell whether `tokens` starts with all that the branch has read, and there is a next token."""
    if not branch.state.is_whole or not 0 < len(branch) <= len(tokens):
        return False
    if len(branch) == len(tokens) and branch.logits is None:
        return False
    return branch.state.tokens == list(tokens[: len(branch)])
