"""Events become lines that stay; what tools and models print is shown and never obeyed."""

import re

from agent.approval import Ask
from agent.events import (
    CallEnded,
    CallStarted,
    CallWriting,
    Event,
    PrefillProgress,
    ReplyEnded,
    Steered,
    StepStarted,
    StopReason,
    TextDelta,
    ThinkingDelta,
    TurnEnded,
)
from agent.frontends.repl.activity import Activity
from agent.frontends.repl.dialogs import preview
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.story import MAX_DIFF_LINES, Story
from agent.frontends.repl.text import harmless, one_line
from agent.frontends.repl.theme import THEMES, theme_for
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
    assert "2.0k of 8.0k tokens, 3.0 s left" in line
    assert "████░" in line


def test_writing_shows_its_speed() -> None:
    activity = Activity()
    for n in range(101):
        activity.note(TextDelta("a"), 5.0 + n / 50)
    assert "writing, 50 tok/s" in activity.line(7.0, 80)
    activity.note(TurnEnded(StopReason.END_TURN, ""), 8.0)
    assert activity.line(8.0, 80) == ""


def test_a_call_that_is_being_written_is_named() -> None:
    activity = Activity()
    activity.note(CallWriting("str_replace_editor", 640), 5.0)
    activity.note(CallWriting("str_replace_editor", 12_800), 8.0)
    assert "writing a call of str_replace_editor, 12.8k bytes 4.0 s" in activity.line(9.0, 80)


def test_what_is_asked_about_is_shown_whole_with_nothing_hidden() -> None:
    command = "echo ok\u202e; rm -rf \x1b[8mhome\x1b[0m\n" + "x" * 300
    ask = Ask(call("bash", command=command), command, "key")
    shown = plain(preview(ask, Painter(THEMES["dark"], 80))).replace("\n", "").replace(" ", "")
    assert "\\u202e" in shown
    assert "\\x1b[8m" in shown
    assert "x" * 300 in shown


def test_the_head_of_a_question_spells_the_name_of_the_file_whole() -> None:
    path = "deep/" * 30 + "a\x1b[2J\nb.py"
    edit = call("str_replace_editor", command="str_replace", path=path)
    shown = plain(preview(Ask(edit, "+x", "key"), Painter(THEMES["dark"], 80)))
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
