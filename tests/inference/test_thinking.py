"""A thought ends within its budget, and what follows is what the model says to those very tokens.

Random models think nothing; any two ids serve as the tags. The closing one is chosen where a test
needs it likely or unlikely.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest
import torch

from inference.door import ThinkingLimit
from inference.messages import SamplingOptions
from inference.model import Model
from inference.thinking import ThinkingGate, thinking_limit
from inference.tokenizer import Tokenizer
from tests.inference.test_engine import GREEDY, WARM, counts, engine_of, oracle, reply
from tests.inference.test_engine import PROMPT as LONG_PROMPT

PROMPT = LONG_PROMPT[:40]
OPEN = 95
BEFORE, AFTER = (90,), (91, 92)


def limit(close_id: int, budget: int, grace: int, is_open: bool = True) -> ThinkingLimit:
    return ThinkingLimit(budget, grace, OPEN, close_id, BEFORE, AFTER, is_open)


def ranks(model: Model, tokens: Sequence[int], num_new: int) -> list[list[int]]:
    """Return the most likely ids before each of the tokens that follow greedily."""
    written = oracle(model, tokens, num_new)
    with torch.no_grad():
        logits = model.oracle(torch.tensor([[*tokens, *written[:-1]]])).logits[0]
    return [row.argsort(descending=True).tolist() for row in logits[len(tokens) - 1 :]]


def unlikely(model: Model, tokens: Sequence[int], num_new: int) -> int:
    """Choose an id that is never among the first three."""
    likely = {i for row in ranks(model, tokens, num_new) for i in row[:3]}
    return next(i for i in range(60) if i not in likely)


def test_a_thought_is_closed_hard_when_its_grace_is_over(tiny_hybrid: Model) -> None:
    free = oracle(tiny_hybrid, PROMPT, 12)
    close_id = unlikely(tiny_hybrid, PROMPT, 12)
    end = reply(engine_of(tiny_hybrid), PROMPT, 20, thinking=limit(close_id, 8, 2))
    closed = (*free[:10], *BEFORE, close_id, *AFTER)
    assert end.token_ids[:14] == closed
    rest = oracle(tiny_hybrid, (*PROMPT, *closed), 1)
    assert end.token_ids[14] == rest[0]


def test_from_the_budget_on_a_thought_is_closed_when_the_model_thinks_of_it(
    tiny_hybrid: Model,
) -> None:
    rows = ranks(tiny_hybrid, PROMPT, 12)
    free = oracle(tiny_hybrid, PROMPT, 12)
    at, close_id = next(
        (n, row[2])
        for n, row in enumerate(rows)
        if n >= 2 and all(row[2] not in earlier[:3] for earlier in rows[1:n])
    )
    for budget in (1, at):
        end = reply(engine_of(tiny_hybrid), PROMPT, at + 4, thinking=limit(close_id, budget, 50))
        assert end.token_ids[: at + 3] == (*free[:at], close_id, *AFTER)
    free_end = reply(engine_of(tiny_hybrid), PROMPT, at + 1, thinking=limit(close_id, at + 1, 50))
    assert free_end.token_ids == free[: at + 1], "before its budget a thought is the model's own"


def test_a_budget_of_nothing_closes_at_once(tiny_hybrid: Model) -> None:
    close_id = unlikely(tiny_hybrid, PROMPT, 2)
    end = reply(engine_of(tiny_hybrid), PROMPT, 5, thinking=limit(close_id, 0, 0))
    assert end.token_ids[:4] == (*BEFORE, close_id, *AFTER)


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_a_budget_that_is_not_used_up_changes_nothing(
    tiny_hybrid: Model, sampling: SamplingOptions
) -> None:
    free = reply(engine_of(tiny_hybrid), PROMPT, 12, sampling)
    held = reply(engine_of(tiny_hybrid), PROMPT, 12, sampling, thinking=limit(3, 12, 3))
    assert held.token_ids == free.token_ids


def test_a_reply_that_does_not_think_is_left_alone(tiny_hybrid: Model) -> None:
    free = reply(engine_of(tiny_hybrid), PROMPT, 12)
    held = reply(engine_of(tiny_hybrid), PROMPT, 12, thinking=limit(3, 0, 0, is_open=False))
    assert held.token_ids == free.token_ids


def test_a_seed_decides_what_is_said_before_and_after(tiny_hybrid: Model) -> None:
    def said(seed: int) -> tuple[int, ...]:
        sampling = replace(WARM, seed=seed)
        return reply(
            engine_of(tiny_hybrid), PROMPT, 16, sampling, thinking=limit(3, 8, 2)
        ).token_ids

    assert said(5) == said(5) != said(6)
    assert said(5).count(3) == 1


@pytest.mark.parametrize("sampling", [GREEDY, WARM])
def test_reuse_and_forks_after_a_forced_close_are_exact(
    tiny_model: Model, sampling: SamplingOptions
) -> None:
    engine = engine_of(tiny_model)
    line = PROMPT
    num_read = 0
    for turn in range(3):
        end = reply(engine, line, 12, sampling, thinking=limit(3, 4, 1))
        assert 3 in end.token_ids
        assert counts(end.usage) == (len(line), num_read, len(line) - num_read)
        num_read = len(line) + 11
        line = (*line, *end.token_ids, *PROMPT[turn : turn + 9])
    branch = engine.branch(line, lambda: False)
    for part in (engine.fork(branch), branch):
        *_, end = engine.generate(part, (), GREEDY, max_new_tokens=8, cancel=lambda: False)
        assert end.token_ids == oracle(tiny_model, line, 8)


# --- the gate alone -----------------------------------------------------------------------------


def drawn(gate: ThinkingGate, logits: Sequence[float], num: int) -> list[int]:
    """Draw greedily, always from the same logits."""
    ids = []
    for _ in range(num):
        row = torch.tensor(logits, dtype=torch.float32)
        gate.mask(row)
        ids.append(int(row.argmax()))
        gate.advance(ids[-1])
    return ids


SMALL = ThinkingLimit(3, 2, open_id=0, close_id=1, before=(4,), after=(5,), is_open=True)


def test_a_thought_closed_by_force_is_neither_closed_nor_opened_again() -> None:
    # id 2 is likeliest until the close; then 1 and 0 would be.
    gate = ThinkingGate(SMALL)
    assert drawn(gate, [-9, -9, 3, 2, 1, 0], 5) == [2] * 5
    assert drawn(gate, [9, 8, 3, 2, 1, 0], 8) == [4, 1, 5, 2, 2, 2, 2, 2]


def test_a_thought_that_the_model_ends_itself_may_be_followed_by_another() -> None:
    gate = ThinkingGate(SMALL)
    assert drawn(gate, [0, 9, 1, 2, 3, 4], 1) == [1]
    assert drawn(gate, [9, 0, 1, 2, 3, 4], 1) == [0]
    assert drawn(gate, [0, 0, 9, 2, 3, 4], 5) == [2] * 5
    assert drawn(gate, [0, 0, 9, 2, 3, 4], 4) == [4, 1, 5, 2]


def test_a_thought_that_opens_late_has_the_same_budget() -> None:
    gate = ThinkingGate(replace(SMALL, is_open=False))
    assert drawn(gate, [0, 0, 9, 2, 3, 4], 9) == [2] * 9
    assert drawn(gate, [9, 0, 1, 2, 3, 4], 1) == [0]
    assert drawn(gate, [0, 0, 9, 2, 3, 4], 9) == [2] * 5 + [4, 1, 5, 2]


def test_a_close_that_another_rule_forbids_is_not_thought_of() -> None:
    gate, no = ThinkingGate(SMALL), float("-inf")
    assert drawn(gate, [no, no, 3, no, no, no], 5) == [2] * 5


# --- the limit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("budget", "grace"), [(0, 0), (100, 25), (4096, 1024), (32_768, 1024)])
def test_the_grace_is_a_quarter_of_the_budget_up_to_a_paragraph_or_two(
    budget: int, grace: int, tokenizer: Tokenizer
) -> None:
    found = thinking_limit(budget, tokenizer, ())
    assert found is not None
    assert (found.budget, found.grace) == (budget, grace)


def test_the_tags_come_from_the_vocabulary_and_the_blank_lines_from_the_template(
    tokenizer: Tokenizer, plain_tokenizer: Tokenizer
) -> None:
    open_id, close_id = tokenizer.control("<think>"), tokenizer.control("</think>")
    newline = tokenizer.encode("\n")
    found = thinking_limit(8, tokenizer, (open_id, *newline))
    assert found == ThinkingLimit(
        8, 2, open_id, close_id, newline, tokenizer.encode("\n\n"), is_open=True
    )
    plain = thinking_limit(8, tokenizer, (open_id, *newline, close_id, *newline))
    assert plain == replace(found, is_open=False)
    assert thinking_limit(8, plain_tokenizer, ()) is None
