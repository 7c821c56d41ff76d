"""How much a reply may think, and what becomes of one that only thinks."""

from pathlib import Path

import pytest

from agent.events import CallEnded, ReplyEnded, StopReason
from agent.settings import Budget, Config, Effort, ModelConfig
from tests.agent.fakes import BadToolCall, Say, call, edit
from tests.agent.stage import DONE, set_stage, show

LOW, HIGH = ModelConfig().thinking_tokens, ModelConfig().thinking_tokens_after_failure
TESTS = Say((call("run_tests"),))
THOUGHT = Say(thinking="I wonder.")


def budgets(tmp_path: Path, *script: Say, **given: object) -> list[int | None]:
    stage = set_stage(tmp_path, script, **given)
    stage.play()
    return [options.thinking_budget for options in stage.model.options]


def test_steps_that_go_well_get_little_thought(tmp_path: Path) -> None:
    assert budgets(tmp_path, show("a"), show("b"), DONE) == [LOW] * 3


@pytest.mark.parametrize(
    "failing",
    [
        show("no such file", ok=False),
        TESTS,
        edit("a.py", "nowhere", "here"),
        Say((BadToolCall("<f", "Write it again."),)),
        Say((call("nothing"),)),
    ],
)
def test_a_step_that_fails_gets_more_thought_after_it(tmp_path: Path, failing: Say) -> None:
    wanted = [LOW, HIGH, LOW]
    if failing is not TESTS:
        failing = Say((*failing.calls, call("probe", text="fine")))
    assert budgets(tmp_path, failing, show("well"), DONE, context_tokens=1 << 17) == wanted


def test_a_refused_call_gets_more_thought_after_it(tmp_path: Path) -> None:
    given = budgets(tmp_path, *[show("the same")] * 4, DONE)
    assert given == [LOW] * 4 + [HIGH]


def test_the_person_says_how_much_is_thought(tmp_path: Path) -> None:
    def options(effort: Effort) -> list[tuple[bool, int | None]]:
        config = Config(model=ModelConfig(thinking=effort))
        stage = set_stage(tmp_path / effort, [show("a"), DONE], config, context_tokens=1 << 17)
        stage.play()
        return [(one.thinking, one.thinking_budget) for one in stage.model.options]

    assert options("high") == [(True, HIGH)] * 2
    assert options("off") == [(False, None)] * 2
    with pytest.raises(ValueError, match="thinking is off, normal or high"):
        ModelConfig(thinking="deep")  # type: ignore[arg-type]


def test_green_tests_need_no_more_thought(tmp_path: Path) -> None:
    repair = edit("a.py", "one = 1", "one = 2")
    assert budgets(tmp_path, TESTS, repair, TESTS, DONE) == [LOW, HIGH, LOW, LOW]


def test_a_text_that_speaks_of_failed_tests_is_no_failure(tmp_path: Path) -> None:
    assert budgets(tmp_path, show("1 failed, says the manual"), DONE) == [LOW, LOW]


def test_a_small_window_is_not_filled_by_a_thought(tmp_path: Path) -> None:
    assert budgets(tmp_path, TESTS, DONE, context_tokens=8192) == [1024, 1024]


def test_a_thought_has_room_beside_the_answer(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [DONE])
    stage.play()
    assert stage.model.options[0].max_new_tokens == ModelConfig().max_new_tokens + LOW


def test_a_model_that_does_not_think_has_no_budget_and_no_retry(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [Say(), DONE], thinking=False)
    stage.play()
    assert [options.thinking_budget for options in stage.model.options] == [None, None]
    assert stage.notices == ["The model called no tool; it is asked to go on."]


@pytest.mark.parametrize("empty", [THOUGHT, Say(), Say(text=" \n")])
def test_an_empty_reply_is_asked_for_once_more_without_thinking(tmp_path: Path, empty: Say) -> None:
    stage = set_stage(tmp_path, [empty, DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert [options.thinking for options in stage.model.options] == [True, False]
    assert [m.role for m in stage.session.messages] == ["system", "user", "assistant", "tool"]
    assert stage.model.usages[1].num_prefilled == 0
    assert len(stage.session.usages) == len(stage.all(ReplyEnded)) == 2
    assert stage.notices == [
        "The reply was a thought alone; it is asked for again, without thinking."
    ]


def test_the_next_step_thinks_again(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [THOUGHT, show("a"), DONE])
    stage.play()
    assert [options.thinking for options in stage.model.options] == [True, False, True]


def test_replies_that_stay_empty_are_no_success(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [THOUGHT])
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (StopReason.REFUSAL, "the model's replies are empty")
    assert not stage.all(CallEnded)


def test_a_thought_that_was_cut_off_is_asked_for_again(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [Say(thinking="On and", stop="max_tokens"), DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert stage.model.options[1].thinking is False


def test_a_budget_of_tokens_bounds_the_thought_too(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [DONE], Config(budget=Budget(max_tokens=100)))
    stage.play()
    assert stage.model.options[0].max_new_tokens == 100


def test_dropped_replies_count_against_the_budget(tmp_path: Path) -> None:
    config = Config(budget=Budget(max_tokens=29))  # 21 read, and 4 written twice
    stage = set_stage(tmp_path, [THOUGHT, show("a"), DONE], config)
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (StopReason.MAX_TOKENS, "29 tokens are spent")
    assert stage.texts == ["a"]
