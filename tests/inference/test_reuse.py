"""How many tokens are read again when a long conversation is left, cut, forked or taken up again.

A conversation of 34,000 tokens with a model small enough for it: the distances between snapshots
are the true ones. That the answers are right is test_programs.py; here tokens are counted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from inference.branch import Branch
from inference.door import FINE_LADDER_TOKENS, FINE_TOKENS, LADDER_TOKENS
from inference.engine import Engine
from inference.local import LocalChat
from inference.messages import Message, ReplyEnd, ReplyOptions, SamplingOptions
from inference.model import Model
from inference.packed import Packed
from inference.profiles import QWEN3_8
from inference.tokenizer import Tokenizer
from tests.inference.long_lines import (
    GREEDY,
    VOCAB,
    ask,
    cold,
    drawn,
    engine_on,
    narrow_model,
    never,
)

BASE = drawn(1, 30_000)
NUM_TURNS = 8
NEWS = 480
"""Tokens that a turn adds, besides the reply before."""


@dataclass
class Talk:
    """A conversation that has been going on for a while."""

    engine: Engine
    tokens: tuple[int, ...]
    """All that was read and said."""
    prompts: list[int]
    """How long each prompt was."""
    live: Branch


@pytest.fixture(scope="module")
def model() -> Model:
    return narrow_model()


def converse(engine: Engine) -> Talk:
    """Read the base, then take turns; each may cost its new tokens only."""
    tokens, prompts = BASE, []
    live = engine.find(())
    num_read = 0
    for turn in range(NUM_TURNS):
        tokens += drawn(100 + turn, NEWS)
        prompts.append(len(tokens))
        live = engine.find(tokens, live)
        end = ask(engine, tokens, num_new=20, live=live, marks=(len(tokens) - NEWS,))
        assert end.usage.num_prefilled == len(tokens) - num_read
        assert end.usage.num_repeated == 0
        num_read = len(tokens) + 19  # the last token drawn is not read
        tokens += end.token_ids
    return Talk(engine, tokens, prompts, live)


@pytest.fixture(scope="module")
def talk(model: Model) -> Talk:
    return converse(Engine(model, cache_bytes=1 << 30))


def left(tokens: tuple[int, ...], cut: int, num_new: int) -> tuple[int, ...]:
    """The first `cut` of them, and then others."""
    return (*tokens[:cut], (tokens[cut] + 1) % VOCAB, *drawn(cut, num_new - 1))


def nearest(engine: Engine, prompt: tuple[int, ...]) -> int:
    """The longest state that can be gone on from, by looking at all of them."""
    best = 0
    for node in engine.snapshots.holders():
        assert node.snapshot is not None
        if len(prompt) > node.length > best and prompt[: node.length] == node.snapshot.tokens:
            best = node.length
    return best


def bound(length: int, cut: int) -> int:
    """How much may be read again where a line of `length` tokens is left after `cut`."""
    return FINE_LADDER_TOKENS if cut >= length - FINE_TOKENS else LADDER_TOKENS


# The places just before a rung cost most. From the end on, so that no case helps the next.
CUTS = (33_990, 32_767, 30_100, 26_623, 20_000, 18_431, 16_383, 8_191, 1)


@pytest.mark.parametrize("cut", CUTS)
def test_leaving_a_line_anywhere_reads_again_what_is_behind_the_nearest_snapshot(
    talk: Talk, cut: int
) -> None:
    prompt = left(talk.tokens, cut, 20)
    resumed = nearest(talk.engine, prompt)
    usage = ask(talk.engine, prompt).usage
    assert usage.num_prefilled == len(prompt) - resumed
    assert usage.num_repeated == cut - resumed <= bound(len(talk.tokens), cut)


def test_the_worst_place_to_leave_a_line_gives_the_tokens_of_a_cold_run(talk: Talk) -> None:
    prompt = left(talk.tokens, 8_190, 5)
    assert ask(talk.engine, prompt).token_ids == cold(talk.engine.model, prompt)


def test_going_back_to_any_turn_costs_what_is_said_anew(talk: Talk) -> None:
    for length in talk.prompts:
        retry = ask(talk.engine, talk.tokens[:length], num_new=1)
        assert retry.usage.num_prefilled == 0, "a retry"
        other = left(talk.tokens, length - NEWS, 33)
        usage = ask(talk.engine, other, num_new=2).usage
        assert usage.num_prefilled == 33, "another message in its place"
        assert usage.num_repeated == 0


@pytest.mark.parametrize("place", [33_100, 31_600, 24_000])
def test_an_edit_costs_what_follows_it_and_the_way_from_the_snapshot_before(
    talk: Talk, place: int
) -> None:
    """One token is another one; all that comes after it stays."""
    prompt = left(talk.tokens, place, 1) + talk.tokens[place + 1 :]
    usage = ask(talk.engine, prompt, num_new=1).usage
    num_after = len(prompt) - place
    assert num_after <= usage.num_prefilled <= num_after + FINE_LADDER_TOKENS
    assert usage.num_repeated == usage.num_prefilled - num_after


def test_a_fork_costs_its_own_tokens_and_its_parent_goes_on_for_its_own(model: Model) -> None:
    engine = Engine(model, cache_bytes=1 << 30)
    line = BASE[:9_000]
    ask(engine, line, num_new=0)
    trunk = engine.find(line)
    for n, fork in enumerate([engine.fork(trunk) for _ in range(3)]):
        usage = ask(engine, line + drawn(400 + n, 50), live=fork).usage
        assert (usage.num_prefilled, usage.num_repeated) == (50, 0)
    usage = ask(engine, line + drawn(450, 10), live=trunk).usage
    assert (usage.num_prefilled, usage.num_repeated) == (10, 0)


def after(num_looks: int) -> Callable[[], bool]:
    looks = count()
    return lambda: next(looks) >= num_looks


def test_a_cancelled_prefill_is_not_repeated_and_its_rungs_are_there(model: Model) -> None:
    engine = Engine(model, cache_bytes=1 << 30)
    stopped = ask(engine, BASE[:20_000], cancel=after(24))
    num_read = stopped.usage.num_prefilled
    assert 0 < num_read < 20_000
    # Somebody says something else first, from before the place of the cancel.
    other = left(BASE, num_read - 100, 3)
    usage = ask(engine, other, num_new=1).usage
    assert usage.num_repeated == usage.num_prefilled - 3 <= FINE_LADDER_TOKENS
    usage = ask(engine, BASE[:20_000], num_new=1).usage
    assert (usage.num_prefilled, usage.num_repeated) == (20_000 - num_read, 0)


@pytest.mark.parametrize("num_said", [1, 2, 9])
def test_a_cancelled_reply_costs_the_token_that_was_drawn_last(model: Model, num_said: int) -> None:
    engine = Engine(model, cache_bytes=1 << 30)
    line = BASE[:3_000]
    looks_to_read = 6  # 3,000 tokens are as many chunks
    stopped = ask(engine, line, num_new=50, cancel=after(looks_to_read + num_said))
    assert len(stopped.token_ids) == num_said
    line += (*stopped.token_ids, 5, 6)
    usage = ask(engine, line, num_new=1).usage
    assert (usage.num_prefilled, usage.num_repeated) == (3, 0)


@pytest.mark.slow
def test_after_a_restart_a_conversation_goes_on_for_its_new_tokens(
    model: Model, tmp_path: Path
) -> None:
    notices: list[str] = []
    engine = engine_on(model, tmp_path, notices)
    before = converse(engine)
    assert engine.shelf.flush(60)
    engine.close()

    engine = engine_on(model, tmp_path, notices)
    usage = ask(engine, (*before.tokens, 1, 2, 3), num_new=1).usage
    assert (usage.num_prefilled, usage.num_repeated) == (4, 0)
    engine.close()

    for cut in (33_500, 20_479, 8_191):  # each in a process that has read nothing
        engine = engine_on(model, tmp_path, notices)
        prompt = left(before.tokens, cut, 20)
        usage = ask(engine, prompt, num_new=1).usage
        assert usage.num_prefilled == 20 + usage.num_repeated
        assert usage.num_repeated <= bound(len(before.tokens), cut)
        engine.close()
    assert not notices


def test_after_a_restart_the_same_prompt_is_not_read_again(model: Model, tmp_path: Path) -> None:
    notices: list[str] = []
    engine = engine_on(model, tmp_path, notices)
    first = ask(engine, BASE[:3_000])
    engine.close()
    engine = engine_on(model, tmp_path, notices)
    again = ask(engine, BASE[:3_000])
    assert again.usage.num_prefilled == 0
    assert again.token_ids == first.token_ids
    engine.close()
    assert not notices


def test_a_stored_state_that_cannot_say_what_comes_next_is_passed_over(
    model: Model, tmp_path: Path
) -> None:
    """Without its logits it is of use to a longer prompt only."""
    notices: list[str] = []
    engine = engine_on(model, tmp_path, notices)
    branch = engine.branch(BASE[:600], never, marks=(500,))
    snapshot = branch.state.snapshot()
    store = engine.shelf._store
    assert store is not None
    engine.close()
    store.remove(snapshot.pack(500).key)
    assert store.put(snapshot.pack(500))
    engine = engine_on(model, tmp_path, notices)
    assert ask(engine, BASE[:600]).usage.num_prefilled == 100
    assert ask(engine, BASE[:601]).usage.num_prefilled == 1
    engine.close()


def test_what_is_stored_does_not_build_on_what_only_memory_has(
    model: Model, tmp_path: Path
) -> None:
    """A place inside a reply goes from the device to RAM, and never to disk."""
    notices: list[str] = []
    engine = engine_on(model, tmp_path, notices, ram_bytes=1 << 28)
    branch = engine.find(BASE[:700])
    every = frozenset(range(97))
    *_, end = engine.generate(
        branch, BASE[:700], GREEDY, max_new_tokens=40, cancel=never, keep_ids=every
    )
    del branch
    engine.snapshots.budget_bytes = 0
    engine.snapshots.shrink()
    assert len(engine.snapshots) == 0
    engine.snapshots.budget_bytes = 1 << 30
    line = BASE[:700] + end.token_ids[:20] + BASE[:300]
    assert ask(engine, line).usage.num_prefilled == 300, "RAM had it"
    engine.close()
    engine = engine_on(model, tmp_path, notices)
    assert ask(engine, (*line, 1)).usage.num_prefilled == 1
    engine.close()
    assert not notices


# --- thinking that is dropped


def reply(chat: LocalChat, messages: list[Message], thinking: bool = True) -> ReplyEnd:
    options = ReplyOptions(SamplingOptions(), max_new_tokens=40, thinking=thinking)
    *_, end = chat.reply(messages, (), options, never)
    assert isinstance(end, ReplyEnd)
    return end


def test_thinking_that_is_dropped_is_the_only_thing_read_twice(tokenizer: Tokenizer) -> None:
    engine = Engine(narrow_model(tokenizer.vocab_size), cache_bytes=1 << 30)
    chat = LocalChat(engine, tokenizer, QWEN3_8, "narrow", "strip")
    messages = [Message("system", "The rule is as before. " * 1_000)]
    num_read = 0
    for turn in range(4):
        question = Message("user", f"Question {turn}. " * 20)
        messages.append(question)
        end = reply(chat, messages)
        num_new = end.usage.num_prompt - num_read
        if turn:
            # What was said is written anew without its thoughts: so much, and no more.
            num_said = 40 + chat.count_tokens(question.content) + 30
            assert end.usage.num_prefilled < num_said
            assert end.usage.num_repeated < 16, "the words that begin a reply"
        else:
            assert end.usage.num_prefilled == num_new > 4_000
        num_read = end.usage.num_prompt
        messages.append(end.message)


# --- what a fork holds


@pytest.mark.parametrize("length", [16_384, 16_400])
def test_a_fork_holds_a_state_and_a_page_and_its_snapshot_nothing(
    model: Model, length: int
) -> None:
    engine = Engine(model, cache_bytes=1 << 30)
    trunk = engine.branch(BASE[:length], never)
    num_pages = model.pool.num_pages
    kept = trunk.state.snapshot(trunk.logits)
    fork = engine.fork(trunk)
    assert model.pool.num_pages == num_pages
    states = [slot.states for slot in fork.state.slots.values()]
    assert all(a is b for a, b in zip(states, kept.linear, strict=True)), "nothing was copied"

    for branch in (trunk, fork):
        branch.logits = model.forward([1], branch.state)
        assert model.pool.num_pages <= num_pages + 1 + (length % 256 == 0 and branch is fork)
    packed: Packed = kept.pack(0)
    state = sum(tensor.nbytes for layer in kept.linear for tensor in layer.tensors)
    assert packed.kv.nbytes == length * model.pool.shape.token_nbytes
    assert kept.state_nbytes == state + kept.logits.nbytes
