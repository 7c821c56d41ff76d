"""Token ids in, token ids out, and no token computed twice.

The engine keeps one live branch, the line of tokens that it ran last, and snapshots of places that
it passed. A prompt goes on from the longest of them that it starts with. It knows no text, message
or template: `transcript.py` says where messages end, and passes those places as `marks`.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from inference.chat import Cancel
from inference.errors import Cancelled
from inference.messages import Prefill, SamplingOptions, StopReason, Usage
from inference.model import Model
from inference.prefix_cache import PrefixCache
from inference.sampling import Sampler
from inference.state import HybridState, Snapshot

PREFILL_CHUNK = 512
"""Tokens between two looks at `cancel`."""

LADDER_TOKENS = 8192
"""A snapshot is taken at every multiple: a prompt may leave a known line inside a message."""


class Grammar(Protocol):
    """What the next token may be."""

    def mask(self, logits: Tensor) -> None:
        """Set the logits [V] of forbidden tokens to -inf, in place."""
        ...

    def advance(self, token: int) -> None:
        """Go on by the token that was drawn."""
        ...


@dataclass(frozen=True)
class Token:
    """One token of the reply."""

    id: int


@dataclass(frozen=True)
class GenerationEnd:
    """The last event: why it stopped, what it cost, and all tokens of the reply."""

    stop_reason: StopReason
    usage: Usage
    token_ids: tuple[int, ...]


class Branch:
    """A line of tokens and the state that has read all of them. It changes as it goes on."""

    def __init__(self, state: HybridState, logits: Tensor | None = None) -> None:
        self.state = state
        self.logits = logits
        """What comes after the last token, float32 [V]; None in a branch that was just restored."""
        self.num_unreported = 0
        """Tokens prefilled for a reply still to come; `unreported_s` is how long that took."""
        self.unreported_s = 0.0

    @property
    def tokens(self) -> tuple[int, ...]:
        """What the state has read."""
        return tuple(self.state.tokens)

    def __len__(self) -> int:
        return len(self.state)

    def take_unreported(self) -> tuple[int, float]:
        """Return the tokens and seconds of prefill that no `Usage` has told of yet."""
        taken = self.num_unreported, self.unreported_s
        self.num_unreported, self.unreported_s = 0, 0.0
        return taken


class Engine:
    """Runs one model for one conversation and its branches."""

    def __init__(
        self,
        model: Model,
        *,
        cache_bytes: int,
        prefill_chunk: int = PREFILL_CHUNK,
        reuse: bool = True,
    ) -> None:
        """Make an engine.

        Args:
            model: what to run.
            cache_bytes: how much the snapshots may hold.
            prefill_chunk: tokens between two looks at `cancel`.
            reuse: False to prefill everything in every call; the same tokens come out, later.
        """
        self.model = model
        self.reuse = reuse
        self.prefill_chunk = prefill_chunk
        self.snapshots = PrefixCache(cache_bytes)
        self._live: Branch | None = None

    def find(self, tokens: Sequence[int]) -> Branch:
        """Return the longest known line that `tokens` starts with and that leaves a token to run.

        The live branch is handed on, not copied: who wants to keep it as it is forks it first.
        """
        if not self.reuse:
            return Branch(self.model.new_state())
        live = self._usable_live(tokens)
        snapshot = self.snapshots.longest(tokens)
        if live is not None and (snapshot is None or len(live) >= len(snapshot)):
            return live
        if snapshot is None:
            return Branch(self.model.new_state())
        assert tuple(tokens[: len(snapshot)]) == snapshot.tokens, "a snapshot of other tokens"
        return Branch(snapshot.restore())

    def branch(
        self,
        tokens: Sequence[int],
        cancel: Cancel,
        on_progress: Callable[[Prefill], None] | None = None,
        marks: Sequence[int] = (),
    ) -> Branch:
        """Find the longest known line and prefill the rest of `tokens`.

        Raises:
            Cancelled: between two chunks; what was prefilled is kept and found the next time.
        """
        branch = self.find(tokens)
        for progress in self._prefill(branch, tokens[len(branch) :], marks, cancel):
            if on_progress is not None:
                on_progress(progress)
        if len(branch) < len(tokens):
            raise Cancelled(f"stopped after {len(branch)} of {len(tokens)} prompt tokens")
        return branch

    def generate(
        self,
        branch: Branch,
        new_tokens: Sequence[int],
        sampling: SamplingOptions,
        *,
        max_new_tokens: int,
        cancel: Cancel,
        stop_ids: frozenset[int] = frozenset(),
        marks: Sequence[int] = (),
        grammar: Grammar | None = None,
    ) -> Iterator[Prefill | Token | GenerationEnd]:
        """Read `new_tokens` after those of the branch, write a reply, end with a GenerationEnd.

        The last token of a reply is drawn but not read: it counts as new the next time.

        Args:
            branch: goes on in place.
            new_tokens: may be empty if the branch was prefilled by `branch()`.
            sampling: how tokens are drawn.
            max_new_tokens: 0 prefills only.
            cancel: looked at before every chunk and every token.
            stop_ids: tokens that end the reply; the one drawn belongs to it.
            marks: lengths, counted from the first token of the branch, where a snapshot is taken.
            grammar: what may be drawn.
        """
        num_prompt = len(branch) + len(new_tokens)
        assert num_prompt > 0, "an empty prompt has no next token"
        yield from self._prefill(branch, new_tokens, marks, cancel)
        num_read = len(branch)
        num_prefilled, prefill_s = branch.take_unreported()

        sampler = Sampler(sampling)
        ids: list[int] = []
        stop_reason: StopReason = "max_tokens"
        start = time.perf_counter()
        if num_read < num_prompt:
            stop_reason = "cancelled"
        while stop_reason == "max_tokens" and len(ids) < max_new_tokens:
            # 1. Stop here if asked to; the state has read all tokens but the last.
            if cancel():
                stop_reason = "cancelled"
                break
            # 2. Read the token drawn last, now that one more is wanted.
            if ids:
                self._read(branch, ids[-1:])
                if len(branch) % LADDER_TOKENS == 0:
                    self._keep(branch)
            # 3. Draw the next.
            assert branch.logits is not None, "a restored branch needs at least one new token"
            logits = branch.logits.clone()
            if grammar is not None:
                grammar.mask(logits)
            ids.append(sampler.draw(logits))
            if grammar is not None:
                grammar.advance(ids[-1])
            yield Token(ids[-1])
            if ids[-1] in stop_ids:
                stop_reason = "end_turn"
        decode_s = time.perf_counter() - start
        if len(ids) > 1:
            self._keep(branch)
        usage = Usage(
            num_prompt=num_read,
            num_reused=num_read - num_prefilled,
            num_prefilled=num_prefilled,
            num_generated=len(ids),
            prefill_s=prefill_s,
            decode_s=decode_s,
        )
        yield GenerationEnd(stop_reason, usage, tuple(ids))

    def fork(self, branch: Branch) -> Branch:
        """Make a second line from here; keys and values are shared until one of the two goes on."""
        return Branch(branch.state.snapshot().restore(), branch.logits)

    def snapshot(self, branch: Branch) -> Snapshot:
        """Take a snapshot here and keep it among those that prompts are looked up in."""
        snapshot = branch.state.snapshot()
        self.snapshots.insert(snapshot)
        return snapshot

    def _usable_live(self, tokens: Sequence[int]) -> Branch | None:
        """Return the live branch if `tokens` goes on from it."""
        live = self._live
        if live is None or not live.state.is_whole or not 0 < len(live) < len(tokens):
            return None
        return live if live.state.tokens == list(tokens[: len(live)]) else None

    def _prefill(
        self, branch: Branch, new_tokens: Sequence[int], marks: Sequence[int], cancel: Cancel
    ) -> Iterator[Prefill]:
        """Read `new_tokens` in chunks, with snapshots at `marks`, on the ladder and at the end."""
        self._live = branch
        first, num_total = len(branch), len(new_tokens)
        elapsed_s = 0.0
        for stop, is_kept in self._stops(first, first + num_total, marks):
            if cancel():
                if len(branch) > first:
                    self._keep(branch)
                return
            start = time.perf_counter()
            chunk = new_tokens[len(branch) - first : stop - first]
            self._read(branch, chunk)
            if is_kept:
                self._keep(branch)
            chunk_s = time.perf_counter() - start
            elapsed_s += chunk_s
            branch.num_unreported += len(chunk)
            branch.unreported_s += chunk_s
            yield Prefill(num_done=stop - first, num_total=num_total, elapsed_s=elapsed_s)

    def _stops(self, first: int, end: int, marks: Sequence[int]) -> list[tuple[int, bool]]:
        """Where chunks end, in (first, end], and whether a snapshot is taken there.

        Chunks end at multiples of their size: a prompt is cut alike wherever it is resumed.
        """
        kept = {mark for mark in marks if first < mark <= end} | {end}
        kept |= set(_multiples(LADDER_TOKENS, first, end))
        stops = kept | set(_multiples(self.prefill_chunk, first, end))
        return [(stop, stop in kept) for stop in sorted(stops) if stop > first]

    def _read(self, branch: Branch, tokens: Sequence[int]) -> None:
        branch.logits = self.model.forward(tokens, branch.state)

    def _keep(self, branch: Branch) -> None:
        if self.reuse:
            self.snapshot(branch)


def _multiples(step: int, first: int, end: int) -> range:
    """The multiples of `step` in (first, end]."""
    return range((first // step + 1) * step, end + 1, step)
