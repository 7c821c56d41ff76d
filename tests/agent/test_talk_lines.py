"""A talk without a screen: one answer, events as JSON lines, and line by line."""

import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from agent.arguments import parse
from agent.errors import UsageError
from agent.frontends.repl.commands import EVERYWHERE
from agent.frontends.talk import run
from agent.lease import writer_lease
from agent.outcome import BUDGET
from agent.session import Session
from tests.agent.fakes import CART, REPAIR, Say, ScriptedModel, bash, call, create, make_repository
from tests.agent.talking import QUIET
from tests.tools.test_mcp import HOSTILE, PYTHON, tool

DONE = Say(text="It is \x1b[2Jmended.\nSee for yourself.")
Run = Callable[..., int]


@pytest.fixture
def talk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command with words, a script, and what is typed."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = tmp_path / "config" / "qwen-agent" / "config.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text(f"[verify]\ntests = {str(QUIET.verify.tests).lower()}\n")
    repository = make_repository(tmp_path / "work")

    def start(*words: str, script: tuple[Say, ...] = (REPAIR, DONE), typed: str = "") -> int:
        monkeypatch.setattr(sys, "stdin", Typed(typed))
        words = (*words, "--sandbox", "direct", str(repository))
        return run(parse(words), lambda _request: ScriptedModel([script]))

    return start


class Typed(io.StringIO):
    """Standard input of somebody who sits at a dumb terminal."""

    def isatty(self) -> bool:
        return True


def cart(tmp_path: Path) -> str:
    return (tmp_path / "work" / "shop" / "cart.py").read_text()


