"""No token is computed twice, and what comes out is what transformers' own model would write.

The oracle is one run of transformers with its own cache, in float32, from the first token.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence

import pytest
import torch
import transformers

from inference.branch import Branch
from inference.door import CallGrammar, GenerationEnd, Token
from inference.engine import Engine
from inference.errors import Cancelled
from inference.messages import Prefill, SamplingOptions, Usage
from inference.model import Model

PROMPT = tuple((5 * i * i + 11 * i + 2) % 97 for i in range(200))
GREEDY = SamplingOptions()
WARM = SamplingOptions(temperature=0.8, top_p=0.95, top_k=20, seed=11)


def never() -> bool:
    return False


def after(num_calls: int) -> Callable[[], bool]:
    """Cancel from the call after `num_calls` on."""
    calls = itertools.count()
    return lambda: next(calls) >= num_calls


def oracle(model: Model, tokens: Sequence[int], num_new: int) -> tuple[int, ...]:
    """Let transformers write greedily, with its own cache."""
    out = model.oracle.generate(
        torch.tensor([tokens]),
        attention_mask=torch.ones(1, len(tokens), dtype=torch.long),  # 0 is a token like others
        generation_config=transformers.GenerationConfig(
            max_new_tokens=num_new, do_sample=False, eos_token_id=None, pad_token_id=0
        ),
    )
    return tuple(out[0, len(tokens) :].tolist())


def engine_of(model: Model, **options) -> Engine:
    return Engine(model, **({"cache_bytes": 1 << 30, "prefill_chunk": 64} | options))


def reply(
    engine: Engine,
    tokens: Sequence[int],
    num_new: int = 8,
    sampling: SamplingOptions = GREEDY,
    cancel: Callable[[], bool] = never,
    live: Branch | None = None,
    reuse: bool = True,
    **options,
) -> GenerationEnd:
    """Answer a whole prompt as `local.py` does: find, then generate."""
    branch = engine.find(tokens, live, reuse)
    return last(
        engine.generate(
            branch,
            tokens[len(branch) :],
            sampling,
            max_new_tokens=num_new,
            cancel=cancel,
            **options,
        )
    )


def last(events: Iterable[Prefill | Token | GenerationEnd]) -> GenerationEnd:
    *before, end = events
    assert isinstance(end, GenerationEnd)
    drawn = tuple(event.id for event in before if isinstance(event, Token))
    assert drawn == end.token_ids
    usage = end.usage
    assert usage.num_generated == len(end.token_ids)
    assert usage.num_prompt == usage.num_reused + usage.num_prefilled
    return end


def counts(usage: Usage) -> tuple[int, int, int]:
    return usage.num_prompt, usage.num_reused, usage.num_prefilled


def test_a_reply_is_the_one_of_transformers(tiny_model: Model) -> None:
    end = reply(engine_of(tiny_model), PROMPT, num_new=16)
    assert end.token_ids == oracle(tiny_model, PROMPT, 16)
    assert end.stop_reason == "max_tokens"
    assert counts(end.usage) == (200, 0, 200)


def test_a_reply_tells_where_the_memory_is(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    live = engine.branch(PROMPT, never)
    *_, end = engine.generate(live, (), GREEDY, max_new_tokens=4, cancel=never)
    assert isinstance(end, GenerationEnd)
    memory = end.memory
    assert memory is not None
    named = sum(one.nbytes for one in tiny_model.module.parameters())
    assert named <= memory.weights_bytes < 1.01 * named  # and a few buffers
    assert memory.kv_bytes == len(live.state.table.pages) * tiny_model.pool.page_nbytes > 0
    assert memory.snapshot_bytes == engine.snapshots.nbytes > 0


def test_every_turn_of_a_conversation_prefills_its_new_tokens_only(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    line = PROMPT[:60]
    num_read = 0
    for turn in range(5):
        end = reply(engine, line, num_new=7)
        assert end.token_ids == oracle(tiny_model, line, 7)
        assert counts(end.usage) == (len(line), num_read, len(line) - num_read)
        num_read = len(line) + 6  # the last token drawn is not read
        line = (*line, *end.token_ids, *PROMPT[turn : turn + 13])


@pytest.mark.parametrize("num_new", [0, 1, 2])
def test_a_turn_may_add_hardly_anything(tiny_model: Model, num_new: int) -> None:
    engine = engine_of(tiny_model)
    first = reply(engine, PROMPT[:50], num_new=num_new)
    assert first.token_ids == oracle(tiny_model, PROMPT[:50], 2)[:num_new]
    line = (*PROMPT[:50], *first.token_ids, 5)
    end = reply(engine, line)
    assert end.token_ids == oracle(tiny_model, line, 8)
    assert end.usage.num_prefilled == 1 + min(num_new, 1)


def test_a_branch_that_was_prefilled_needs_no_new_token(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    seen: list[Prefill] = []
    branch = engine.branch(PROMPT, never, seen.append)
    assert branch.tokens == PROMPT
    assert [progress.num_done for progress in seen] == [66, 133, 200]
    assert {progress.num_total for progress in seen} == {200}
    end = last(engine.generate(branch, (), GREEDY, max_new_tokens=8, cancel=never))
    assert end.token_ids == oracle(tiny_model, PROMPT, 8)
    assert counts(end.usage) == (200, 0, 200), "the prefill of branch() is told of once"
    again = last(
        engine.generate(branch, (*end.token_ids[-1:], 4), GREEDY, max_new_tokens=1, cancel=never)
    )
    assert counts(again.usage) == (209, 207, 2)


@pytest.mark.parametrize("cut", [*range(1, 9), 31, 32, 33, *range(62, 67), *range(126, 131)])
def test_rewinding_to_any_mark_is_exact(tiny_hybrid: Model, cut: int) -> None:
    engine = engine_of(tiny_hybrid)
    reply(engine, PROMPT[:150], marks=(cut,))
    line = (*PROMPT[:cut], 3, 1, 4)
    end = reply(engine, line)
    assert counts(end.usage) == (cut + 3, cut, 3)
    assert end.token_ids == oracle(tiny_hybrid, line, 8)


@pytest.mark.slow
@pytest.mark.parametrize("cut", range(131))
def test_rewinding_to_every_length_is_exact(tiny_model: Model, cut: int) -> None:
    engine = engine_of(tiny_model)
    reply(engine, PROMPT[:150], marks=(cut,))
    line = (*PROMPT[:cut], 3, 1, 4)
    end = reply(engine, line, num_new=12)
    assert counts(end.usage) == (cut + 3, cut, 3)
    assert end.token_ids == oracle(tiny_model, line, 12)


def test_a_retry_prefills_nothing(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    first = reply(engine, PROMPT, marks=(100, 196))
    second = reply(engine, PROMPT, marks=(100, 196))
    assert second.token_ids == first.token_ids
    assert counts(second.usage) == (200, 200, 0)


def test_dropping_a_reply_and_saying_more_goes_on_from_the_prompt(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    reply(engine, PROMPT[:90])
    line = PROMPT[:95]
    end = reply(engine, line)
    assert counts(end.usage) == (95, 90, 5)
    assert end.token_ids == oracle(tiny_model, line, 8)


def test_going_back_to_a_finished_reply_of_another_line_costs_the_last_token_and_the_new(
    tiny_model: Model,
) -> None:
    engine = engine_of(tiny_model)
    first = reply(engine, PROMPT[:90])
    reply(engine, (*PROMPT[:40], 1, 2, 3))
    line = (*PROMPT[:90], *first.token_ids, 8, 9)
    end = reply(engine, line)
    assert counts(end.usage) == (100, 97, 3)
    assert end.token_ids == oracle(tiny_model, line, 8)


def test_forks_go_their_own_ways(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    trunk = engine.branch(PROMPT[:80], never)
    forks = [engine.fork(trunk) for _ in range(3)]
    tails = [(1, 2), (1, 3), (4,)]
    running = [
        engine.generate(fork, tail, GREEDY, max_new_tokens=9, cancel=never)
        for fork, tail in zip(forks, tails, strict=True)
    ]
    events: list[list] = [[] for _ in running]
    for turn in itertools.zip_longest(*running):  # token by token, in turn
        for seen, event in zip(events, turn, strict=True):
            seen.extend([event] if event is not None else [])
    for seen, tail in zip(events, tails, strict=True):
        assert last(seen).token_ids == oracle(tiny_model, (*PROMPT[:80], *tail), 9)
    end = last(engine.generate(trunk, (), GREEDY, max_new_tokens=9, cancel=never))
    assert end.token_ids == oracle(tiny_model, PROMPT[:80], 9)


def test_a_fork_may_draw_at_once(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    fork = engine.fork(engine.branch(PROMPT[:80], never))
    end = last(engine.generate(fork, (), GREEDY, max_new_tokens=5, cancel=never))
    assert end.token_ids == oracle(tiny_model, PROMPT[:80], 5)


@pytest.mark.parametrize("num_chunks", [0, 1, 2, 3])
def test_a_cancelled_prefill_is_resumed_where_it_stopped(
    tiny_model: Model, num_chunks: int
) -> None:
    engine = engine_of(tiny_model)
    stopped = reply(engine, PROMPT, cancel=after(num_chunks))
    num_done = 200 * num_chunks // 3
    assert stopped.stop_reason == "cancelled"
    assert stopped.token_ids == ()
    assert counts(stopped.usage) == (num_done, 0, num_done)
    end = reply(engine, PROMPT)
    assert counts(end.usage) == (200, num_done, 200 - num_done)
    assert end.token_ids == oracle(tiny_model, PROMPT, 8)


def test_a_cancelled_prefill_outlives_another_conversation(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    reply(engine, PROMPT, cancel=after(2))
    reply(engine, PROMPT[100:150])
    end = reply(engine, PROMPT)
    assert counts(end.usage) == (200, 133, 67)
    assert end.token_ids == oracle(tiny_model, PROMPT, 8)


def test_branch_raises_when_cancelled_and_keeps_what_it_read(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    with pytest.raises(Cancelled, match="133 of 200"):
        engine.branch(PROMPT, after(2))
    branch = engine.branch(PROMPT, never)
    end = last(engine.generate(branch, (), GREEDY, max_new_tokens=8, cancel=never))
    assert end.token_ids == oracle(tiny_model, PROMPT, 8)
    assert counts(end.usage) == (200, 133, 67)


@pytest.mark.parametrize("num_tokens", [0, 1, 5])
def test_a_cancelled_reply_can_be_gone_on_from(tiny_model: Model, num_tokens: int) -> None:
    engine = engine_of(tiny_model)
    expected = oracle(tiny_model, PROMPT[:60], 12)
    stopped = reply(engine, PROMPT[:60], num_new=12, cancel=after(1 + num_tokens))
    assert stopped.stop_reason == "cancelled"
    assert stopped.token_ids == expected[:num_tokens]
    line = (*PROMPT[:60], *stopped.token_ids, 6)
    end = reply(engine, line)
    assert end.token_ids == oracle(tiny_model, line, 8)
    assert end.usage.num_prefilled == 1 + min(num_tokens, 1)


def test_a_reader_who_goes_away_leaves_the_line_good(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    branch = engine.find(PROMPT[:60])
    events = engine.generate(branch, PROMPT[:60], GREEDY, max_new_tokens=9, cancel=never)
    drawn = [event.id for event in itertools.islice(events, 5) if isinstance(event, Token)]
    events.close()
    line = (*PROMPT[:60], *drawn, 6)
    end = reply(engine, line, live=branch)
    assert end.token_ids == oracle(tiny_model, line, 8)
    assert end.usage.num_prefilled == 2


def test_a_forward_that_is_interrupted_is_not_gone_on_from(tiny_hybrid: Model) -> None:
    engine = engine_of(tiny_hybrid)
    reply(engine, PROMPT[:60])

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    hook = tiny_hybrid.module.model.layers[3].register_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            reply(engine, PROMPT[:150])
    finally:
        hook.remove()
    end = reply(engine, PROMPT[:150])
    assert counts(end.usage) == (150, 60, 90)
    assert end.token_ids == oracle(tiny_hybrid, PROMPT[:150], 8)


def test_a_stop_token_ends_the_reply_and_belongs_to_it(tiny_model: Model) -> None:
    expected = oracle(tiny_model, PROMPT[:70], 8)
    stop = expected[3]
    first = expected.index(stop)
    engine = engine_of(tiny_model)
    end = reply(engine, PROMPT[:70], stop_ids=frozenset({stop}))
    assert end.stop_reason == "end_turn"
    assert end.token_ids == expected[: first + 1]


def test_a_reply_can_be_gone_on_with_from_after_a_token_of_it(tiny_model: Model) -> None:
    expected = oracle(tiny_model, PROMPT[:70], 8)
    opener = expected[3]
    num_kept = 70 + expected.index(opener) + 1
    engine = engine_of(tiny_model)
    reply(engine, PROMPT[:70], keep_ids=frozenset({opener}))
    line = PROMPT[:70] + expected[: num_kept - 70]
    other = (*line, (expected[num_kept - 70] + 1) % 97)  # another word than was said there
    end = reply(engine, other)
    assert counts(end.usage) == (num_kept + 1, num_kept, 1)
    assert end.token_ids == oracle(tiny_model, other, 8)


def test_the_same_seed_draws_the_same_reply_with_and_without_reuse(tiny_model: Model) -> None:
    line = PROMPT[:120]
    warm = engine_of(tiny_model)
    reply(warm, PROMPT[:77])
    reused = reply(warm, line, 20, WARM)
    fresh = reply(engine_of(tiny_model), line, 20, WARM, reuse=False)
    torch.manual_seed(123)  # what else is drawn in the process does not matter
    other = reply(engine_of(tiny_model, prefill_chunk=50), line, 20, WARM)
    assert reused.token_ids == fresh.token_ids == other.token_ids
    assert reused.usage.num_reused == 77
    different = reply(engine_of(tiny_model), line, 20, SamplingOptions(temperature=0.8, seed=12))
    assert different.token_ids != reused.token_ids


def test_without_reuse_everything_is_prefilled_and_nothing_else_changes(tiny_model: Model) -> None:
    with_reuse, without = engine_of(tiny_model), engine_of(tiny_model)
    line = PROMPT[:60]
    for _ in range(3):
        one, other = reply(with_reuse, line), reply(without, line, reuse=False)
        assert one.token_ids == other.token_ids
        assert counts(other.usage) == (len(line), 0, len(line))
        line = (*line, *one.token_ids, 7)
    assert len(without.snapshots) == 0


def test_what_was_computed_is_never_more_than_the_line_and_a_token_a_reply(
    tiny_hybrid: Model,
) -> None:
    engine = engine_of(tiny_hybrid)
    line, num_computed, num_replies = PROMPT[:30], 0, 12
    for turn in range(num_replies):
        end = reply(engine, line, num_new=turn)
        num_computed += end.usage.num_prefilled + end.usage.num_generated
        line = (*line, *end.token_ids, 1 + turn)
    assert num_computed <= len(line) + num_replies


def test_no_snapshot_changes_while_the_engine_goes_on(tiny_model: Model) -> None:
    engine = engine_of(tiny_model)
    branch = engine.branch(PROMPT[:100], never, marks=(30, 64))
    kept = [node.snapshot for node in engine.snapshots.holders()]
    assert sorted(len(snapshot) for snapshot in kept) == [30, 64, 100]
    expected = {len(snapshot): oracle(tiny_model, (*snapshot.tokens, 5), 6) for snapshot in kept}
    last(engine.generate(branch, PROMPT[100:190], GREEDY, max_new_tokens=200, cancel=never))
    for snapshot in kept:
        assert snapshot.tokens == PROMPT[: len(snapshot)]
        resumed = Branch(snapshot.restore())
        end = last(engine.generate(resumed, (5,), GREEDY, max_new_tokens=6, cancel=never))
        assert end.token_ids == expected[len(snapshot)]


def test_the_ladder_is_climbed_in_prefill_and_in_decode(
    tiny_hybrid: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.engine.LADDER_TOKENS", 128)
    monkeypatch.setattr("inference.engine.FINE_LADDER_TOKENS", 128)
    monkeypatch.setattr("inference.reply.FINE_LADDER_TOKENS", 128)
    engine = engine_of(tiny_hybrid, prefill_chunk=100)
    reply(engine, PROMPT, num_new=70)
    lengths = sorted(len(node.snapshot) for node in engine.snapshots.holders())
    assert lengths == [128, 200, 256, 269]


def test_marks_outside_the_new_tokens_are_passed_over(tiny_hybrid: Model) -> None:
    engine = engine_of(tiny_hybrid)
    reply(engine, PROMPT[:50], num_new=0, marks=(0, 20, 50, 51, 9999))
    assert sorted(len(node.snapshot) for node in engine.snapshots.holders()) == [20, 50]
    branch = engine.find(PROMPT[:60])
    last(
        engine.generate(
            branch, PROMPT[50:60], GREEDY, max_new_tokens=0, cancel=never, marks=(20, 55)
        )
    )
    assert sorted(len(node.snapshot) for node in engine.snapshots.holders()) == [20, 50, 55, 60]


class OnlyEven:
    """A grammar: even tokens, until three were drawn, then only token 1."""

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def mask(self, logits: torch.Tensor) -> None:
        if len(self.drawn) < 3:
            logits[1::2] = -torch.inf
        else:
            logits[:1] = logits[2:] = -torch.inf

    def advance(self, token: int) -> None:
        self.drawn.append(token)

    def forced(self) -> tuple[int, ...]:
        return ()

    def rule(self, grammar: CallGrammar) -> "OnlyEven":
        """Be the rule of every reply."""
        return self


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_a_grammar_decides_what_may_be_drawn(tiny_hybrid: Model, sampling: SamplingOptions) -> None:
    grammar = OnlyEven()
    engine = engine_of(tiny_hybrid, grammars=grammar)
    end = reply(engine, PROMPT[:40], 5, sampling, grammar=CallGrammar("xml", "[]"))
    assert tuple(grammar.drawn) == end.token_ids
    assert [token % 2 for token in end.token_ids] == [0, 0, 0, 1, 1]
    assert end.token_ids[3:] == (1, 1)


def test_the_live_line_goes_on_even_when_no_snapshot_may_be_kept(tiny_model: Model) -> None:
    engine = engine_of(tiny_model, cache_bytes=0)
    branch = engine.branch(PROMPT[:90], never)
    first = last(engine.generate(branch, (), GREEDY, max_new_tokens=8, cancel=never))
    assert len(engine.snapshots) == 0
    line = (*PROMPT[:90], *first.token_ids, 8)
    end = reply(engine, line, live=branch)
    assert counts(end.usage) == (99, 97, 2)
    assert end.token_ids == oracle(tiny_model, line, 8)
