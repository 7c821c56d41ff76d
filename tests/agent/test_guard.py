"""Turns that go in circles, played to their end: noted, then refused, then stopped."""

from dataclasses import replace
from pathlib import Path

import pytest

from agent.events import CallEnded, ReplyEnded, StopReason
from agent.guard import REFUSAL, Guard, _num_rounds, _settled
from agent.settings import Config, GuardConfig
from agent.text_loop import ends_in_loop
from agent.thinking import WARM
from tests.agent.fakes import BadToolCall, Say, bash, call, edit
from tests.agent.stage import DONE, FILES, set_stage, show, view

ONE = edit("a.py", "one = 1", "one = 2")
BACK = edit("a.py", "one = 2", "one = 1")
TESTS = Say((call("run_tests"),))


def test_a_call_that_succeeds_again_and_again_is_noted_refused_and_ends_the_turn(
    tmp_path: Path,
) -> None:
    stage = set_stage(tmp_path, [show("the same")])
    ended = stage.play()
    assert ended.reason is StopReason.REFUSAL
    assert ended.sentence == "the model repeats the same calls without effect"
    first, second, third, fourth, fifth = stage.texts
    assert first == second == "the same"
    assert third.startswith("the same\n\n[This is time 3")
    assert fourth == fifth == REFUSAL
    assert stage.files == {name: text.encode() for name, text in FILES.items()}


def test_what_a_refused_call_leads_to_is_drawn_warmer_once(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [*[show("the same")] * 4, show("other"), DONE])
    assert stage.play().reason is StopReason.END_TURN
    drawn = [options.sampling for options in stage.model.options]
    assert drawn == [None] * 4 + [replace(WARM, seed=5), None]
    assert [event.ok for event in stage.all(CallEnded)] == [True] * 3 + [False] + [True] * 2


def test_a_refused_write_is_not_written(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [bash("cat a.py > copy.py; rm copy.py; echo x")])
    stage.play()
    assert "copy.py" not in stage.files
    assert stage.texts[-1] == REFUSAL


@pytest.mark.parametrize("period", [1, 2, 3])
def test_a_circle_of_calls_on_changing_files_ends_the_turn(tmp_path: Path, period: int) -> None:
    circle = [bash(f"echo {n} >> log{n}; echo done") for n in range(period)]
    stage = set_stage(tmp_path, circle * 9)
    ended = stage.play()
    assert ended.reason is StopReason.REFUSAL
    noted = [n for n, text in enumerate(stage.texts) if "[This is round" in text]
    assert noted[0] == 4 * period - 1
    assert stage.texts[5 * period - 1] == REFUSAL
    assert len(stage.texts) == 6 * period
    lines = b"".join(stage.files[f"log{n}"] for n in range(period))  # type: ignore[misc]
    assert lines.count(b"\n") == 5 * period - 1


def test_two_edits_that_undo_each_other_end_the_turn(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [ONE, BACK] * 9)
    assert stage.play().reason is StopReason.REFUSAL
    assert len(stage.texts) <= 10
    assert stage.texts[-1] == REFUSAL


