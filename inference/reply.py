"""One reply while it is written: what was drawn is read, with guesses of what may come after it.

The state has read all tokens of a reply but those drawn last, also when it ends in the middle or
nobody listens any more: guesses that did not come true are taken back. A token drawn alone is
offered to whoever reads those of several lines together (`together.py`); where nobody does, it is
read here. It knows no prompt and no cache; snapshots go to whoever wants them. What is guessed is
`speculate.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from inference.branch import Branch
from inference.chat import Cancel
from inference.door import FINE_LADDER_TOKENS, Token
from inference.gain import Gain
from inference.messages import StopReason
from inference.model import Model
from inference.pen import Pen
from inference.prefix import num_common
from inference.prefix_cache import Kind
from inference.speculate import Drafts
from inference.state import Snapshot

Keep = Callable[[Snapshot, Kind], None]


@dataclass(frozen=True)
class Bounds:
    """Where a reply ends, and where it is kept."""

    max_new_tokens: int
    stop_ids: frozenset[int]
    """Tokens that end it; the one drawn belongs to it."""
    keep_ids: frozenset[int]
    """Tokens after which a snapshot is taken, as on the ladder."""


class Reply:
    """The tokens of one reply, and the branch that reads them."""

    def __init__(
        self,
        model: Model,
        branch: Branch,
        pen: Pen,
        drafts: Drafts,
        bounds: Bounds,
        keep: Keep,
        gain: Gain,
    ) -> None:
        """Begin after the tokens of `branch`, which goes on in place.

        Args:
            model: reads.
            branch: has what comes after its last token.
            pen: draws.
            drafts: guesses.
            bounds: where it ends.
            keep: is given the snapshots.
            gain: is told what reading a token alone costs.
        """
        self.ids: list[int] = []
        self.stop_reason: StopReason = "max_tokens"
        self._model, self._branch, self._pen = model, branch, pen
        self._drafts, self._bounds, self._keep, self._gain = drafts, bounds, keep, gain
        self._unread: list[int] = []
        """What was drawn last."""
        self._length = len(branch)
        """Of the line when that was drawn."""

    @property
    def _num_left(self) -> int:
        return self._bounds.max_new_tokens - len(self.ids)

    def write(self, cancel: Cancel) -> Iterator[Token]:
        """Yield the tokens; `cancel` is looked at before each is drawn."""
        try:
            while self.stop_reason == "max_tokens" and self._num_left > 0:
                if cancel():
                    self.stop_reason = "cancelled"
                elif not self._unread or len(self._branch) > self._length:  # others read it
                    yield from map(Token, self._draw_next())
                else:
                    self._branch.offered = None
                    yield from self._go_on(cancel)
        finally:
            self._branch.offered = None

    def _go_on(self, cancel: Cancel) -> Iterator[Token]:
        """Read what was drawn last, now that one more is wanted, and what may come after it."""
        started = self._model.clock()
        guess = self._drafts.guess(self._unread, self._num_left - 1)
        if guess:
            yield from self._read_with(guess, started, cancel)
            return
        num_read, kinds = len(self._unread), self._kinds(self._unread)
        self._settle(kinds, self._read(self._unread, kinds, 0), 0)
        came = self._draw_next()
        seconds = self._model.clock() - started
        self._drafts.learn([], came, num_read, seconds)
        if num_read == 1:
            self._gain.learn(1, seconds)
        yield from map(Token, came)

    def _draw_next(self) -> list[int]:
        """Draw after all that was read, and offer what was drawn to be read with other lines'."""
        assert self._branch.logits is not None, "a restored branch needs a new token"
        self._unread = self._draw(self._branch.logits)
        self._length = len(self._branch)
        is_last = self.stop_reason != "max_tokens" or not self._num_left
        is_plain = len(self._unread) == 1 and not self._kinds(self._unread)
        self._branch.offered = self._unread[0] if is_plain and not is_last else None
        return self._unread

    def _read_with(self, guess: Sequence[int], started: float, cancel: Cancel) -> Iterator[Token]:
        """Read once, and draw as often as that allows."""
        # 1. Read what was drawn last, and the guesses.
        tokens = [*self._unread, *guess]
        first_sure = len(self._branch) + len(self._unread)
        kinds = self._kinds(tokens)
        logits = self._read(tokens, kinds, len(guess))
        came = self._draw(logits[first_sure])
        seconds = self._model.clock() - started
        # 2. Hand out what was drawn, and draw again for as long as guesses come true.
        try:
            yield from map(Token, came)
            while came == guess[: len(came)]:
                if cancel():
                    self.stop_reason = "cancelled"
                    break
                more = self._draw(logits[first_sure + len(came)])
                came += more
                yield from map(Token, more)
        finally:
            # 3. Take back what did not; the token that was drawn last is not read.
            started = self._model.clock()
            num_kept = min(num_common(guess, came), len(came) - 1)
            self._unread = came[num_kept:]
            self._settle(kinds, logits, len(guess) - num_kept)
            self._length = len(self._branch)
            seconds += self._model.clock() - started
            self._drafts.learn(guess, came, len(tokens), seconds)

    def _draw(self, logits: Tensor) -> list[int]:
        """Draw the next token, and take with it what follows whatever the model thinks."""
        tokens = self._pen.write(logits, self._num_left, self._bounds.stop_ids)
        self.ids += tokens
        if tokens[-1] in self._bounds.stop_ids:
            self.stop_reason = "end_turn"
        return tokens

    def _kinds(self, tokens: Sequence[int]) -> dict[int, Kind]:
        """Return at which lengths of the line a snapshot would be kept, in order."""
        if not self._branch.reuse:
            return {}
        kinds: dict[int, Kind] = {}
        for length, token in enumerate(tokens, len(self._branch) + 1):
            if length % FINE_LADDER_TOKENS == 0:
                kinds[length] = "rung"
            elif token in self._bounds.keep_ids:
                kinds[length] = "stop"
        return kinds

    def _read(
        self, tokens: Sequence[int], kinds: Mapping[int, Kind], num_guessed: int
    ) -> dict[int, Tensor]:
        """Read all; return logits by the length of the line, at least where they are needed."""
        state, first = self._branch.state, len(self._branch)
        stops = [length - first for length in kinds if length < first + len(tokens)]
        if not num_guessed:
            places = (*stops, len(tokens))
            rows: Sequence[Tensor] = self._model.forward_past(tokens, state, stops)
        else:
            state.allow_rollback(len(tokens))
            places = tuple(range(1, len(tokens) + 1))
            rows = self._model.forward_all(tokens, state, stops).unbind()
        return {first + place: row for place, row in zip(places, rows, strict=True)}

    def _settle(
        self, kinds: Mapping[int, Kind], logits: Mapping[int, Tensor], num_back: int
    ) -> None:
        """Keep what was to be kept of what stays, and take the last `num_back` tokens back."""
        state = self._branch.state
        end = len(state) - num_back
        for length, kind in kinds.items():
            if length <= end:
                at = None if length == len(state) else length
                self._keep(state.snapshot(logits[length].clone(), at), kind)
        state.rollback(num_back)
        self._branch.logits = logits[end].clone()  # a view would keep those of all guesses