def test_one_answer_is_all_that_standard_output_holds(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk("-p", "Mend it.") == 0
    out, err = capsys.readouterr()
    assert out == "It is mended.\nSee for yourself.\n"
    assert "edited shop/cart.py (+1 -1)" in err
    assert "See for yourself" not in err
    assert "price + tax" in cart(tmp_path)


def test_the_same_as_events_with_the_patch_at_the_end(
    talk: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk("-p", "Mend it.", "--stream-json") == 0
    events = [json.loads(line) for line in capsys.readouterr().out.split("\n") if line]
    names = [event["type"] for event in events]
    assert (names[0], names[-2:]) == ("TalkStarted", ["TurnEnded", "TalkEnded"])
    assert {"CallStarted", "CallEnded", "ReplyEnded", "TextDelta"} <= {*names}
    assert events[-1]["session_id"] == events[0]["session_id"]
    assert "+    return price + tax" in events[-1]["patch"]


def test_a_command_of_ones_own_can_be_the_one_prompt(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = tmp_path / "config" / "qwen-agent" / "commands"
    commands.mkdir()
    (commands / "review.md").write_text("Review $ARGUMENTS.")
    assert talk("-p", "/review the cart", "--stream-json") == 0
    assert json.loads(capsys.readouterr().out.split("\n")[0])["prompt"] == "Review the cart."


def test_where_nobody_is_there_what_would_be_asked_is_refused(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk("-p", "Mend it.", "--mode", "ask") == 0
    assert "denied: str_replace_editor" in capsys.readouterr().err
    assert cart(tmp_path) == CART


def test_a_spent_budget_is_an_exit_code(talk: Run, tmp_path: Path) -> None:
    settings = tmp_path / "config" / "qwen-agent" / "config.toml"
    settings.write_text("[budget]\nmax_steps = 1\n")
    assert talk("-p", "Go on and on.", script=(bash("true"),)) == BUDGET


def test_line_by_line_with_a_question_and_a_way_back(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["Mend \\", "it.", "", "y", "/diff", "/undo", "!echo hi", "/mode never", "/nothing"]
    assert talk(typed="\n".join([*lines, "/mode plan", "/quit", "not read"])) == 0
    out = capsys.readouterr().out
    assert "+    return price + tax" in out.split("Allow this?")[0], "the diff is shown first"
    assert out.count("Allow this?") == 2, "an empty line is no answer"
    assert "It is mended.\nSee for yourself." in out
    assert "Undone: edit shop/cart.py. Changed: shop/cart.py." in out
    assert "! echo hi\nhi\n" in out
    assert "There is no mode never; there are plan, ask, edit, auto" in out
    assert "There is no command /nothing. /help lists them." in out
    assert cart(tmp_path) == CART


def test_a_long_change_is_shown_whole_before_it_is_answered(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = (create("long.txt", "\n".join(f"line {number}" for number in range(100))), DONE)
    assert talk(typed="Write it.\ny\n/quit", script=script) == 0
    first, *_ = capsys.readouterr().out.split("Allow this?")
    assert all(f"+line {number}\n" in first for number in range(100))
    assert (tmp_path / "work" / "long.txt").exists()


def test_every_command_that_needs_no_screen_works_in_plain_lines(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = ["/context", "/sessions", "/mode", "9", "4", "Mend it.", "/rewind", "2", "/redo"]
    lines += ["/rewind", "1", "", "/fork", "/branches", "1", "/theme", f"/export {tmp_path}/t.md"]
    assert talk(typed="\n".join([*lines, "/help"])) == 0
    out = capsys.readouterr().out
    for said in (
        *("There is no other talk about this repository.", "There is no 9 in this list."),
        *(
            "4. auto  asks nothing",
            "Mode auto: asks nothing",
            "1. > Mend it.\n2. edit shop/cart.py",
        ),
        *("Went forward again. Changed: shop/cart.py.", "(An empty line sends this;"),
        *("This is a new talk, ", "1 to 2, or empty to leave: ", "/theme is of use on a screen"),
        *("Written to", "\\ at the end"),
    ):
        assert said in out, said
    assert out.count("It is mended.\nSee for yourself.") == 2, "an empty line sent it again"
    listed = [command for command in EVERYWHERE if f"  {command.shown}  " in out]
    assert listed == [*EVERYWHERE]
    assert "\x1b" not in out


def test_what_fills_the_window_is_drawn_however_large_it_is(
    talk: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk(typed="Hello.\n/context", script=(DONE,)) == 0
    rows = capsys.readouterr().out.split("\n")
    window = next(row for row in rows if "Window  " in row)
    assert "█░" in window
    assert "tokens, " in window
    for words in ("instructions and tools", "prompts", "replies"):
        assert "█" in next(row for row in rows if row.startswith(f"  {words}"))


def test_earlier_talks_are_listed_with_their_first_words(
    talk: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    talk("-p", "Mend the cart.")
    capsys.readouterr()
    assert talk(typed="Look.\n/sessions\n/resume\n1\n/sessions", script=(DONE,)) == 0
    _, second = capsys.readouterr().out.split("first words\n")
    assert second.split("\n")[0].endswith("just now       Mend the cart."), second
    assert "Look." not in second.split("/resume goes on")[0], "this talk is not earlier"
    assert "There is no other talk" in second.rsplit("again.", 1)[1], "both are open now"


@pytest.mark.parametrize(
    ("lines", "said", "total"),
    [
        (["/undo", "n"], "A command has to wait: answer first", "price - tax"),
        (["w", "Not so."], "Why not? ", "price - tax"),
        (
            ["e", "", "", "e", "new_str", "price +\\", "  0 + tax", "y"],
            "new_str is now:",
            "price +\n  0 + tax",
        ),
    ],
)
def test_a_question_in_plain_lines_has_every_answer(
    talk: Run,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    lines: list[str],
    said: str,
    total: str,
) -> None:
    assert talk(typed="\n".join(["Mend it.", *lines])) == 0
    out = capsys.readouterr().out
    assert said in out
    assert "\ncall: edit" in out or "\ncall: str_replace_editor" in out
    assert total in cart(tmp_path)


def test_the_end_of_the_input_at_a_question_stops_the_turn(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk(typed="Mend it.") == 0
    assert "The turn ended: cancelled" in capsys.readouterr().out
    assert cart(tmp_path) == CART


def test_a_talk_goes_on_where_it_was_left(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk("-p", "Mend it.") == 0
    assert talk("--continue", typed="/undo\n/quit") == 0
    assert "Changed: shop/cart.py." in capsys.readouterr().out
    assert cart(tmp_path) == CART


def test_what_was_said_last_is_shown_again_when_a_talk_goes_on(
    talk: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tuple(Say(text=f"Reply {n}.") for n in range(5))
    assert talk(typed="\n".join(f"Prompt {n}." for n in range(5)), script=script) == 0
    capsys.readouterr()
    assert talk("--continue", typed="/quit", script=script) == 0
    out = capsys.readouterr().out
    assert "(4 earlier prompts and replies; /export FILE writes all)" in out
    assert "Prompt 1." not in out
    assert (
        "You said: Prompt 2.\nReply 2.\nYou said: Prompt 3.\nReply 3.\nYou said: Prompt 4." in out
    )


def test_a_talk_that_goes_on_keeps_its_mode_and_another_can_be_typed(
    talk: Run, tmp_path: Path
) -> None:
    script = (DONE, REPAIR, DONE, REPAIR, DONE)
    talk(typed="/mode plan\nLook.\n/quit\n", script=script)
    talk("-p", "Mend it.", "--continue", script=script)
    assert cart(tmp_path) == CART
    talk("-p", "Now.", "--continue", "--mode", "auto", script=script)
    assert "price + tax" in cart(tmp_path)


def test_a_talk_that_another_process_is_in_is_refused_as_a_mistake(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert talk("-p", "Mend it.") == 0
    (folder,) = (tmp_path / "state" / "qwen-agent" / "sessions").iterdir()
    session = Session.open(folder)
    assert talk("-p", "More.", "--continue") == 2
    session.close()
    with writer_lease(tmp_path / "work"):
        assert talk("-p", "More.", "--continue") == 2
    first, second = capsys.readouterr().err.strip().split("\n")[-2:]
    assert first.endswith(
        f"session {folder.name} is in use by another qwen-agent; leave it there first"
    )
    assert "another qwen-agent session is writing to" in second


def test_a_prompt_that_is_no_text_is_refused(talk: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"\xff\xfe")
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        with pytest.raises(UsageError, match="no text in UTF-8"):
            run(parse(["talk", "-p", "-"]))


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("-p", " "), "there is no prompt"),
        (("-p", "/help\n"), "/help is a command of a talk at a terminal"),
        (("--stream-json",), "--stream-json answers one prompt"),
    ],
)
def test_what_cannot_be_meant_is_refused(talk: Run, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        talk(*words)


def test_mcp_servers_are_listed_used_and_ask_in_plain_lines(
    talk: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tools.json").write_text(json.dumps([tool("form")]))
    with (tmp_path / "config" / "qwen-agent" / "config.toml").open("a") as settings:
        command, arguments = PYTHON, [str(HOSTILE), str(tmp_path / "tools.json")]
        settings.write(f'[mcp.servers.evil]\ncommand = "{command}"\nargs = {arguments}\n')
    script = (Say((call("evil__form"),)), Say(text="Filled in."))
    lines = ["/mcp", "Ask.", "y", "y", "green", "red", "3", "/mcp", "/mcp reload", "/mcp what"]
    assert talk("--mode", "ask", script=script, typed="\n".join([*lines, ""])) == 0
    out = capsys.readouterr().out
    assert "evil  not used: it is started with the first prompt" in out
    assert "The MCP server evil asks: What is it like?" in out
    assert "The colour, one of red, blue: write one of red, blue." in out
    assert "Filled in." in out
    assert "evil  1 tools" in out
    assert "tool evil__form" in out
    assert "started anew with the next prompt" in out
    assert "Write /mcp, /mcp reload, /mcp login SERVER" in out
