"""A conversation that fills the window is put in short form, and the work goes on."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from agent.budget import tokens_spent
from agent.events import Compacted, Steered, StopReason
from agent.frontends.console import lines_of
from agent.journal import read
from agent.session import JOURNAL, Session
from agent.settings import Budget, Config, ContextConfig
from agent.stale import MARK, dropped, one_line
from agent.wording import prompt
from inference.errors import Cancelled, ContextOverflow, EngineGone
from inference.messages import Message, ToolCall, Usage
from tests.agent.fakes import Say, bash, call, edit
from tests.agent.stage import DONE, Stage, set_stage, show, view

WINDOW = 4_000
NOTES = Say(text="The sum is wrong: a.py:1. Still to do: mend it.")
TESTS = Say((call("run_tests"),))
REPAIR = edit("a.py", "one = 1", "one = 2")
BIG = {"big.py": "".join(f"name_{n} = {n}\n" for n in range(150))}
"""Some 900 tokens to look at."""


def long_texts(count: int, size: int = 2_400) -> list[Say]:
    """Replies whose results are about 600 tokens each, none like another."""
    return [show(f"fact {n} in f{n}.py:{n + 1}\n" + f"{n} " * (size // 2)) for n in range(count)]


def play(tmp_path: Path, *script: Say, **given: object) -> tuple[Stage, list[Compacted]]:
    config = given.pop("config", Config())
    stage = set_stage(
        tmp_path, script, config, **{"context_tokens": WINDOW, "summary": NOTES, **given}
    )
    assert stage.play().reason is StopReason.END_TURN
    return stage, stage.all(Compacted)


def longest(stage: Stage) -> int:
    return max(usage.num_prompt + usage.num_generated for usage in stage.model.usages)


def after(stage: Stage) -> Usage:
    """What the first reply in the short form cost."""
    usages = stage.model.usages
    return next(new for old, new in pairwise(usages) if new.num_prompt < old.num_prompt)


# --- when


def test_a_short_conversation_stays_as_it_is(tmp_path: Path) -> None:
    stage, compacted = play(tmp_path, *long_texts(4), DONE)
    assert not compacted
    for shorter, longer in pairwise(stage.model.seen):
        assert longer[: len(shorter)] == shorter


def test_a_long_one_never_fills_the_window(tmp_path: Path) -> None:
    stage, compacted = play(tmp_path, *long_texts(20), DONE)
    assert compacted
    assert longest(stage) < 0.95 * WINDOW
    for event in compacted:
        assert event.num_before >= 0.75 * WINDOW
        assert event.num_after <= 0.55 * WINDOW


def test_it_comes_between_steps_never_between_a_call_and_its_result(tmp_path: Path) -> None:
    texts = long_texts(12)
    pairs = [
        Say((*one.calls, *other.calls)) for one, other in zip(texts[::2], texts[1::2], strict=True)
    ]
    stage, compacted = play(tmp_path, *pairs, DONE)
    assert compacted
    for conversation in stage.model.seen:
        waiting = 0
        for message in conversation:
            assert (message.role == "tool") == (waiting > 0)
            waiting = len(message.tool_calls) if message.tool_calls else waiting - (waiting > 0)
        assert waiting == 0


def test_the_estimate_is_what_the_model_then_reads(tmp_path: Path) -> None:
    stage, (first, *_) = play(tmp_path, *long_texts(8), DONE)
    assert (
        abs(first.num_after - after(stage).num_prompt) <= 8
    )  # of one message, what stands around its text


def test_compaction_can_be_turned_off(tmp_path: Path) -> None:
    config = Config(context=ContextConfig(compact_at=1.0))
    stage = set_stage(tmp_path, [*long_texts(9), DONE], config, context_tokens=WINDOW)
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (StopReason.MAX_TOKENS, "The window is full.")
    assert not stage.all(Compacted)


@pytest.mark.parametrize(
    "values",
    [
        {"compact_at": 1.1},
        {"compact_to": 0.8},
        {"tail_share": 0.6, "compact_to": 0.6},
        {"tail_share": 0.4, "compact_to": 0.3},
    ],
)
def test_shares_that_cannot_be_meant_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="tail_share"):
        ContextConfig(**values)


# --- without a model


def test_old_results_are_dropped_first_and_no_model_is_asked(tmp_path: Path) -> None:
    stage, (event, *_) = play(tmp_path, *long_texts(6), DONE)
    assert event.how == "dropped"
    assert not stage.model.asked_for_notes
    results = [m.content for m in stage.session.messages if m.role == "tool"]
    assert results[0].startswith(f"{MARK}probe fact 0 in f0.py:1 0 0")
    assert results[0].endswith("...] fact 0 in f0.py:1 See f0.py:1.")
    assert len(results[0]) < 200
    assert results[-2].startswith("fact 5")
    assert results[-1] == "Finished."


def test_calls_keep_their_tokens_and_only_what_changed_is_read_again(tmp_path: Path) -> None:
    stage, _ = play(tmp_path, *long_texts(6), DONE)
    assert all(m.token_ids for m in stage.session.messages if m.role == "assistant")
    usage = after(stage)
    # The system message, the prompt and the first reply come before the first dropped result.
    assert usage.num_reused == (8 + 3) + (8 + 2) + (8 + 4)


def test_a_view_is_told_from_one_that_was_edited_or_repeated_since(tmp_path: Path) -> None:
    edited = edit("big.py", "name_1 = 1\n", "name_1 = 9\n")
    script = [view("big.py"), edited, view("big.py", 1, 90), view("big.py", 1, 140), *long_texts(3)]
    stage, (event, *_) = play(tmp_path, *script, DONE, files=BIG)
    assert event.how == "dropped"
    told = [m.content for m in stage.session.messages if m.role == "tool"]
    assert told[0] == f"{MARK}str_replace_editor view big.py; edited since]"
    assert told[2] == f"{MARK}str_replace_editor view big.py [1, 90]; viewed again since]"
    assert b"name_1 = 9\n" in stage.files["big.py"]  # type: ignore[operator]


def test_tests_that_ran_again_leave_what_failed_and_where(tmp_path: Path) -> None:
    script = [TESTS, *long_texts(3), REPAIR, TESTS, *long_texts(5)[3:]]
    stage, _ = play(tmp_path, *script, DONE)
    told = next(m.content for m in stage.session.messages if m.role == "tool")
    assert told == (
        f"{MARK}run_tests; ran again since] 1 failed, 3 passed. "
        "See tests/test_a.py::test_one, a.py:1."
    )


def test_a_short_result_is_left_alone() -> None:
    view_call = ToolCall("str_replace_editor", {"command": "view", "path": "a.py"})
    messages = [
        Message("system", "s"),
        Message("user", "u"),
        Message("assistant", "", tool_calls=(view_call, view_call), token_ids=(1,)),
        Message("tool", "short"),
        Message("tool", "long " * 100),
        Message("assistant", "done"),
    ]
    assert dropped(messages, 3) == messages
    changed = dropped(messages, 5)
    assert [new == old for new, old in zip(changed, messages, strict=True)] == [True] * 4 + [
        False,
        True,
    ]
    assert dropped(changed, 5) == changed


def test_a_line_has_few_places_and_each_once() -> None:
    text = "E   error\n" + "".join(f"src/x.py:{n % 9}: bad\n" for n in range(50))
    line = one_line(ToolCall("bash", {"command": "make"}), text)
    assert line.count("src/x.py:") == 6
    assert line.startswith(f"{MARK}bash make] E   error See src/x.py:0,")


# --- notes of the model


def talk(count: int) -> list[Say]:
    """Replies of 500 tokens whose results are short: there is nothing to drop."""
    return [Say((call("probe", text=f"ok {n}"),), text=prose(n)) for n in range(count)]


def prose(number: int) -> str:
    """2,000 characters that do not repeat."""
    return " ".join(str(number * 1_000 + n) for n in range(600))[:2_000]


def test_where_dropping_is_not_enough_the_model_takes_notes(tmp_path: Path) -> None:
    stage, (event, *_) = play(tmp_path, *talk(6), DONE)
    assert event.how == "summarised"
    system, task, note, *tail = next(
        seen for seen in stage.model.seen if any(NOTES.text in m.content for m in seen)
    )
    assert (system.content, task.content) == ("You repair.", "Mend it.")
    assert note.role == "user"
    assert note.content == prompt("notes", notes=NOTES.text)
    assert [m.role for m in tail] == ["assistant", "tool"]
    assert stage.notices == []


def test_notes_are_asked_for_on_a_fork_that_reads_the_question_alone(tmp_path: Path) -> None:
    stage, _ = play(tmp_path, *talk(6), DONE)
    (asked, *_) = stage.model.asked_for_notes
    seen = max((one for one in stage.model.seen if one == asked[: len(one)]), key=len)
    assert len(asked) - len(seen) <= 3  # the reply, its result and the question
    usage = next(one for one in stage.model.usages if one.num_generated == 4 + len(NOTES.text) // 4)
    assert usage.num_prefilled <= 8 + len(prompt("compact")) // 4 + 20
    assert usage in stage.session.usages  # it is paid for
    assert not any(prompt("compact") == m.content for m in stage.session.messages)


def test_after_notes_the_prompt_is_reused_and_the_rest_read_once(tmp_path: Path) -> None:
    stage, _ = play(tmp_path, *talk(6), DONE)
    usage = after(stage)
    assert usage.num_reused == (8 + 3) + (8 + 2)


def test_files_edited_and_open_items_are_kept_whatever_the_model_notes(tmp_path: Path) -> None:
    items = "- [ ] mend the other sum"
    stage, _ = play(tmp_path, REPAIR, *talk(6), DONE, open_items=lambda: items)
    (note,) = [m.content for m in stage.session.messages if NOTES.text in m.content]
    assert note.endswith(f"Files edited, or tried to: a.py.\n\nStill to do:\n{items}")
    assert stage.files["a.py"] == b"one = 2\ntwo = 2\n"


@pytest.mark.parametrize(
    "summary",
    [Say(), Say(error=ContextOverflow("Full.")), Say(error=EngineGone("Gone."))],
)
def test_without_notes_the_calls_are_listed(tmp_path: Path, summary: Say) -> None:
    stage, compacted = play(tmp_path, *talk(6), DONE, summary=summary)
    assert {event.how for event in compacted} == {"listed"}
    (note,) = [m.content for m in stage.session.messages if m.content.startswith("[The conv")]
    assert f"- {MARK}probe ok 0] ok 0" in note
    assert longest(stage) < WINDOW


def test_notes_on_notes_carry_the_first_ones_on(tmp_path: Path) -> None:
    stage, compacted = play(tmp_path, *talk(20), DONE, summary=Say())
    assert len(compacted) > 1
    (note,) = [m.content for m in stage.session.messages if m.content.startswith("[The conv")]
    assert f"{MARK}probe ok 0]" in note


def test_a_call_that_answers_the_question_for_notes_is_not_run(tmp_path: Path) -> None:
    summary = Say((call("bash", command="touch ran"),), text="Noted.")
    stage, (event, *_) = play(tmp_path, *talk(6), DONE, summary=summary)
    assert event.how == "summarised"
    assert "ran" not in stage.files


def test_the_tail_is_a_share_of_the_window_even_of_one_large_step(tmp_path: Path) -> None:
    large = show("big " * 2_800)
    stage, (event, *_) = play(tmp_path, *talk(1), large, DONE)
    told = [m.content for m in stage.session.messages if m.role == "tool"]
    assert "characters cut" in told[-2]
    assert event.num_after <= 0.5 * WINDOW


def test_one_result_too_large_is_cut_where_there_is_nothing_else(tmp_path: Path) -> None:
    stage, (event,) = play(tmp_path, show("big " * 3_000), DONE)
    assert event.how == "dropped"
    assert not stage.model.asked_for_notes
    assert event.num_after <= 0.3 * WINDOW


def test_a_step_too_large_to_shorten_goes_once_it_is_no_longer_the_last(tmp_path: Path) -> None:
    large = Say((call("probe", text="ok"),), text=prose(1) + prose(2) + prose(3) + prose(4))
    task = "Mend it. " * 600  # 1,350 tokens that stay
    stage = set_stage(tmp_path, [large, show("more"), DONE], context_tokens=WINDOW, summary=NOTES)
    assert stage.play(task).reason is StopReason.END_TURN
    assert len(stage.model.asked_for_notes) == len(stage.all(Compacted)) == 1
    assert [len(seen) for seen in stage.model.seen] == [2, 4, 5]
    assert longest(stage) < WINDOW


def test_every_prompt_of_the_person_stays(tmp_path: Path) -> None:
    stage, _ = play(tmp_path, *talk(2), DONE)
    stage.play("Now mend the other one, please.")
    stage.model.script = [*stage.model.script, *talk(8), DONE]
    stage.play("And the last.")
    assert stage.all(Compacted)
    asked = [m.content for m in stage.session.messages if m.role == "user"]
    assert [text for text in asked if not text.startswith("[The conv")] == [
        "Mend it.",
        "Now mend the other one, please.",
        "And the last.",
    ]


def test_nothing_is_written_where_it_would_win_nothing(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [Say(error=ContextOverflow("The window is full."))])
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (StopReason.MAX_TOKENS, "The window is full.")
    assert not stage.all(Compacted)


def test_a_full_window_is_put_in_short_form_and_asked_once_more(tmp_path: Path) -> None:
    # One result alone leads from below the limit to beyond the window.
    script = [*long_texts(3), show("x" * 9_000), DONE]
    stage, (event,) = play(tmp_path, *script)
    assert event.num_before > WINDOW
    assert longest(stage) < WINDOW


def test_an_overflow_that_stays_ends_the_turn(tmp_path: Path) -> None:
    full = Say(error=ContextOverflow("The window is full."))
    stage = set_stage(tmp_path, [*long_texts(4), full], context_tokens=WINDOW, summary=NOTES)
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (StopReason.MAX_TOKENS, "The window is full.")
    assert len(stage.all(Compacted)) == 1


def test_whoever_joined_is_told_and_the_guard_begins_anew(tmp_path: Path) -> None:
    told: list[str] = []
    script = [show("the same"), show("the same"), *long_texts(6), show("the same"), DONE]
    stage, compacted = play(tmp_path, *script, on_compacted=(lambda: told.append("x"),))
    assert len(told) == len(compacted) > 0
    assert not any("[This is time" in text for text in stage.texts)


def test_steps_and_calls_before_it_count_against_the_budget(tmp_path: Path) -> None:
    config = Config(budget=Budget(max_steps=9))
    stage = set_stage(tmp_path, talk(30), config, context_tokens=WINDOW, summary=NOTES)
    ended = stage.play()
    assert stage.all(Compacted)
    assert ended.sentence == "9 replies are spent"
    assert stage.session.num_steps == stage.session.num_calls == 9


def test_a_stop_while_notes_are_written_leaves_the_conversation(tmp_path: Path) -> None:
    stage = set_stage(
        tmp_path, talk(30), context_tokens=WINDOW, summary=Say(error=Cancelled("stopped"))
    )
    ended = stage.play(cancel=lambda: bool(stage.model.asked_for_notes))
    assert ended.reason is StopReason.CANCELLED
    assert not stage.all(Compacted)
    assert len(stage.session.messages) == 2 + 2 * stage.session.num_steps


# --- on disk


def test_a_session_that_was_put_in_short_form_is_opened_as_it_was(tmp_path: Path) -> None:
    stage, _ = play(tmp_path, *talk(6), *long_texts(5), DONE)
    messages, steps = list(stage.session.messages), stage.session.num_steps
    spent = tokens_spent(stage.session)
    stage.session.close()
    again = Session.open(stage.session.folder)
    assert again.messages == messages
    assert (again.num_steps, tokens_spent(again)) == (steps, spent)
    assert again.is_finished
    again.close()


def test_the_journal_keeps_what_was_taken_away_and_writes_nothing_twice(tmp_path: Path) -> None:
    stage, compacted = play(tmp_path, *long_texts(6), DONE)
    records = read(stage.session.folder / JOURNAL)
    (record,) = [one for one in records if one["type"] == "compacted"]
    assert record["num_tokens"] == compacted[0].num_after
    assert sum(isinstance(entry, int) for entry in record["messages"]) > 5
    whole = [
        one["message"]["content"] for one in records if one.get("message", {}).get("role") == "tool"
    ]
    assert all(text.startswith("fact") for text in whole[:6])


def test_a_turn_killed_after_it_goes_on_in_the_short_form(tmp_path: Path) -> None:
    script = [*talk(6), Say(error=KeyboardInterrupt())]
    stage = set_stage(tmp_path, script, context_tokens=WINDOW, summary=NOTES)
    with pytest.raises(KeyboardInterrupt):
        stage.play()
    before = list(stage.session.messages)
    assert any(NOTES.text in m.content for m in before)
    model = type(stage.model)([REPAIR, DONE], context_tokens=WINDOW)
    assert stage.resume(chat=model).reason is StopReason.END_TURN
    assert model.seen[0] == tuple(before)
    assert stage.files["a.py"].startswith(b"one = 2")  # type: ignore[arg-type]


def test_a_call_without_a_result_is_run_on_resume_after_it(tmp_path: Path) -> None:
    stage, _ = play(tmp_path, *talk(6), Say((call("finish", summary="Done."),)))
    stage.session.add(Message("user", "More."))
    stage.session.add(Message("assistant", "", tool_calls=REPAIR.calls, token_ids=(9,)))
    model = type(stage.model)([DONE], context_tokens=WINDOW)
    stage.resume(chat=model)
    assert "Edited a.py" in stage.texts[0]


def test_what_the_person_said_during_the_work_outlives_it(tmp_path: Path) -> None:
    said = iter(["Leave b.py alone."])
    steering: Callable[[], str | None] = lambda: next(said, None)  # noqa: E731
    stage, compacted = play(tmp_path, *long_texts(6), *talk(9), DONE, steering=steering)
    assert {event.how for event in compacted} == {"dropped", "summarised"}
    text = "".join(m.content for m in stage.session.messages)
    assert text.count("[The user says: Leave b.py alone.]") == 1


def test_a_shell_command_that_ran_again_is_told(tmp_path: Path) -> None:
    listing = bash("seq 1 400")
    stage, _ = play(tmp_path, listing, *long_texts(3), REPAIR, listing, *long_texts(5)[3:], DONE)
    told = next(m.content for m in stage.session.messages if m.role == "tool")
    assert told == f"{MARK}bash seq 1 400; ran again since] 1"


def test_a_person_is_told_of_it() -> None:
    lines = list(lines_of(Compacted(120_000, 40_000, "dropped")))
    assert lines == [
        ("dim", "The conversation was put in short form: 120,000 -> 40,000 tokens (dropped).")
    ]
    assert list(lines_of(Steered("\x1b[31mLeave it."))) == [("cyan", "  You: Leave it.")]
