"""Events become lines that stay; what tools and models print is shown and never obeyed."""

import re
from dataclasses import replace

from agent.approval import Ask
from agent.events import (
    AttemptStarted,
    CallEnded,
    CallStarted,
    CallWriting,
    Event,
    Judged,
    PrefillProgress,
    ReplyEnded,
    RunStarted,
    Steered,
    StepStarted,
    StopReason,
    TestsRan,
    TestsStarted,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.frontends.repl.activity import Activity
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.preview import MAX_PRINTED, preview, printed
from agent.frontends.repl.story import MAX_DIFF_LINES, Story
from agent.frontends.repl.text import harmless, one_line, sentence
from agent.frontends.repl.theme import THEMES, theme_for
from agent.wording import prompt
from inference.messages import Usage
from tests.agent.fakes import call

NASTY = "a\x1b[2J\x1b]0;title\x07b\r\nc\x9b31md\u202e\u200be\x00"
COLOUR = re.compile(r"\x1b\[[\d;]*m")
USAGE = Usage(100, 90, 10, 5, 0.1, 0.1)


def told(*events: Event, width: int = 80, theme: str = "dark") -> str:
    story = Story(Painter(THEMES[theme], width))  # type: ignore[index]
    return "".join(story.show(event, float(n)) for n, event in enumerate(events))


def plain(drawn: str) -> str:
    return COLOUR.sub("", drawn)


def test_no_escape_of_a_text_from_elsewhere_reaches_the_terminal() -> None:
    shown = told(
        TextDelta(NASTY),
        ReplyEnded(USAGE, NASTY),
        CallStarted(call("bash", command=NASTY)),
        CallEnded("bash", NASTY, NASTY, False, NASTY, 0.1),
        Steered(NASTY),
        TurnEnded(StopReason.END_TURN, NASTY),
    )
    assert "\x1b" not in plain(shown)
    assert all(letter.isprintable() or letter == "\n" for letter in plain(shown))


def test_a_call_is_one_line_that_grows_into_its_diff() -> None:
    started = CallStarted(call("str_replace_editor", command="str_replace", path="a.py"))
    diff = "--- a.py\n+++ a.py\n@@ -1 +1 @@\n-one\n+two\n"
    shown = told(started, CallEnded("str_replace_editor", "edited a.py", "", True, diff, 0.1))
    assert "● edit a.py" in plain(shown)
    assert "\x1b[32m+two" in shown
    assert "\x1b[31m-one" in shown


def test_what_a_summary_adds_to_its_call_stands_on_the_same_line() -> None:
    edit = CallStarted(call("str_replace_editor", command="str_replace", path="a.py"))
    ended = CallEnded("str_replace_editor", "edited a.py (+1 -1)", "", True, None, 0.1)
    assert plain(told(edit, ended)).strip() == "● edit a.py (+1 -1)"
    failed = CallEnded("str_replace_editor", "a.py: no such text", "", False, None, 0.1)
    assert plain(told(edit, failed)).strip() == "● edit a.py\n  └ a.py: no such text"
    bash = CallStarted(call("bash", command="ls (a)"))
    ran = CallEnded("bash", "ran ls (a) (exit 1); files changed", "", True, None, 0.1)
    assert plain(told(bash, ran)).strip() == "● bash ls (a)\n  └ exit 1; files changed"
    search = CallStarted(call("search", pattern="def", path="shop"))
    found = CallEnded("search", "searched for def (1 match)", "", True, None, 0.1)
    assert "└ searched for def (1 match)" in plain(told(search, found)), "shop is not in it"


def test_a_call_that_was_stopped_is_not_shown_as_running() -> None:
    story = Story(Painter(THEMES["mono"], 80))
    story.show(CallStarted(call("bash", command="make")), 0.0)
    assert "bash make" in story.writing(5)
    story.show(TurnEnded(StopReason.CANCELLED, "cancelled"), 1.0)
    assert story.writing(5) == ""


def test_a_long_diff_is_cut_and_counted() -> None:
    diff = "".join(f"+{n}\n" for n in range(1_000))
    shown = plain(told(CallEnded("bash", "done", "", True, diff, 0.1)))
    assert f"({1_000 - MAX_DIFF_LINES} more lines)" in shown


def test_thinking_is_folded_to_one_line_until_it_is_asked_for() -> None:
    story = Story(Painter(THEMES["dark"], 80))
    for n in range(5):
        assert story.show(ThinkingDelta("Hm. "), n / 10) == ""
    shown = plain(story.show(TextDelta("Yes."), 1.0))
    assert "thought for 1.0 s, 5 tokens" in shown
    assert "Hm." not in shown
    assert story.thoughts[-1] == "Hm. Hm. Hm. Hm. Hm."
    story.is_thinking_shown = True
    story.show(ThinkingDelta("Well."), 2.0)
    assert "Well." in story.writing(10)
    assert "Well." in story.show(ReplyEnded(USAGE, ""), 3.0)


def test_only_the_unfinished_block_is_drawn_anew() -> None:
    story = Story(Painter(THEMES["mono"], 80))
    printed = story.show(TextDelta("One.\n\nTwo"), 0.0)
    assert "One." in printed
    assert "Two" not in printed
    assert story.writing(5).strip() == "Two"
    assert "Two" in story.show(ReplyEnded(USAGE, "One.\n\nTwo"), 1.0)
    assert story.writing(5) == ""


def test_reading_shows_a_bar_with_the_time_that_is_left() -> None:
    activity = Activity()
    activity.note(StepStarted(1), 10.0)
    activity.note(PrefillProgress(2_000, 8_000, 1.0), 11.0)
    line = activity.line(11.0, 80)
    assert line.endswith("2.0k of 8.0k tokens, 3.0 s left"), "one time, not two"
    assert "████░" in line


def test_writing_shows_its_speed() -> None:
    activity = Activity()
    for n in range(101):
        activity.note(TextDelta("a"), 5.0 + n / 50)
    assert "writing, 50 tok/s" in activity.line(7.0, 80)
    activity.note(TurnEnded(StopReason.END_TURN, ""), 8.0)
    assert activity.line(8.0, 80) == ""


def test_only_tests_that_ran_to_their_end_and_are_green_get_a_tick() -> None:
    stopped = TestsRan("now", "Stopped before the end.", (), 0.6, ok=False)
    assert plain(told(stopped)).strip().startswith("✗ tests now: Stopped")
    green = TestsRan("now", "2 passed", (), 0.6, ok=True)
    assert plain(told(green)).strip().startswith("✓ tests now: 2 passed")


def test_why_a_turn_ended_is_folded_and_not_cut() -> None:
    reason = "The conversation is 4,148 tokens long, which leaves no room for a reply."
    shown = plain(told(TurnEnded(StopReason.MAX_TOKENS, reason), width=40))
    assert " ".join(shown.split()) == f"The turn ended: {reason}"


def test_attempts_are_told_apart_and_a_stop_is_said_in_a_word() -> None:
    events = (
        AttemptStarted(1, 2, sampled=False),
        Judged(1, False, "1 test is still red"),
        AttemptStarted(2, 2, sampled=True),
        TurnEnded(StopReason.CANCELLED, "cancelled"),
    )
    lines = [line for line in plain(told(*events)).split("\n") if line]
    assert lines == [
        *("Attempt 1 of 2", "✗ attempt 1: 1 test is still red", "Attempt 2 of 2", "Stopped."),
    ]


def test_a_no_of_the_person_is_not_told_to_them_three_times() -> None:
    edit = call("str_replace_editor", command="create", path="a.py")
    words = "The user does not want this call to run."
    ended = CallEnded("str_replace_editor", "denied: str_replace_editor", words, False, "", 0.1)
    story = Story(Painter(THEMES["mono"], 80))
    story.show(CallStarted(edit), 0.0)
    story.has_seen(edit)
    shown = plain(story.show(ended, 1.0))
    assert [line.strip() for line in shown.split("\n") if line] == ["● create a.py", "└ not run"]
    assert "Plan mode" in told(CallStarted(edit), replace(ended, text="Plan mode: read only."))


def test_what_the_model_is_told_of_a_stopped_call_is_not_for_the_person() -> None:
    text = f"begun\n{prompt('stopped_call')}"
    shown = told(CallEnded("bash", "stopped by you", text, False, "", 0.1))
    assert "begun" in shown
    assert "The user" not in shown


def test_a_reply_that_reads_anew_is_told_only_where_something_was_lost() -> None:
    anew = Usage(330, 0, 330, 5, 0.1, 0.1)
    lost = Usage(330, 0, 330, 5, 0.1, 0.1, num_repeated=300)
    first = ReplyEnded(USAGE, "")
    assert told(first, ReplyEnded(anew, "")) == ""
    assert "300 tokens were read again" in told(first, ReplyEnded(lost, ""))


def test_an_error_is_written_as_a_sentence() -> None:
    assert sentence("there is nothing to redo") == "There is nothing to redo."
    assert sentence("a.py was changed; a redo") == "a.py was changed; a redo."
    assert sentence("Not so?") == "Not so?"


def test_a_call_that_is_being_written_is_named() -> None:
    activity = Activity()
    activity.note(CallWriting("str_replace_editor", 640), 5.0)
    activity.note(CallWriting("str_replace_editor", 12_800), 8.0)
    assert "writing a call of str_replace_editor, 12.8k bytes 4.0 s" in activity.line(9.0, 80)


def test_what_is_asked_about_is_shown_whole_with_nothing_hidden() -> None:
    command = "echo ok\u202e; rm -rf \x1b[8mhome\x1b[0m\n" + "x" * 300
    ask = Ask(call("bash", command=command), command, "key", command)
    shown = plain(preview(ask, Painter(THEMES["dark"], 80))).replace("\n", "").replace(" ", "")
    assert "\\u202e" in shown
    assert "\\x1b[8m" in shown
    assert "x" * 300 in shown


def test_a_long_call_is_printed_in_full_and_a_very_long_one_is_known_not_to_be() -> None:
    painter = Painter(THEMES["mono"], 80)

    def asked(num_lines: int) -> tuple[str, int]:
        command = "".join(f"step {n}\n" for n in range(num_lines))
        return printed(
            preview(Ask(call("bash", command=command), "", "key", command), painter), painter, 24
        )

    shown, num_left = asked(1_000)
    assert [line for line in shown.split("\n") if "step" in line] == [
        f"  step {n}" for n in range(1_000)
    ]
    assert num_left == 0
    assert "scroll up to read it" in shown
    shown, num_left = asked(3 * MAX_PRINTED)
    assert shown.count("step") + num_left == 3 * MAX_PRINTED + 2  # an empty line, and the size
    assert "more lines, which would run, too" in shown


def test_the_head_of_a_question_spells_the_name_of_the_file_whole() -> None:
    path = "deep/" * 30 + "a\x1b[2J\nb.py"
    edit = call("str_replace_editor", command="str_replace", path=path)
    shown = plain(preview(Ask(edit, "+x", "key", "+x"), Painter(THEMES["dark"], 80)))
    assert "deep/" * 30 + "a\\x1b[2J\\nb.py" in shown.replace("\n", "")


def test_of_a_long_line_that_was_pasted_the_beginning_is_shown() -> None:
    shown = plain(Story(Painter(THEMES["mono"], 80)).said("x" * 3_000_000))
    assert "(2,998,000 more characters)" in shown
    assert len(shown) < 4_000


def test_without_colours_there_is_none() -> None:
    shown = told(CallEnded("bash", "done", "text", False, "+a\n-b", 0.1), theme="mono")
    codes = {code for found in re.findall(r"\x1b\[([\d;]*)m", shown) for code in found.split(";")}
    assert codes <= {"0", "1", "2", "3", "4"}
    assert theme_for("dark", {"NO_COLOR": "1"}).name == "mono"


def test_the_theme_follows_the_ground_of_the_terminal() -> None:
    assert theme_for("auto", {"COLORFGBG": "0;15"}).name == "light"
    assert theme_for("auto", {"COLORFGBG": "15;0"}).name == "dark"
    assert theme_for("auto", {}).name == "dark"


def test_wide_characters_are_counted_as_two_cells() -> None:
    assert one_line("世界" * 50, 11) == "世界世界世…"
    assert harmless("世\x1b[31m界") == "世界"


def test_attempts_are_told_apart_and_what_goes_on_before_them_is_said() -> None:
    activity = Activity()
    activity.note(RunStarted("s1", "/repo", "pytest", "bubblewrap"), 0.0)
    assert "running the tests" in activity.line(1.0, 80)
    activity.note(AttemptStarted(2, 3, True), 2.0)
    assert "beginning attempt 2 of 3" in activity.line(3.0, 80)
    activity.note(TestsStarted("before"), 4.0)
    assert "running the tests" in activity.line(5.0, 80)
    shown = plain(told(AttemptStarted(2, 3, True), Judged(2, False, "a test is red")))
    assert "Attempt 2 of 3\n" in shown
    assert "✗ attempt 2: a test is red" in shown


def test_a_line_across_is_drawn_as_in_tables_and_a_number_keeps_its_dot() -> None:
    ended = TurnEnded(StopReason.END_TURN, "")
    shown = plain(told(TextDelta("Some.\n\n---\n\n1. one\n2. two\n   more\n"), ended))
    assert "─" * 80 in shown
    assert " 1. one\n" in shown
    assert " 2. two more\n" in shown
