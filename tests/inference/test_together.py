"""Several lines read together write what each writes alone, and keep what each would keep."""

import copy
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
import torch
from transformers import PreTrainedModel

from inference import wire
from inference.branch import Branch
from inference.door import GenerationEnd, Token
from inference.engine import Engine
from inference.gain import NUM_REFUSED, Gain
from inference.host_worker import Seat, Worker
from inference.kernels import kernels
from inference.local import open_chat
from inference.messages import SamplingOptions
from inference.model import Model
from inference.together import Together
from inference.watchdog import Watchdog
from tests.inference.workers import work_until

SHARED = tuple((5 * i * i + 11 * i + 2) % 97 for i in range(70))
PROMPTS = [SHARED, (*SHARED, 3, 4, 5), SHARED[:1], (*SHARED[:40], *range(9))]
"""One page shared by some, of other lengths; one token alone."""
GREEDY = SamplingOptions()
WARM = SamplingOptions(temperature=0.9, top_k=20, seed=7)


def never() -> bool:
    return False


def engine_of(model: Model, cache_bytes: int = 0) -> Engine:
    return Engine(model, cache_bytes=cache_bytes)


def steps(
    engine: Engine,
    tokens: Sequence[int],
    num: int,
    sampling: SamplingOptions = GREEDY,
    **more: object,
) -> tuple[Branch, Iterator[object]]:
    branch = engine.find(tokens)
    new = tokens[len(branch) :]
    return branch, engine.generate(branch, new, sampling, max_new_tokens=num, cancel=never, **more)


def alone(engine: Engine, *asked: object, **more: object) -> GenerationEnd:
    _, events = steps(engine, *asked, **more)
    *_, end = events
    assert isinstance(end, GenerationEnd)
    return end


def together(
    engine: Engine, lines: Sequence[tuple[Branch, Iterator[object]]]
) -> list[GenerationEnd]:
    """Let replies go on in step until each has ended."""
    ends: dict[int, GenerationEnd] = {}
    while len(ends) < len(lines):
        offering = [branch for branch, _ in lines if branch.offered is not None]
        if len(offering) > 1:
            engine.together.read(offering)
        for number, (_, events) in enumerate(lines):
            event = next(events, None)
            while event is not None and not isinstance(event, Token | GenerationEnd):
                event = next(events)
            if isinstance(event, GenerationEnd):
                ends[number] = event
    return [ends[number] for number in range(len(lines))]


@contextmanager
def counted() -> Iterator[list[int]]:
    """Take note of how many lines each forward reads."""
    rows: list[int] = []
    alone, together = Model._run, Together.forward

    def one(*given: object) -> object:
        rows.append(1)
        return alone(*given)

    def several(reader: Together, tokens: Sequence[int], states: Sequence[object]) -> object:
        rows.append(len(tokens))
        return together(reader, tokens, states)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Model, "_run", one)
        patch.setattr(Together, "forward", several)
        yield rows


@pytest.fixture(params=[True, False], ids=["flat", "module"])
def hybrid(request: pytest.FixtureRequest, modules: dict[str, PreTrainedModel]) -> Model:
    """Return a model with both kinds of layers, and with or without the flat pass."""
    if request.param and kernels() is None:
        pytest.skip("no compiler, or not an x86 with AVX2")
    model = Model(copy.deepcopy(modules["qwen3_5"]), fast_kernels=request.param)
    assert (model._step is not None) == request.param
    return model


def test_lines_of_any_length_write_what_each_writes_alone(tiny_model: Model) -> None:
    model = tiny_model
    nums = [12, 7, 20, 1]
    asked = list(zip(PROMPTS, nums, strict=True))
    ends = [alone(engine_of(model), *one) for one in asked]
    engine = engine_of(model, 1 << 28)
    with counted() as rows:
        lines = [steps(engine, *one) for one in asked]
        joined = together(engine, lines)
    assert [end.token_ids for end in joined] == [end.token_ids for end in ends]
    assert rows.count(3) == 6
    assert rows.count(2) == 5
    for (branch, _), prompt, end in zip(lines, PROMPTS, ends, strict=True):
        assert branch.tokens == (*prompt, *end.token_ids[:-1])
        again = alone(engine, (*branch.tokens, 1), 3)
        fresh = alone(engine_of(model), (*branch.tokens, 1), 3)
        assert again.token_ids == fresh.token_ids, "its snapshot is its own"
        assert again.usage.num_prefilled == 1


def test_each_line_draws_by_itself_and_ends_by_itself(hybrid: Model) -> None:
    asked = [(SHARED, 9, how) for how in (GREEDY, WARM, SamplingOptions(0.9, seed=8))]
    ends = [alone(engine_of(hybrid), *one) for one in asked]
    stop = frozenset((ends[1].token_ids[3],))
    ends[1] = alone(engine_of(hybrid), *asked[1], stop_ids=stop)
    engine = engine_of(hybrid)
    lines = [
        steps(engine, *one, stop_ids=stop if n == 1 else frozenset()) for n, one in enumerate(asked)
    ]
    joined = together(engine, lines)
    assert [end.token_ids for end in joined] == [end.token_ids for end in ends]
    assert joined[1].stop_reason == "end_turn"


