"""Token ids in, token ids out, and no token computed twice.

Who asks holds a live branch, the line of tokens that it ran last; the engine keeps snapshots of
places that lines passed. A prompt goes on from the longest of all these that it starts with. It
knows no text, message or template: where messages end comes with a prompt, as `marks`.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Protocol
from weakref import WeakSet

from torch import Tensor

from inference.branch import Branch, goes_on
from inference.chat import Cancel
from inference.door import (
    FINE_LADDER_TOKENS,
    LADDER_TOKENS,
    PREFILL_CHUNK,
    CallGrammar,
    GenerationEnd,
    ThinkingLimit,
    Token,
)
from inference.errors import Cancelled
from inference.messages import Memory, Prefill, SamplingOptions, Usage
from inference.model import Model
from inference.pages import PageTable
from inference.pen import ForcingRule, Pen
from inference.pictures import Place, past
from inference.prefix import num_common
from inference.prefix_cache import NEAR_TOKENS, Kind, Node, PrefixCache
from inference.reply import Bounds, Reply
from inference.shelf import Shelf
from inference.speculate import Speculation, no_drafts
from inference.state import HybridState, Snapshot
from inference.store import Store
from inference.together import Together


class RuleMaker(Protocol):
    """Makes what holds the calls of a reply to their form (`grammar.py`)."""

    def rule(self, grammar: CallGrammar) -> ForcingRule | None:
        """Return the rule of one reply; None where calls cannot be told from text."""
        ...


class Engine:
    """Runs one model for any number of lines of tokens, one after the other."""

    def __init__(
        self,
        model: Model,
        *,
        cache_bytes: int,
        prefill_chunk: int = PREFILL_CHUNK,
        store: Store | None = None,
        ram_bytes: int = 0,
        notices: list[str] | None = None,
        grammars: RuleMaker | None = None,
        speculation: Speculation | None = None,
    ) -> None:
        """Make an engine.

        Args:
            model: what to run.
            cache_bytes: how much the snapshots may hold.
            prefill_chunk: tokens between two looks at `cancel`, about.
            store: where states outlive the process; None keeps them in memory only.
            ram_bytes: what states evicted from a GPU may hold in RAM; 0 where the CPU computes.
            notices: where the store says what went wrong; the next reply passes it on.
            grammars: what holds calls to their form; None holds them to nothing.
            speculation: what guesses tokens where that pays; None guesses none.
        """
        self.grammars = grammars
        self.speculation = speculation
        self.model = model
        self.prefill_chunk = prefill_chunk
        self._notices = [] if notices is None else notices
        self._branches: WeakSet[Branch] = WeakSet()
        self.together = Together(model)
        self.snapshots = PrefixCache(
            cache_bytes, self._live_tables, lambda node: self.shelf.demote(node)
        )
        self.shelf = Shelf(self.snapshots, model, store, ram_bytes)

    @property
    def is_there(self) -> bool:
        """Whether it runs: as long as this process does."""
        return True

    def come_back(self, cancel: Cancel) -> None:
        """Be there; it has never left."""

    def find(self, tokens: Sequence[int], live: Branch | None = None, reuse: bool = True) -> Branch:
        """Return the longest known line that `tokens` starts with and from which a reply can begin.

        Args:
            tokens: the whole prompt.
            live: the caller's own branch, if it has one. It is handed on if `tokens` goes on from
                it, not copied: who wants to keep it as it is forks it first.
            reuse: False to begin at nothing and keep nothing; the same tokens come out, later.
        """
        if not reuse:
            return Branch(self.model.new_state(), reuse=False)
        self.snapshots.shrink()  # a line that was let go may have left its pages
        match = self.snapshots.match(tokens)
        num_known = match.num_known
        if live is not None and goes_on(live, tokens) and len(live) >= _length(match.node):
            branch = live
            branch.reuse = True
        else:
            branch = self._restored(match.node, tokens)
            if live is not None:
                num_known = max(num_known, num_common(live.state.tokens, tokens))
        branch.num_repeated = max(0, num_known - len(branch))
        return branch

    def branch(
        self,
        tokens: Sequence[int],
        cancel: Cancel,
        on_progress: Callable[[Prefill], None] | None = None,
        marks: Sequence[int] = (),
        live: Branch | None = None,
        places: Sequence[Place] = (),
    ) -> Branch:
        """Find the longest known line and prefill the rest of `tokens`.

        Raises:
            Cancelled: between two chunks; what was prefilled is kept and found the next time.
        """
        branch = self.find(tokens, live)
        for progress in self._prefill(branch, tokens[len(branch) :], marks, cancel, places):
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
        keep_ids: frozenset[int] = frozenset(),
        marks: Sequence[int] = (),
        thinking: ThinkingLimit | None = None,
        grammar: CallGrammar | None = None,
        places: Sequence[Place] = (),
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
            keep_ids: tokens of the reply after which a snapshot is taken.
            marks: lengths, counted from the first token of the branch, where a snapshot is taken.
            thinking: how long it may think; None is as long as it likes.
            grammar: what calls it may make; None is any text.
            places: the pictures in the line; those that it has read are passed over.
        """
        num_prompt = len(branch) + len(new_tokens)
        assert num_prompt > 0, "an empty prompt has no next token"
        calls = None  # its grammar is made while the prompt is read
        if grammar is not None and self.grammars is not None:
            calls = self.grammars.rule(grammar)
        yield from self._prefill(branch, new_tokens, marks, cancel, places)
        num_read = len(branch)
        num_prefilled, num_repeated, prefill_s = branch.take_unreported()

        guessing = self.speculation
        drafts = no_drafts() if guessing is None else guessing.drafts(branch, stop_ids)
        bounds = Bounds(max_new_tokens, stop_ids, keep_ids)
        pen = Pen(sampling, calls, thinking)
        keep = partial(self._keep_drawn, branch)
        reply = Reply(self.model, branch, pen, drafts, bounds, keep, self.together.gain)
        start = time.perf_counter()
        if num_read < num_prompt:
            reply.stop_reason = "cancelled"
        yield from reply.write(cancel)
        decode_s = time.perf_counter() - start
        self.together.let_go()
        if len(branch) > num_read:
            self._keep(branch)
            self._store(branch, len(branch))
        usage = Usage(
            num_prompt=num_read,
            num_reused=num_read - num_prefilled,
            num_prefilled=num_prefilled,
            num_generated=len(reply.ids),
            prefill_s=prefill_s,
            decode_s=decode_s,
            num_repeated=num_repeated,
            num_drafted=drafts.num_drafted,
            num_accepted=drafts.num_accepted,
        )
        notices = tuple(self._notices)
        self._notices.clear()
        yield GenerationEnd(reply.stop_reason, usage, tuple(reply.ids), notices, self.memory)

    @property
    def memory(self) -> Memory:
        """Where the memory is now."""
        pages = {page for table in self._live_tables() for page in table.pages}
        kv_bytes = len(pages) * self.model.pool.page_nbytes
        return Memory(self.model.weights_nbytes, kv_bytes, self.snapshots.nbytes)

    def fork(self, branch: Branch, reuse: bool = True) -> Branch:
        """Make a second line from here; pages are shared until one of the two writes to them.

        Without `reuse` no snapshot is taken of it until a prompt is found to go on from it.
        """
        is_empty = not len(branch)
        state = self.model.new_state() if is_empty else branch.state.snapshot().restore()
        other = self._new_branch(state, None if is_empty else branch.logits)
        other.reuse = reuse
        return other

    def snapshot(self, branch: Branch) -> Snapshot:
        """Take a snapshot here and keep it among those that prompts are looked up in."""
        snapshot = branch.state.snapshot(branch.logits)
        self._insert(snapshot, "place")
        return snapshot

    def close(self) -> None:
        """Write what is still to be written; the engine is not used after that."""
        self.shelf.close()

    def _new_branch(self, state: HybridState, logits: Tensor | None = None) -> Branch:
        branch = Branch(state, logits)
        self._branches.add(branch)
        return branch

    def _live_tables(self) -> Iterator[PageTable]:
        yield from (branch.state.table for branch in self._branches)

    def _restored(self, node: Node | None, tokens: Sequence[int]) -> Branch:
        """Make a branch of a node's state, or of the longest before it that can be had."""
        while node is not None:
            snapshot = node.snapshot
            if snapshot is None:
                snapshot = self.shelf.load(node)
            if snapshot is not None and len(snapshot) == len(tokens) and snapshot.logits is None:
                return self._restored(self.snapshots.match(tokens[:-1]).node, tokens)
            if snapshot is not None:
                assert tuple(tokens[: len(snapshot)]) == snapshot.tokens, "other tokens"
                return self._new_branch(snapshot.restore(), snapshot.logits)
            node = self.snapshots.match(tokens).node
        return self._new_branch(self.model.new_state())

    def _prefill(
        self,
        branch: Branch,
        new_tokens: Sequence[int],
        marks: Sequence[int],
        cancel: Cancel,
        places: Sequence[Place],
    ) -> Iterator[Prefill]:
        """Read `new_tokens` in chunks, with snapshots at `marks`, on the ladder and at the end.

        A picture is read whole: no chunk ends and no snapshot is taken inside one.
        """
        first, num_total = len(branch), len(new_tokens)
        kinds = self._kinds(first, first + num_total, marks)
        kinds = {n: kind for n, kind in kinds.items() if n == past(n, places)}
        ends = (past(end, places) for end in self._chunk_ends(first, first + num_total))
        elapsed_s = 0.0
        for end, _ in itertools.groupby(ends):
            if cancel():
                if len(branch) > first:
                    self._keep(branch, "stop")
                self._store(branch, len(branch))
                break
            start = time.perf_counter()
            chunk = new_tokens[len(branch) - first : end - first]
            within = [place for place in places if len(branch) <= place.start < end]
            self._read(branch, chunk, kinds, within)
            self._store(branch, first + num_total)
            chunk_s = time.perf_counter() - start
            elapsed_s += chunk_s
            branch.num_unreported += len(chunk)
            branch.unreported_s += chunk_s
            yield Prefill(num_done=end - first, num_total=num_total, elapsed_s=elapsed_s)

    def _kinds(self, first: int, end: int, marks: Sequence[int]) -> dict[int, Kind]:
        """Lengths in (first, end] at which a snapshot is taken, and of which kind."""
        kinds: dict[int, Kind] = dict.fromkeys(_multiples(FINE_LADDER_TOKENS, first, end), "rung")
        places = (mark for mark in (*marks, end) if first < mark <= end)
        return kinds | dict.fromkeys(places, "place")

    def _chunk_ends(self, first: int, end: int) -> Iterator[int]:
        """Where chunks end in (first, end]: all of about the same size, since a small one costs
        nearly what a large one does."""
        num_tokens = end - first
        num_chunks = max(1, round(num_tokens / self.prefill_chunk))
        for number in range(1, num_chunks + 1):
            if num_tokens:
                yield first + num_tokens * number // num_chunks

    def _read(
        self,
        branch: Branch,
        tokens: Sequence[int],
        kinds: Mapping[int, Kind] | None = None,
        places: Sequence[Place] = (),
    ) -> None:
        """Read `tokens`, with snapshots on the way where `kinds` says so, by length of the line."""
        first, end = len(branch), len(branch) + len(tokens)
        wanted = {} if kinds is None or not branch.reuse else kinds
        stops = sorted(length for length in wanted if first < length < end)
        *passed, branch.logits = self.model.forward_past(
            tokens, branch.state, [length - first for length in stops], places
        )
        for length, logits in zip(stops, passed, strict=True):
            self._insert(branch.state.snapshot(logits, length), wanted[length])
        if end in wanted:
            self._keep(branch, wanted[end])

    def _keep_drawn(self, branch: Branch, snapshot: Snapshot, kind: Kind) -> None:
        """Keep a place within a reply."""
        self._insert(snapshot, kind)
        if kind == "rung":
            self._store(branch, len(snapshot))

    def _keep(self, branch: Branch, kind: Kind = "place") -> None:
        if branch.reuse:
            self._insert(branch.state.snapshot(branch.logits), kind)

    def _insert(self, snapshot: Snapshot, kind: Kind) -> None:
        node = self.snapshots.insert(snapshot, kind)
        if kind == "place" or (kind == "rung" and node.length % LADDER_TOKENS == 0):
            self.shelf.put_later(node)

    def _store(self, branch: Branch, end: int) -> None:
        """Write what is kept near the end of a line, `end` tokens long when it has been read: there
        most prompts to come will leave it."""
        if not branch.reuse:
            return
        for node in self.snapshots.line(branch.tokens):
            is_near = node.kind == "rung" and node.length >= end - NEAR_TOKENS
            if is_near or node.length == end:
                self.shelf.put_later(node)


def _length(node: Node | None) -> int:
    return 0 if node is None else node.length


def _multiples(step: int, first: int, end: int) -> range:
    """The multiples of `step` in (first, end]."""
    return range((first // step + 1) * step, end + 1, step)
