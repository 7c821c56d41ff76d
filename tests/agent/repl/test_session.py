"""The whole program at a terminal, with a scripted model: what a person sees and what happens."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from evals.nano.corpus import generate
from evals.nano.corpus import write as write_repository
from tests.agent.repl.conftest import DONE, REPAIR, RUN_TESTS, Open, bash
from tests.agent.repl.terminal import QUIET_S, ROOT, Terminal

SLOW = {"text": " ".join(f"word{n}" for n in range(400)), "word_s": 0.01}
FAST = {"text": "All right."}


def cart(repository: Path) -> str:
    return (repository / "shop/cart.py").read_text()


def test_a_repair_is_asked_about_and_shown(open_session: Open, repository: Path) -> None:
    terminal = open_session(REPAIR, RUN_TESTS, DONE)
    terminal.enter("Mend the sum.")
    terminal.wait_for("Allow this?")
    assert "+    return price + tax" in terminal.text
    assert "price - tax" in cart(repository)
    terminal.answer("y")
    terminal.wait_for("The sum is right now.")
    terminal.wait_for("Ask, or /help")
    assert "● edit shop/cart.py" in terminal.scrolled
    assert "● run_tests" in terminal.scrolled
    assert "price + tax" in cart(repository)
    terminal.press("ctrl-d")
    assert terminal.wait_for_end() == 0
    assert "\x1b[?2004l" in terminal.raw.decode()  # bracketed paste is off again


@pytest.mark.slow
def test_what_was_typed_before_the_screen_is_there_is_sent(open_session: Open) -> None:
    terminal = open_session(FAST, shows="")
    terminal.enter("hello there")
    terminal.wait_for("All right.")
    assert "\n> hello there\n" in terminal.text


@pytest.mark.slow
def test_what_is_typed_while_a_talk_cannot_be_opened_is_not_sent(open_session: Open) -> None:
    terminal = open_session(FAST, words=("--resume",), shows="")
    terminal.enter("hello there")
    assert terminal.wait_for_end() == 2
    assert "There is no talk about" in terminal.text
    assert "Traceback" not in terminal.text


@pytest.mark.parametrize(
    ("key", "is_run"),
    [
        ("y", True),
        ("escape", False),
        pytest.param("a", True, marks=pytest.mark.slow),
        pytest.param("n", False, marks=pytest.mark.slow),
    ],
)
def test_one_key_decides_on_a_command(
    open_session: Open, repository: Path, key: str, is_run: bool
) -> None:
    terminal = open_session(bash("touch made"), FAST)
    terminal.enter("Make it.")
    terminal.wait_for("Run this command?")
    assert "touch made" in terminal.text
    terminal.answer(key)
    terminal.wait_for("The turn stops." if key == "escape" else "All right.")
    assert (repository / "made").exists() == is_run


def test_ctrl_d_at_a_question_is_a_no_and_leaves_with_the_talk_saved(
    open_session: Open, repository: Path
) -> None:
    terminal = open_session(bash("touch made"), FAST)
    terminal.enter("Make it.")
    terminal.wait_for("Run this command?")
    terminal.press("ctrl-d")
    assert terminal.wait_for_end() == 0
    assert not (repository / "made").exists()
    assert "To go on with it: qwen-agent --resume" in terminal.text
    (journal,) = (repository.parent / "home").glob("**/sessions/*/journal.jsonl")
    assert "The user does not want this call to run." in journal.read_text()


def test_typed_ahead_and_pasted_keys_answer_nothing(open_session: Open, repository: Path) -> None:
    terminal = open_session(bash("touch made", reading_s=1.0), FAST)
    terminal.enter("Make it.")
    terminal.wait_for("reading")
    terminal.type("yyyy")
    terminal.wait_for("Run this command?")
    terminal.type("y\r")
    terminal.read(0.6)
    terminal.paste("y")
    terminal.read(0.3)
    assert "Run this command?" in terminal.text
    assert not (repository / "made").exists()
    terminal.press("\x15")  # else letters go on with what was typed
    terminal.answer("n")
    terminal.wait_for("All right.")
    assert not (repository / "made").exists()


@pytest.mark.slow
def test_any_part_of_an_edit_is_changed_and_its_new_diff_shown(
    open_session: Open, repository: Path
) -> None:
    terminal = open_session(REPAIR, DONE)
    terminal.enter("Mend it.")
    terminal.wait_for("Allow this?")
    terminal.answer("e")
    terminal.wait_for("Which of it?")
    terminal.press("old_", "enter")
    terminal.wait_for("old_str: price - tax")
    terminal.enter("  # taxed")
    terminal.wait_for("Allow this?")
    terminal.answer("e")
    terminal.wait_for("Which of it?")
    terminal.press("old_", "enter")
    terminal.wait_for("old_str: price - tax  # taxed")
    terminal.press(*["backspace"] * len(" - tax  # taxed"))
    terminal.enter(" -")
    terminal.wait_for("+    return price + tax tax")
    terminal.answer("y")
    terminal.wait_for("The sum is right now.")
    assert "price + tax tax" in cart(repository)


def test_the_first_letter_of_a_sentence_is_no_answer(open_session: Open, repository: Path) -> None:
    terminal = open_session(bash("touch made"), FAST)
    terminal.enter("Make it.")
    terminal.wait_for("Run this command?")
    for sentence in ("you should not", "all of it?", "no"):
        terminal.read(QUIET_S)
        for letter in sentence:
            terminal.press(letter)
            terminal.read(0.08)
    terminal.wait_for("> you should notall of it?no")
    terminal.wait_for("a key answers when the input is empty: Ctrl-U")
    for key in "ya":  # after a pause to think, in the midst of the sentence
        terminal.read(1.2)
        terminal.press(key)
    terminal.wait_for("> you should notall of it?noya")
    terminal.press("\x7f")
    terminal.wait_for("of it?noy\n")
    assert "Run this command?" in terminal.text
    assert not (repository / "made").exists()
    terminal.press("\x15")
    terminal.wait_for("y yes")


def test_what_is_long_is_shown_in_full_before_it_may_run(open_session: Open) -> None:
    lines = [f"echo {n}" for n in range(60)]
    lines[30] = "echo " + "x" * 600 + "; touch EVIL; echo " + "y" * 800
    terminal = open_session(bash("\n".join(lines)), FAST)
    terminal.enter("Go.")
    terminal.wait_for("Run this command?")
    assert "touch EVIL" in terminal.scrolled
    assert [n for n in range(60) if n != 30 and f"  echo {n}" not in terminal.scrolled] == []
    assert "scroll up" in terminal.text


@pytest.mark.slow
def test_what_is_too_long_to_print_cannot_be_allowed_before_it_was_seen(
    open_session: Open, repository: Path
) -> None:
    command = "touch made\n" + "".join(f"# {n}\n" for n in range(5_000))
    terminal = open_session(bash(command), FAST, environment={"PAGER": "cat"})
    terminal.enter("Go.")
    terminal.wait_for("v view all of it")
    terminal.answer("y")
    terminal.wait_for("First look at all of it")
    assert not (repository / "made").exists()
    terminal.answer("v")
    terminal.wait_for("# 4999")
    terminal.wait_for("y yes")
    terminal.answer("y")
    terminal.wait_for("All right.")
    assert (repository / "made").exists()


@pytest.mark.slow
def test_why_not_goes_to_the_model_and_an_edited_command_runs(
    open_session: Open, repository: Path
) -> None:
    terminal = open_session(bash("touch one"), bash("touch two"), FAST)
    terminal.enter("Make them.")
    terminal.wait_for("Run this command?")
    terminal.answer("w")
    terminal.enter("not that one")
    terminal.wait_for("touch two")
    terminal.answer("e")
    terminal.wait_for("command: touch two")
    terminal.press("backspace", "backspace", "backspace")
    terminal.enter("three")
    terminal.wait_for("this is what would be done now")
    terminal.wait_for("? bash\n  touch three")
    assert not (repository / "three").exists()
    terminal.answer("y")
    terminal.wait_for("All right.")
    assert "● bash touch three" in terminal.scrolled
    assert (repository / "three").exists()
    assert not (repository / "one").exists()
    assert "Not allowed: not that one" in terminal.scrolled


def test_enter_steers_and_alt_enter_queues(open_session: Open, repository: Path) -> None:
    script = [bash("ls"), {"text": "I heard you."}, {"text": "And the second."}]
    script[0]["reading_s"] = 2.0
    terminal = open_session(*script)
    terminal.enter("Look.")
    terminal.wait_for("reading")
    terminal.enter("mind the tests")
    terminal.wait_for("steers: mind the tests")
    terminal.type("then do more")
    terminal.press("alt-enter")
    terminal.wait_for("next: then do more")
    terminal.wait_for("And the second.")
    lines = [line for line in terminal.scrolled.split("\n") if line.startswith("> ")]
    assert lines[:3] == ["> Look.", "> mind the tests", "> then do more"]


@pytest.mark.slow
def test_escape_gives_queued_text_back_before_it_stops(open_session: Open) -> None:
    terminal = open_session(SLOW, FAST)
    terminal.enter("Write.")
    terminal.wait_for("word9")
    terminal.enter("too late?")
    terminal.wait_for("steers: too late?")
    terminal.press("escape")
    terminal.wait_for("> too late?")
    terminal.wait_until_gone("steers:")
    assert "word9" in terminal.text
    terminal.press("ctrl-c")
    terminal.press("escape")
    terminal.wait_for("Ask, or /help")
    terminal.enter("Again.")
    terminal.wait_for("All right.")


@pytest.mark.parametrize("key", ["escape", pytest.param("ctrl-c", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("reply", "when"),
    [
        pytest.param(
            *({"text": "never", "reading_s": 30.0}, "reading"),
            marks=pytest.mark.slow,
            id="prefill",
        ),
        pytest.param(SLOW, "word9", id="decode"),
    ],
)
def test_a_turn_is_stopped_and_the_next_one_works(
    open_session: Open, key: str, reply: dict[str, object], when: str
) -> None:
    terminal = open_session(reply, FAST, words=("--mode", "auto"))
    terminal.enter("Go.")
    terminal.wait_for(when)
    terminal.press(key)
    terminal.wait_for("Ask, or /help", seconds=8.0)
    terminal.enter("And now?")
    terminal.wait_for("All right.", seconds=8.0)


def test_escape_stops_a_call_and_the_model_goes_on(open_session: Open) -> None:
    terminal = open_session(bash("echo begun; sleep 60"), FAST, words=("--mode", "auto"))
    terminal.enter("Go.")
    terminal.wait_for("running bash")
    terminal.press("escape")
    terminal.wait_for("All right.", seconds=8.0)
    assert "stopped" in terminal.scrolled


@pytest.mark.slow
@pytest.mark.parametrize("key", ["escape", "ctrl-c"])
def test_twice_within_a_second_a_turn_is_stopped_in_a_call(open_session: Open, key: str) -> None:
    terminal = open_session(bash("sleep 60"), SLOW, FAST, words=("--mode", "auto"))
    terminal.enter("Go.")
    terminal.wait_for("running bash")
    terminal.press(key, key)
    terminal.wait_for("Ask, or /help", seconds=8.0)
    assert "word399" not in terminal.scrolled
    terminal.wait_for("Stopped.")


def test_rewind_brings_files_and_prompt_back(open_session: Open, repository: Path) -> None:
    before = cart(repository)
    terminal = open_session(REPAIR, DONE, words=("--mode", "auto"))
    terminal.enter("Mend the sum.")
    terminal.wait_for("● finish")
    terminal.wait_for("Ask, or /help")
    assert cart(repository) != before
    terminal.enter("/rewind")
    terminal.wait_for("Go back to just before")
    assert "▸   edit shop/cart.py\n    -price - tax\n    +price + tax\n" in terminal.text
    terminal.press("up")
    terminal.press("enter")
    terminal.wait_until(lambda: cart(repository) == before, "back")
    terminal.wait_until(lambda: terminal.scrolled.count("> Mend the sum.") == 2, "in the input")
    terminal.press("ctrl-c")
    terminal.enter("/redo")
    terminal.wait_until(lambda: cart(repository) != before, "forward")
    terminal.wait_for("forward again")
    terminal.enter("/undo")
    terminal.wait_until(lambda: cart(repository) == before, "back again")


def test_undo_asks_before_it_takes_work_of_the_person_with_it(
    open_session: Open, repository: Path
) -> None:
    before = cart(repository)
    terminal = open_session(REPAIR, DONE, words=("--mode", "auto"))
    terminal.enter("Mend the sum.")
    terminal.wait_for("● finish")
    terminal.wait_for("Ask, or /help")
    mine = cart(repository) + "# mine\n"
    (repository / "shop/cart.py").write_text(mine)
    terminal.enter("/undo")
    terminal.wait_for("You have changed shop/cart.py, too")
    terminal.press("enter")
    terminal.wait_for("Nothing was changed.")
    assert cart(repository) == mine
    terminal.enter("/undo")
    terminal.wait_for("Go back?")
    terminal.press("down", "enter")
    terminal.wait_for("Undone")
    assert cart(repository) == before
    terminal.enter("/redo")
    terminal.wait_for("Went forward again.")
    assert cart(repository) == mine


def test_a_commit_is_proposed_changed_and_made(open_session: Open, repository: Path) -> None:
    (repository.parent / "home" / ".gitconfig").write_text("[user]\nname = A\nemail = a@b.c\n")
    terminal = open_session(REPAIR, DONE, {"text": "Mend the sum"}, words=("--mode", "auto"))
    terminal.enter("Mend the sum.")
    terminal.wait_for("● finish")
    terminal.wait_for("Ask, or /help")
    terminal.enter("/commit")
    terminal.wait_for("commit: Mend the sum")
    assert "shop/cart.py" in terminal.text
    terminal.type(" of the cart")
    terminal.wait_for("commit: Mend the sum of the cart")
    terminal.press("escape")
    terminal.wait_for("Nothing was committed.")
    terminal.enter("/commit Mend the total")
    terminal.wait_for("Committed ")
    shown = ["git", "log", "-1", "--format=%an %s", "--name-only"]
    said = subprocess.run(shown, cwd=repository, capture_output=True, text=True, timeout=30).stdout
    assert said == "A Mend the total\n\nshop/cart.py\n"


@pytest.mark.slow
def test_a_session_goes_on_after_kill_9(open_session: Open, repository: Path) -> None:
    terminal = open_session(REPAIR, DONE, {"text": "Still here."}, words=("--mode", "auto"))
    terminal.enter("Mend the sum.")
    terminal.wait_for("● finish")
    terminal.kill()
    script = (REPAIR, DONE, {"text": "Still here."})
    again = open_session(*script, words=("--resume", "--mode", "auto"))
    again.enter("Are you there?")
    again.wait_for("Still here.")


@pytest.mark.slow
def test_a_fork_goes_its_own_way(open_session: Open) -> None:
    terminal = open_session({"text": "One."}, {"text": "Two."})
    terminal.enter("First.")
    terminal.wait_for("One.")
    terminal.enter("/fork")
    terminal.wait_for("This is a new talk")
    terminal.enter("Second.")
    terminal.wait_for("Two.")
    terminal.enter("/branches")
    terminal.wait_for("Which talk?")
    terminal.press("up", "enter")
    terminal.wait_for("This is 2")
    terminal.enter("Second, too.")
    terminal.wait_until(lambda: terminal.scrolled.count("Two.") == 2, "answered in each talk")


@pytest.mark.slow
def test_a_paste_of_5000_lines_is_folded_and_sent_whole(
    open_session: Open, repository: Path
) -> None:
    terminal = open_session(FAST)
    terminal.paste("".join(f"line {n}\n" for n in range(5_000)))
    terminal.wait_for("[paste 1: 5,000 lines]")
    terminal.press("enter")
    terminal.wait_for("(4,988 more lines)")
    terminal.wait_for("All right.")
    terminal.enter("/export talk.md")
    terminal.wait_for("Written to talk.md")
    assert "line 4999" in (repository / "talk.md").read_text()


def test_a_folded_paste_is_edited_as_one_and_comes_back_folded(open_session: Open) -> None:
    terminal = open_session(FAST)
    paste = "".join(f"line {n}\n" for n in range(20))
    terminal.type("see ")
    terminal.paste(paste)
    terminal.wait_for("see [paste 1: 20 lines]")
    terminal.press("\x17")  # Ctrl-W
    terminal.wait_until_gone("[paste")
    terminal.paste(paste)
    terminal.press("left")
    terminal.type("it: ")
    terminal.wait_for("> see it: [paste 2: 20 lines]")
    terminal.press("enter")
    terminal.wait_for("All right.")
    assert "see it: line 0" in terminal.text
    terminal.press("up")
    terminal.wait_for("> see it: [paste 2: 20 lines]")


@pytest.mark.slow
def test_a_window_may_change_its_size_while_a_reply_streams(open_session: Open) -> None:
    terminal = open_session(
        {"text": " ".join(f"word{n}" for n in range(150)) + " end.", "word_s": 0.01}
    )
    terminal.enter("Write.")
    terminal.wait_for("word9")
    for columns, rows in ((40, 12), (100, 30), (60, 20)):
        terminal.resize(columns, rows)
        *_, status = terminal.text.split("\n")
        assert status.startswith("ask · scripted")
        assert len(status) < columns
    terminal.wait_for("end.")
    terminal.wait_for("Ask, or /help")
    assert terminal.text.count("Ask, or /help") == 1


@pytest.mark.slow
def test_a_command_of_the_person_runs_and_its_escapes_do_not(open_session: Open) -> None:
    terminal = open_session(FAST)
    terminal.enter(r"!printf 'one\033[2J\033]0;x\007two\n'; seq 3; exit 3")
    terminal.wait_for("exit code 3")
    assert "onetwo" in terminal.text
    assert b"\x1b]0;" not in terminal.raw


def test_what_goes_wrong_in_a_key_or_a_command_ends_nothing(
    open_session: Open, repository: Path, tmp_path: Path
) -> None:
    (tmp_path / "outside.md").write_text("outside\n")
    (repository / "AGENTS.md").symlink_to(tmp_path / "outside.md")
    terminal = open_session(FAST)
    for typed, said in (
        ("/attempts \u00b2 x", "Write /attempts N PROMPT"),
        ("/export ~nosuch/x.md", "~nosuch/x.md:"),
        ("/export", "Name a file that ends in .md, .json, .html"),
        ("/theme", "/theme NAME chooses auto, dark, light, mono"),
        ("/theme mono", "The theme is mono;"),
        ("/memory more", "AGENTS.md cannot be used"),
        ("a\x1b[31mred", "All right."),
    ):
        terminal.enter(typed)
        terminal.wait_for(said)
    assert "Press ENTER" not in terminal.scrolled
    assert "bug" not in terminal.scrolled
    assert (tmp_path / "outside.md").read_text() == "outside\n"


@pytest.mark.slow
def test_earlier_talks_are_listed_while_a_reply_comes(open_session: Open) -> None:
    terminal = open_session(SLOW)
    terminal.enter("Write.")
    terminal.wait_for("word9")
    terminal.enter("/sessions")
    terminal.wait_for("There is no other talk about this repository.")
    assert "word399" not in terminal.scrolled


@pytest.mark.slow
def test_a_command_beside_a_reply_is_printed_with_its_output(open_session: Open) -> None:
    paragraphs = " ".join(f"word{n}\n\n" for n in range(300))
    terminal = open_session({"text": paragraphs, "word_s": 0.02}, words=("--sandbox", "direct"))
    terminal.enter("Write.")
    terminal.wait_for("word9")
    terminal.enter("!sleep 0.3; echo hi")
    terminal.wait_for("done in")
    assert "! sleep 0.3; echo hi\nhi" in terminal.scrolled


@pytest.mark.slow
def test_a_prompt_that_waits_for_a_command_is_shown_and_given_back(open_session: Open) -> None:
    terminal = open_session(FAST)
    terminal.enter("!sleep 30")
    terminal.wait_for("! sleep 30")
    terminal.enter("And then?")
    terminal.wait_for("next: And then?")
    terminal.press("escape")
    terminal.wait_for("> And then?")
    terminal.wait_until_gone("next:")
    terminal.press("enter")
    terminal.wait_for("All right.")


@pytest.mark.slow
def test_thinking_is_shown_on_demand(open_session: Open) -> None:
    terminal = open_session({"thinking": "Deep thoughts.", "text": "Yes."})
    terminal.enter("Well?")
    terminal.wait_for("Ask, or /help")
    terminal.wait_for("thought for")
    assert "Deep thoughts." not in terminal.text
    terminal.press("ctrl-t")
    terminal.wait_for("Deep thoughts.")


@pytest.mark.slow
def test_no_color_means_none(open_session: Open) -> None:
    terminal = open_session(REPAIR, DONE, environment={"NO_COLOR": "1"})
    terminal.enter("Mend it.")
    terminal.wait_for("Allow this?")
    found = re.findall(rb"\x1b\[([\d;]*)m", terminal.raw)
    assert {code for codes in found for code in codes.split(b";")} <= {b"", *b"0 1 2 3 4".split()}


@pytest.mark.slow
def test_the_terminal_is_restored_when_the_program_is_told_to_end(open_session: Open) -> None:
    terminal = open_session(SLOW)
    terminal.enter("Write.")
    terminal.wait_for("word9")
    terminal.process.kill(15)
    assert terminal.wait_for_end() == 128 + 15
    assert b"\x1b[?2004l" in terminal.raw
    assert b"\x1b[?25h" in terminal.raw[-400:]


@pytest.mark.slow
def test_the_program_ends_when_its_terminal_is_gone(open_session: Open) -> None:
    terminal = open_session(SLOW)
    terminal.enter("Write.")
    terminal.wait_for("word9")
    terminal.process.ptyproc.delayafterclose = 3.0
    terminal.process.close(force=False)  # raises if the program goes on
    assert not terminal.process.isalive()


@pytest.mark.slow
def test_without_a_model_the_first_start_offers_what_there_is(
    tmp_path: Path, repository: Path
) -> None:
    environment = {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    terminal = Terminal([sys.executable, "-P", "-m", "agent.cli"], repository, environment)
    terminal.wait_for("Which model?")
    assert "Offline: copy a checkpoint" in terminal.text
    terminal.press("down", "enter")
    terminal.wait_for("folder: ")
    terminal.enter("/nowhere")
    terminal.wait_for("there is no model '/nowhere'")
    terminal.wait_for("Which model?")
    terminal.press("escape")
    assert terminal.wait_for_end() == 7
    assert "No model was chosen" in terminal.text


@pytest.mark.slow
def test_with_vi_keys_the_first_escape_leaves_insert_mode(open_session: Open) -> None:
    terminal = open_session(SLOW)
    terminal.enter("/keys vi")
    terminal.wait_for("as in vi")
    terminal.enter("Write.")
    terminal.wait_for("word9")
    terminal.press("escape")
    terminal.wait_for("normal >")
    terminal.press("escape")
    terminal.wait_for("Stopped.")
    assert "word399" not in terminal.scrolled


@pytest.mark.slow
def test_a_search_says_when_nothing_is_found_and_vi_begins_in_insert_mode(
    open_session: Open,
) -> None:
    terminal = open_session(FAST)
    terminal.enter("Say this.")
    terminal.wait_for("All right.")
    terminal.press("\x12")  # Ctrl-R
    terminal.type("this")
    terminal.wait_for("search: this")
    terminal.type("zzz")
    terminal.wait_for("not found: thiszzz")
    terminal.press("enter", "ctrl-c")
    terminal.enter("/keys vi")
    terminal.wait_for("as in vi")
    terminal.type("hello")
    terminal.wait_for("> hello")
    assert "normal" not in terminal.text


@pytest.mark.slow
def test_a_prompt_is_written_in_the_editor(open_session: Open, tmp_path: Path) -> None:
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nprintf "from the editor\\nand more" > "$1"\n')
    editor.chmod(0o755)
    terminal = open_session(FAST, environment={"EDITOR": str(editor)})
    terminal.type("draft")
    terminal.press("ctrl-g")
    terminal.wait_for("and more")
    terminal.press("enter")
    terminal.wait_for("All right.")
    assert "> from the editor\n  and more" in terminal.text


@pytest.mark.slow
def test_an_earlier_session_is_resumed_from_a_list(open_session: Open) -> None:
    first = open_session({"text": "One."})
    first.enter("First.")
    first.wait_for("One.")
    first.wait_for("Ask, or /help")
    first.press("ctrl-d")
    assert first.wait_for_end() == 0
    assert "qwen-agent --resume" in first.text
    second = open_session({"text": "One."}, {"text": "Two."})
    second.enter("/resume")
    second.wait_for("Which session?")
    second.press("enter")
    second.wait_for("again.")
    second.enter("Second.")
    second.wait_for("Two.")


@pytest.mark.slow
def test_the_person_runs_the_tests(open_session: Open) -> None:
    terminal = open_session(FAST)
    terminal.enter("/test")
    terminal.wait_for("tests now: 1 failed, 1 passed")
    assert "test_total" in terminal.text


@pytest.mark.slow
def test_nano_mends_a_repository_at_the_screen(tmp_path: Path) -> None:
    folder, home = tmp_path / "project", tmp_path / "home"
    home.mkdir()
    write_repository(generate(900_003), folder)
    subprocess.run(["git", "init", "-q", str(folder)], check=True, timeout=30)
    environment = {"HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-m", "agent.cli", "--model", "nano"]
    terminal = Terminal(command, folder, environment)
    terminal.wait_for("Ask, or /help")
    terminal.enter("The tests fail. Find the bug and repair it.")
    while "● finish" not in terminal.scrolled:
        terminal.wait_until(
            lambda: "● finish" in terminal.text or "why not" in terminal.text,
            "asked or finished",
            seconds=240.0,
        )
        if "Allow this?" in terminal.text or "Run this command?" in terminal.text:
            terminal.answer("y")
            terminal.wait_until_gone("why not")
    assert "5 passed" in terminal.scrolled
    terminal.press("ctrl-d")
    assert terminal.wait_for_end() == 0
