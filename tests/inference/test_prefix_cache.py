"""The longest stored prefix is found, and what goes first is what saves least."""

import random

import pytest

from inference.model import Model
from inference.prefix_cache import PrefixCache
from inference.state import Snapshot


@pytest.fixture(scope="module")
def take(tiny_hybrid: Model):
    """Return a function that runs tokens and takes a snapshot after them."""

    def snapshot_of(*tokens: int) -> Snapshot:
        state = tiny_hybrid.new_state()
        tiny_hybrid.forward(tokens, state)
        return state.snapshot()

    return snapshot_of


def longest(cache: PrefixCache, tokens: tuple[int, ...]) -> Snapshot | None:
    """Return the snapshot that a prompt goes on from."""
    node = cache.match(tokens).node
    return None if node is None else node.snapshot


def lengths(cache: PrefixCache) -> list[int]:
    return sorted(len(node.snapshot) for node in cache.holders())


def test_the_longest_prefix_that_leaves_a_token_is_found(take) -> None:
    cache = PrefixCache(1 << 30)
    for tokens in ((1, 2, 3, 4), (1, 2), (1, 2, 3, 5, 6)):
        cache.insert(take(*tokens))
    assert longest(cache, (1, 2, 3, 4, 9)).tokens == (1, 2, 3, 4)
    assert longest(cache, (1, 2, 3, 4)).tokens == (1, 2)
    assert longest(cache, (1, 2, 3, 5, 7)).tokens == (1, 2)
    assert longest(cache, (1, 2, 3, 5, 6, 7)).tokens == (1, 2, 3, 5, 6)
    assert longest(cache, (1, 2)) is None
    assert longest(cache, (2, 1, 3)) is None
    assert longest(cache, ()) is None


def test_the_same_tokens_are_kept_once(take) -> None:
    cache = PrefixCache(1 << 30)
    first = take(1, 2, 3)
    cache.insert(first)
    cache.insert(take(1, 2, 3))
    assert len(cache) == 1
    assert longest(cache, (1, 2, 3, 4)) is first


def test_the_tree_agrees_with_a_plain_list(take) -> None:
    draw = random.Random(4)
    stored: dict[tuple[int, ...], Snapshot] = {}
    pool = [take(*(draw.choice((1, 2)) for _ in range(draw.randint(1, 9)))) for _ in range(60)]
    cache = PrefixCache(1 << 30)
    for snapshot in pool:
        cache.insert(snapshot)
        stored.setdefault(snapshot.tokens, snapshot)
        query = tuple(draw.choice((1, 2)) for _ in range(draw.randint(1, 11)))
        fitting = [t for t in stored if len(t) < len(query) and query[: len(t)] == t]
        found = longest(cache, query)
        assert (found.tokens if found else None) == max(fitting, key=len, default=None)
    assert len(cache) == len(stored)


def test_bytes_count_a_shared_page_once(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    cache = PrefixCache(1 << 30)
    for start in range(3):
        tiny_hybrid.forward((start, 8, 9), state)
        cache.insert(state.snapshot())
    assert cache.nbytes == 3 * state.snapshot().state_nbytes + tiny_hybrid.pool.page_nbytes


def test_pages_of_a_line_that_goes_on_are_not_counted(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(tuple(range(97)) * 6, state)  # three pages
    cache = PrefixCache(1 << 30, lambda: [state.table])
    cache.insert(state.snapshot())
    assert cache.nbytes == state.snapshot().state_nbytes


def test_the_budget_holds_and_what_saves_least_goes_first(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    snapshots = []
    for num_tokens in (40, 2, 60):  # one line: lengths 40, 42, 102
        tiny_hybrid.forward(tuple(range(num_tokens)), state)
        snapshots.append(state.snapshot())
    cache = PrefixCache(tiny_hybrid.pool.page_nbytes + 2 * snapshots[0].state_nbytes)
    for snapshot in snapshots:
        cache.insert(snapshot)
    assert lengths(cache) == [40, 102], "42 saved two tokens over 40"
    assert cache.nbytes <= cache.budget_bytes


def test_of_equals_the_longest_unused_goes_first(take) -> None:
    snapshots = [take(first, 5, 6) for first in (1, 2, 3)]
    cache = PrefixCache(2 * snapshots[0].nbytes)
    cache.insert(snapshots[0])
    cache.insert(snapshots[1])
    longest(cache, (1, 5, 6, 7))
    cache.insert(snapshots[2])
    assert longest(cache, (2, 5, 6, 7)) is None
    assert longest(cache, (1, 5, 6, 7)) is snapshots[0]


def test_what_somebody_was_interrupted_at_goes_first(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(tuple(range(80)), state)
    stop = state.snapshot()
    tiny_hybrid.forward((1, 2), state)
    place = state.snapshot()
    tiny_hybrid.forward((3,), state)
    cache = PrefixCache(2 * stop.state_nbytes + tiny_hybrid.pool.page_nbytes)
    cache.insert(stop, "stop")
    cache.insert(place)
    assert lengths(cache) == [80, 82]
    cache.insert(state.snapshot())
    assert lengths(cache) == [82, 83], "80 tokens would have been the most, but nobody goes there"


def test_a_state_that_knows_what_comes_next_answers_its_own_tokens(
    take, tiny_hybrid: Model
) -> None:
    cache = PrefixCache(1 << 30)
    cache.insert(take(1, 2, 3))
    assert longest(cache, (1, 2, 3)) is None
    state = tiny_hybrid.new_state()
    logits = tiny_hybrid.forward((1, 2, 3), state)
    cache.insert(state.snapshot(logits))
    assert longest(cache, (1, 2, 3)).logits is logits


def test_what_is_known_reaches_further_than_what_can_be_gone_on_from(take) -> None:
    cache = PrefixCache(1 << 30)
    cache.insert(take(1, 2))
    cache.insert(take(1, 2, 3, 4, 5, 6))
    match = cache.match((1, 2, 3, 4, 9, 9))
    assert (match.node.length, match.num_known) == (2, 4)
    assert cache.match((7,)).num_known == 0


def test_a_budget_too_small_for_one_keeps_none_and_the_tree_stays_clean(take) -> None:
    cache = PrefixCache(10)
    cache.insert(take(1, 2, 3))
    cache.insert(take(1, 2, 4))
    assert len(cache) == 0
    assert cache.nbytes == 0
    assert cache.root.children == {}


def test_eviction_leaves_every_other_prefix_findable(take) -> None:
    draw = random.Random(9)
    one = take(1)
    cache = PrefixCache(6 * one.nbytes)
    for _ in range(80):
        tokens = tuple(draw.choice((1, 2, 3)) for _ in range(draw.randint(1, 8)))
        cache.insert(take(*tokens))
        assert cache.nbytes <= cache.budget_bytes
        for node in list(cache.holders()):
            assert longest(cache, (*node.snapshot.tokens, 0)) is node.snapshot
    assert len(cache) == 6
