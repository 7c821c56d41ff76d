"""Guesses change when a reply is there, and nothing of it: no token, no snapshot, no count.

Costs are given here, not measured: what is guessed is then the same on every machine.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evals.nano.mtp import MultiTokenPredictor
from inference.branch import Branch
from inference.door import CallGrammar, GenerationEnd, Token
from inference.engine import Engine
from inference.loader import load
from inference.local import NANO_FOLDER
from inference.messages import SamplingOptions
from inference.model import Model
from inference.mtp import DraftLayer, Mtp, MtpSource, read_mtp
from inference.ngrams import Ngrams, NgramSource, new_records
from inference.odds import FORGET_AFTER, MAX_GUESSES, OPTIMISM, Costs, Hopes
from inference.pictures import FIRST_ID
from inference.quantize import stacks_of
from inference.sampling import probabilities_of
from inference.speculate import Drafts, Speculation
from tests.inference.guesses import EvenCosts, Knows, Told

PROMPT = tuple((5 * i * i + 11 * i + 2) % 97 for i in range(170))
NUM_NEW = 100
"""From within the first page of the line to the second, and further than can be taken back."""
GREEDY = SamplingOptions()
WARM = SamplingOptions(temperature=0.8, top_p=0.95, top_k=20, min_p=0.01, seed=11)


def engine_of(model: Model, speculation: Speculation | None = None, **options) -> Engine:
    return Engine(model, cache_bytes=1 << 30, prefill_chunk=64, speculation=speculation, **options)


def written(
    engine: Engine,
    prompt: Sequence[int] = PROMPT,
    num_new: int = NUM_NEW,
    sampling: SamplingOptions = GREEDY,
    num_heard: int = 0,
    **options,
) -> GenerationEnd:
    """Answer a prompt; with `num_heard`, ask it to stop when so many tokens were heard."""
    branch = engine.find(prompt)
    heard: list[int] = []
    for event in engine.generate(
        branch,
        prompt[len(branch) :],
        sampling,
        max_new_tokens=num_new,
        cancel=lambda: bool(num_heard) and len(heard) >= num_heard,
        **options,
    ):
        if isinstance(event, Token):
            heard.append(event.id)
    assert isinstance(event, GenerationEnd)
    assert tuple(heard) == event.token_ids
    assert branch.tokens == (*prompt, *event.token_ids)[: len(branch)]
    assert len(branch) == len(prompt) + max(0, len(heard) - 1), "the last one is drawn, not read"
    return event


@pytest.fixture(scope="module")
def plain(tiny_hybrid: Model) -> GenerationEnd:
    """The reply without guesses."""
    return written(engine_of(tiny_hybrid))


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_a_reply_is_the_same_with_guesses(tiny_model: Model, sampling: SamplingOptions) -> None:
    without = written(engine_of(tiny_model), sampling=sampling)
    assert without.usage.num_drafted == without.usage.num_accepted == 0
    ids = without.token_ids
    for wrong_every, num_new in ((2, 13), (19, 66), (1000, NUM_NEW)):
        engine = engine_of(tiny_model, Told(ids, wrong_every))
        end = written(engine, sampling=sampling, num_new=num_new)
        assert end.token_ids == ids[:num_new]
        assert end.stop_reason == "max_tokens"
        usage = end.usage
        assert (usage.num_accepted == usage.num_drafted > 60) == (wrong_every == 1000)


@pytest.mark.parametrize("number", [37, 64])
def test_it_ends_at_a_stop_that_was_guessed_and_keeps_the_places_it_passed(
    tiny_hybrid: Model, plain: GenerationEnd, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inference.reply.FINE_LADDER_TOKENS", 16)
    stop = next(i for i in range(number, NUM_NEW) if plain.token_ids.index(plain.token_ids[i]) == i)
    options = {
        "stop_ids": frozenset({plain.token_ids[stop]}),
        "keep_ids": frozenset(plain.token_ids[5:stop:9]),
        "num_new": stop + 1 if number == 64 else NUM_NEW,
    }
    engines = engine_of(tiny_hybrid), engine_of(tiny_hybrid, Told(plain.token_ids))
    for engine in engines:
        end = written(engine, **options)
        assert end.token_ids == plain.token_ids[: stop + 1]
        assert end.stop_reason == "end_turn"
    lengths = [sorted(node.length for node in e.snapshots.holders()) for e in engines]
    assert lengths[0] == lengths[1]
    assert len(lengths[0]) > 5


def test_a_line_that_guessed_goes_on_forks_and_rewinds_exactly(
    tiny_hybrid: Model, plain: GenerationEnd
) -> None:
    keep_ids = frozenset(plain.token_ids[::7])
    engine = engine_of(tiny_hybrid, Told(plain.token_ids))
    branch = engine.find(PROMPT)
    for _ in engine.generate(
        branch, PROMPT, GREEDY, max_new_tokens=NUM_NEW, cancel=lambda: False, keep_ids=keep_ids
    ):
        pass
    line = (*PROMPT, *plain.token_ids)
    assert len(line) > 256, "a page has an end in the reply"
    fork = engine.fork(branch)
    engine.speculation = None
    for prompt, live in (
        ((*line, 8), branch),
        ((*line, 9), fork),
        *(((*line[:cut], 5), None) for cut in (len(line) - 1, 257, 256, 230, len(PROMPT))),
    ):
        found = engine.find(prompt, live)
        logits = engine.model.forward(prompt[len(found) :], found.state)
        expected = tiny_hybrid.forward(prompt, tiny_hybrid.new_state())
        torch.testing.assert_close(logits, expected, rtol=1e-3, atol=1e-3)
        assert live is None or found is live


@pytest.mark.parametrize("num_heard", [1, 30, 31])
def test_a_reply_stops_at_the_token_at_which_it_was_asked_to(
    tiny_hybrid: Model, plain: GenerationEnd, num_heard: int
) -> None:
    end = written(engine_of(tiny_hybrid, Told(plain.token_ids)), num_heard=num_heard)
    assert end.stop_reason == "cancelled"
    assert end.token_ids == plain.token_ids[:num_heard]


def test_a_reply_that_nobody_listens_to_any_more_leaves_no_guess_behind(
    tiny_hybrid: Model, plain: GenerationEnd
) -> None:
    engine = engine_of(tiny_hybrid, Told(plain.token_ids))
    branch = engine.find(PROMPT)
    events = engine.generate(branch, PROMPT, GREEDY, max_new_tokens=90, cancel=lambda: False)
    heard: list[int] = []
    while len(heard) < 40:
        if isinstance(event := next(events), Token):
            heard.append(event.id)
    events.close()
    assert branch.tokens == (*PROMPT, *heard[:-1])
    assert engine.find((*PROMPT, *heard, 5), branch) is branch


class Fickle:
    """A grammar in which all hangs on what was written, and which must hear of nothing else."""

    def __init__(self) -> None:
        self.heard: list[int] = []

    def rule(self, grammar: CallGrammar) -> "Fickle":
        """Be the rule of the reply."""
        return self

    def mask(self, logits: torch.Tensor) -> None:
        logits[sum(self.heard) % 97 :][:40] = -torch.inf

    def advance(self, token: int) -> None:
        self.heard.append(token)

    def forced(self) -> tuple[int, ...]:
        return (3, 4) if len(self.heard) % 10 == 0 else ()


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_rules_hear_of_what_is_written_and_of_no_guess(
    tiny_hybrid: Model, sampling: SamplingOptions
) -> None:
    ids: tuple[int, ...] = ()
    for speculation in (None, Told(()), Told(ids)):
        rule = Fickle()
        engine = engine_of(tiny_hybrid, speculation, grammars=rule)
        end = written(engine, num_new=25, sampling=sampling, grammar=CallGrammar("xml", "[]"))
        assert tuple(rule.heard) == end.token_ids
        assert end.token_ids == (ids or end.token_ids)
        ids = end.token_ids


def test_what_is_drawn_where_a_guess_was_has_the_distribution_of_the_model(
    tiny_hybrid: Model,
) -> None:
    sampling = SamplingOptions(temperature=3.0, top_k=3, top_p=0.95)
    logits = tiny_hybrid.forward(PROMPT, state := tiny_hybrid.new_state())
    first = int(logits.argmax())
    expected = probabilities_of(tiny_hybrid.forward((first,), state), sampling)
    guessed = int(expected.argmax())
    engine = engine_of(tiny_hybrid, Told((first, guessed, guessed), 1000))
    base = engine.branch(PROMPT, lambda: False)
    drawn, num_accepted = [], 0
    for seed in range(120):
        *_, end = engine.generate(
            engine.fork(base),
            (),
            replace(sampling, seed=seed),
            max_new_tokens=3,
            cancel=lambda: False,
        )
        assert isinstance(end, GenerationEnd)
        num_accepted += end.usage.num_accepted
        if end.token_ids[0] == first:
            drawn.append(end.token_ids[1])
    seen = torch.bincount(torch.tensor(drawn), minlength=len(expected)).float()
    is_possible = expected > 0
    assert is_possible.sum() == 3
    assert seen[~is_possible].sum() == 0
    wanted = expected[is_possible] * len(drawn)
    assert ((seen[is_possible] - wanted).square() / wanted).sum() < 13.8, "2 degrees: p = 0.001"
    assert num_accepted > 5


# --- where guesses come from, and when they are made ----------------------------------------------


def test_a_place_is_found_by_the_longest_match_and_told_what_follows() -> None:
    line = [1, 2, 3, 4, 50, 9, 2, 3, 4, 60, 8, 1, 2]
    ngrams = Ngrams()
    ngrams.follow(line[:5])
    ngrams.follow(line)
    assert ngrams.find(line, [3, 4]) == (4, 4, False)  # not the later one, where three match
    assert ngrams.find(line, [7]) == (0, 0, False)
    source = NgramSource(line, ngrams, new_records(), Hopes())
    assert len(source.hopes([3, 4])) == MAX_GUESSES
    assert source.guess(4) == [50, 9, 2, 3]


def test_after_a_change_copying_goes_on_behind_the_place_where_it_stopped() -> None:
    file, change = [*range(30), 7, 8, 9, 60, *range(31, 50), 7, 8, 9, 61], [97, 96, 8]
    line = [*file, 95, *range(10)]
    source = NgramSource(line, Ngrams(), new_records(), Hopes())
    source.hopes([10])
    source.guess(16)
    source.learn([*range(11, 27), 98])  # all of it is right, and then comes a change
    line += [*range(10, 27), 98, *change, 7, 8]
    assert source.ngrams.find(line, [9]) == (33, 3, True)
    source.hopes([9])
    assert source.guess(3) == [60, 31, 32]
    source.learn([60, 31])
    assert [one[1].chance > 0.75 for one in source.records] == [False, True]
    source.ngrams.copied = 0
    assert source.ngrams.find(line, [9]) == (68, 3, False), "the latest of those as good"


def test_a_line_that_repeats_itself_goes_on_to() -> None:
    line = [5, 6, 7] * 3
    source = NgramSource(line, Ngrams(), new_records(), Hopes())
    source.hopes([5])
    assert source.guess(7) == [6, 7, 5, 6, 7, 5, 6]
    assert source.hopes([96]) == []


def test_what_goes_wrong_in_silence_lowers_hopes_and_what_goes_well_raises_them() -> None:
    line = [*range(40), 96, 5, 6]
    source = NgramSource(line, Ngrams(), new_records(), Hopes())
    before = source.hopes([7])
    for _ in range(60):
        source.hopes([7])
        source.learn([95])
    assert source.hopes([7])[30] < 0.1 * before[30]
    for _ in range(200):
        source.hopes([7])
        source.learn([8])
    assert source.hopes([7])[0] > before[0]


def test_a_longer_match_is_believed_more() -> None:
    line = [*range(40), 96, *range(10, 18)]
    sources = [NgramSource(line[:end], Ngrams(), new_records(), Hopes()) for end in (43, 49)]
    short, long = (source.hopes([source.line[-1] + 1]) for source in sources)
    assert all(one < other for one, other in zip(short, long, strict=True))


def test_neither_the_end_of_a_reply_nor_a_picture_is_guessed() -> None:
    for last in (7, FIRST_ID + 3):
        drafts = Drafts([Knows([1, 2, 3, last, 4], 1000)], EvenCosts(), frozenset({7}))
        assert drafts.guess([1], 100) == [2, 3]


def test_guesses_are_made_as_long_as_they_pay() -> None:
    def num_guesses(second_token: float, chance: float) -> int:
        costs = Costs()
        for _ in range(5):
            for width in (1, 2, 4, 8, 16):
                costs.note(width, 1 + (width - 1) * second_token)
        source = Knows(range(20), 1000)
        source.hopes = lambda _unread: Hopes().of([chance] * 15)  # type: ignore[method-assign]
        return len(Drafts([source], costs, frozenset()).guess([0], 100))

    assert num_guesses(second_token=0.02, chance=0.95) == 15
    assert 1 <= num_guesses(second_token=0.2, chance=0.6) <= 3
    assert num_guesses(second_token=0.7, chance=0.5) == 0
    assert num_guesses(second_token=0.02, chance=0.01) == 0


def test_the_first_time_of_a_width_and_old_times_do_not_count() -> None:
    costs = Costs()
    assert costs.of(1) is None
    for seconds in (9.0, 1.0, 1.0, 1.0):
        costs.note(1, seconds)
    assert costs.of(1) == 1.0
    assert costs.of(3) == OPTIMISM**2
    for seconds in (9.0, 7.0):
        costs.note(2, seconds)
    assert costs.of(2) == 7.0
    for _ in range(FORGET_AFTER):
        costs.note(1, 1.0)
    assert costs.of(2) == OPTIMISM, "it is tried again now and then"


# --- the draft layer of nano ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def nano() -> tuple[Model, Mtp]:
    model = load(str(NANO_FOLDER), device="cpu").model
    mtp = read_mtp(NANO_FOLDER, model)
    assert mtp is not None
    return model, mtp


def test_the_draft_layer_makes_of_a_line_what_its_training_made_of_it(
    nano: tuple[Model, Mtp],
) -> None:
    model, mtp = nano
    tokens = [(7 * i * i + 3 * i) % 2048 for i in range(30)]
    model.forward(tokens, state := model.new_state())
    hidden = state.hidden
    assert hidden is not None
    assert mtp.best(hidden[-1]) == int(model.module.lm_head(hidden[-1]).argmax())
    trained = MultiTokenPredictor(model.config)
    weights = load_file(NANO_FOLDER / "model.safetensors")
    trained.load_state_dict(
        {n.removeprefix("mtp."): w.float() for n, w in weights.items() if n.startswith("mtp.")}
    )
    embedded = model.module.get_input_embeddings()(torch.tensor([tokens]))
    with torch.inference_mode():
        expected = trained(hidden[None, :-1], embedded[:, 1:])[0]
        memory = mtp.new_memory()
        first = mtp.step(hidden[:20], tokens[1:21], 1, memory)
        rest = mtp.step(hidden[20:29], tokens[21:], 21, memory)
    torch.testing.assert_close(torch.cat([first, rest]), expected, rtol=1e-3, atol=1e-3)


def test_the_draft_layer_guesses_and_nano_writes_the_same(nano: tuple[Model, Mtp]) -> None:
    model, mtp = nano
    prompt = [(7 * i * i + 3 * i) % 2048 for i in range(30)]

    class Chained(Speculation):
        def drafts(self, branch: Branch, stop_ids: frozenset[int]) -> Drafts:
            return Drafts([MtpSource(mtp, branch.state)], EvenCosts(), stop_ids)

    plain = written(engine_of(model), prompt, 24)
    end = written(engine_of(model, Chained()), prompt, 24)
    assert end.token_ids == plain.token_ids
    assert end.usage.num_drafted > 24


@pytest.mark.parametrize(("family", "weights"), [("qwen3_5", "16bit"), ("qwen3_5_moe", "int8")])
def test_a_draft_layer_is_read_as_its_model_is(
    family: str, weights: str, make_module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    module = make_module(family)
    layer = DraftLayer(module.model)
    with torch.no_grad():
        for weight in layer.parameters():
            weight.normal_(std=0.25) if weight.dim() > 1 else weight.zero_()
    module.config.save_pretrained(tmp_path)
    draft = {f"mtp.{name}": weight for name, weight in layer.state_dict().items()}
    save_file({**module.state_dict(), **draft}, tmp_path / "model.safetensors")
    model = load(str(tmp_path), device="cpu", weights=weights).model
    read = read_mtp(tmp_path, model)
    assert read is not None
    hidden = torch.randn(6, model.config.hidden_size)
    states = []
    for mtp in (read, Mtp(Model(module), layer)):
        with torch.inference_mode():
            states.append(mtp.step(hidden, [3, 1, 4, 1, 5, 9], 1, mtp.new_memory()).flatten())
    if weights == "16bit":
        torch.testing.assert_close(*states, rtol=1e-4, atol=1e-4)
    assert torch.cosine_similarity(*states, dim=0) > 0.99
    assert all(stack.kernels is model.kernels for stack in stacks_of(read.layer).values())
    model.quantization = "gptq"
    assert read_mtp(tmp_path, model) is None