def test_tests_between_different_edits_are_no_circle(tmp_path: Path) -> None:
    edits = [edit("b.py", f"three = {n}", f"three = {n + 1}") for n in range(3, 12)]
    stage = set_stage(tmp_path, [say for one in edits for say in (one, TESTS)] + [DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert not [text for text in stage.texts if "[This is" in text or text == REFUSAL]
    assert stage.files["b.py"] == b"three = 12\n"


def test_a_duration_makes_no_result_new(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [bash("echo passed in $(date +%s.%N | tail -c 6).5s")])
    assert stage.play().reason is StopReason.REFUSAL
    assert _settled("4 passed in 0.12s at 10:11:12") == "4 passed in  at "


def test_a_result_that_changes_is_no_repetition(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [*[bash("wc -l < log; echo >> log")] * 6, DONE], files={"log": ""})
    assert stage.play().reason is StopReason.END_TURN
    assert stage.files["log"] == b"\n" * 6


def test_rounds_are_counted_for_every_period() -> None:
    assert _num_rounds(list("a")) == 1
    assert _num_rounds(list("xaaa")) == 3
    assert _num_rounds(list("xababab")) == 3
    assert _num_rounds(list("abcabcab")) == 2
    assert _num_rounds(list("abcd")) == 1


def test_reading_the_same_files_in_turn_is_a_stall(tmp_path: Path) -> None:
    files = {f"f{n}.py": f"name = {n}\n" * 3 for n in range(12)}
    stage = set_stage(tmp_path, [*[view(f"f{n}.py") for n in range(12)] * 3], files=files)
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (
        StopReason.REFUSAL,
        "the model reads the same again and again",
    )
    assert not any("nothing new" in text for text in stage.texts[:19])
    assert "The last 8 calls showed nothing new" in stage.texts[19]
    assert REFUSAL in stage.texts[24:]
    assert len(stage.texts) == 12 + 17


def test_a_look_at_the_same_files_shows_nothing_new_however_it_is_worded() -> None:
    guard = Guard(GuardConfig())
    looks = [call("str_replace_editor", command="view", path=f"f{n}.py") for n in range(8)]
    for n, look in enumerate(looks):
        assert not guard.after(look, "files", "files", f"text {n}")
    notes = [guard.after(look, "files", "files", f"unchanged: {n}") for n, look in enumerate(looks)]
    assert [bool(note) for note in notes] == [False] * 7 + [True]


def test_a_view_that_moves_on_by_a_line_shows_nothing_new(tmp_path: Path) -> None:
    files = {"long.py": "".join(f"line_{n} = {n}\n" for n in range(200))}
    views = [view("long.py", 1 + n, 100 + n) for n in range(9)]
    stage = set_stage(tmp_path, [*views, DONE], files=files)
    assert stage.play().reason is StopReason.END_TURN
    assert "showed nothing new" in stage.texts[8]


def test_work_ends_a_stall(tmp_path: Path) -> None:
    looks = [view("a.py"), view("b.py")]
    edits = [edit("pkg/c.py", f"four = {n}", f"four = {n + 1}") for n in range(4, 12)]
    script = [say for one in edits for say in (*looks, one)]
    stage = set_stage(tmp_path, [*script, DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert not any("nothing new" in text for text in stage.texts)
    assert stage.files["pkg/c.py"] == b"four = 12\n"


def test_reading_on_and_on_is_noted_and_never_refused(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [*[show(f"fact {n}") for n in range(45)], DONE])
    assert stage.play().reason is StopReason.END_TURN
    noted = [n + 1 for n, text in enumerate(stage.texts) if "changed nothing" in text]
    assert noted == [25, 35, 45]
    assert all(event.ok for event in stage.all(CallEnded))


def test_the_settings_move_the_limits(tmp_path: Path) -> None:
    guard = GuardConfig(note_at=2, refuse_at=2, stop_at=3)
    stage = set_stage(tmp_path, [show("the same")], Config(guard=guard))
    stage.play()
    assert stage.texts[1:] == [REFUSAL, REFUSAL]


def test_unreadable_calls_end_the_turn_and_change_nothing(tmp_path: Path) -> None:
    bad = Say((BadToolCall("<function=", "Write it again."),))
    stage = set_stage(tmp_path, [bad])
    ended = stage.play()
    assert (ended.reason, ended.sentence) == (StopReason.REFUSAL, "3 unreadable calls in a row")
    assert stage.files == {name: text.encode() for name, text in FILES.items()}


# --- a reply that repeats itself

PASSAGE = "Wait, let me check the sum once more before I go on with it. "


@pytest.mark.parametrize("kind", ["text", "thinking"])
def test_a_reply_that_repeats_itself_is_stopped_and_asked_for_again(
    tmp_path: Path, kind: str
) -> None:
    stage = set_stage(tmp_path, [Say(**{kind: PASSAGE * 200}), DONE])
    assert stage.play().reason is StopReason.END_TURN
    assert stage.notices == ["The reply repeated itself and was stopped; another one is asked for."]
    stopped, again = stage.model.usages
    assert stopped.num_generated < 30  # of the 244 pieces it would have written
    assert again.num_prefilled == 0  # the same prefix
    assert [usage.num_generated for usage in stage.session.usages] == [stopped.num_generated, 4]
    assert stage.model.options[1].sampling is not None
    assert not any(PASSAGE in m.content + m.thinking for m in stage.session.messages)


def test_a_second_reply_that_repeats_itself_ends_the_turn(tmp_path: Path) -> None:
    stage = set_stage(tmp_path, [Say(text=PASSAGE * 200)])
    ended = stage.play()
    assert ended.reason is StopReason.REFUSAL
    assert ended.sentence == "the model repeats itself in its replies"
    assert len(stage.all(ReplyEnded)) == 2


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        (PASSAGE * 10, True),
        ("Some reasons first. " * 3 + PASSAGE * 10, True),
        (PASSAGE * 9, False),
        ("no " * 200, True),
        ("-" * 599, False),
        ("\n".join(f"{n}. a step of a long list of steps" for n in range(99)), False),
        ("| a | b |\n" * 40, False),
        ("", False),
    ],
)
def test_a_loop_is_many_copies_of_a_passage_that_fill_some_space(text: str, loops: bool) -> None:
    assert ends_in_loop(text, 10) is loops