def test_what_a_line_read_with_others_can_be_taken_back(hybrid: Model) -> None:
    states = [hybrid.new_state() for _ in range(2)]
    for state, prompt in zip(states, PROMPTS, strict=False):
        hybrid.forward(prompt, state)
    states[0].allow_rollback(3)
    before = states[0].snapshot()
    reader = Together(hybrid)
    for token in (5, 6, 7):
        reader.forward((token, token + 1), states)
    states[0].rollback(2)
    after = before.restore()
    hybrid.forward((5,), after)
    logits = [hybrid.forward((9,), state) for state in (states[0], after)]
    torch.testing.assert_close(logits[0], logits[1], rtol=1e-4, atol=1e-4)


def test_a_kept_state_holds_no_memory_of_other_lines(hybrid: Model) -> None:
    states = [hybrid.new_state() for _ in range(4)]
    for state in states:
        hybrid.forward(SHARED, state)
    Together(hybrid).forward((1, 2, 3, 4), states)
    for layer in states[2].snapshot().linear:
        assert all(state.untyped_storage().nbytes() == state.nbytes for state in layer.tensors)


def test_nano_writes_the_same_alone_and_in_company() -> None:
    chat = open_chat("nano")
    prompts = [
        tuple(chat.tokenizer.encode(text)) for text in ("def add(a, b):\n", "import os", "x")
    ]
    model = chat.engine.model
    ends = [alone(engine_of(model), prompt, 8) for prompt in prompts]
    engine = engine_of(model)
    joined = together(engine, [steps(engine, prompt, 8) for prompt in prompts])
    assert [end.token_ids for end in joined] == [end.token_ids for end in ends]


def test_a_draft_layer_is_shown_what_was_made_of_each_line(modules) -> None:
    model = Model(copy.deepcopy(modules["qwen3_5"]))
    model.show_hidden()
    states = [model.new_state() for _ in range(2)]
    for state, prompt in zip(states, PROMPTS, strict=False):
        model.forward(prompt, state)
    kept = [state.snapshot() for state in states]
    Together(model).forward((5, 6), states)
    for state, before, token in zip(states, kept, (5, 6), strict=True):
        by_itself = before.restore()
        model.forward((token,), by_itself)
        if state.hidden is not None:  # where the module reads all lines nothing is shown
            torch.testing.assert_close(state.hidden, by_itself.hidden, rtol=1e-4, atol=1e-4)


def test_the_plainest_way_reads_each_line_by_itself(modules) -> None:
    plain = Model(copy.deepcopy(modules["qwen3_5"]), fast_kernels=False)
    assert not Together(plain).gain.pays(2)


def test_company_is_left_where_it_does_not_pay_and_tried_again_later() -> None:
    gain = Gain()
    for seconds in (9.0, 1.0, 1.1):
        assert gain.pays(2)
        gain.learn(1, seconds)
        gain.learn(2, seconds + 0.9)  # twice the rows for nearly twice the time
        gain.learn(4, seconds * 5)
    assert gain.pays(2)
    assert [gain.pays(4) for _ in range(NUM_REFUSED)] == [False] * NUM_REFUSED
    assert gain.pays(4)


def test_replies_that_front_ends_of_a_host_ask_for_are_read_together(
    tiny_hybrid: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Gain, "pays", lambda *_: True)
    ends = [alone(engine_of(tiny_hybrid), prompt, 10) for prompt in PROMPTS]
    worker, ended = Worker(Watchdog(60.0)), threading.Semaphore(0)
    answers: list[list[wire.Outcome]] = [[] for _ in PROMPTS]

    def taker(number: int) -> Callable[[wire.Outcome], None]:
        def take(answer: wire.Outcome) -> None:
            answers[number].append(answer)
            if isinstance(answer, wire.End):
                ended.release()

        return take

    for number, prompt in enumerate(PROMPTS):
        seat = Seat(taker(number), lambda: True)
        worker.submit(seat, wire.Find(1, prompt, None))
        worker.submit(seat, wire.Generate(2, 1, prompt, GREEDY, 10))
    engine = engine_of(tiny_hybrid)
    with counted() as rows:
        work_until(ended, len(PROMPTS), worker, engine)
    for number, end in enumerate(ends):
        got = answers[number]
        assert isinstance(got[-1], wire.End)
        assert got[-1].token_ids == end.token_ids
        streamed = tuple(one.id for one in got if isinstance(one, wire.OneToken))
        assert streamed == end.token_ids
    # How many join depends on when each has read its prompt, and on what pays on a busy machine.
    assert max(rows) > 1
    assert len(rows) < 40, "what each would need alone"
