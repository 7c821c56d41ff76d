"""What is typed: pastes that fold, names that complete, a history that lasts, keys that answer."""

import time
from pathlib import Path

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys

from agent.approval import Answer, Ask
from agent.frontends.repl.completion import PromptCompleter, without_marks
from agent.frontends.repl.dialogs import (
    ARMED_AFTER_S,
    Approval,
    Choice,
    Guard,
    Picker,
    preview,
)
from agent.frontends.repl.fuzzy import best
from agent.frontends.repl.history import FileHistory
from agent.frontends.repl.names import Names
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.paste import Pastes
from agent.frontends.repl.prompt import Prompt
from agent.frontends.repl.source import WholePastes
from agent.frontends.repl.theme import THEMES
from agent.preview import preview as shortened
from tests.agent.fakes import call, write

FILES = {
    "shop/cart.py": "def total(price):\n    return price\n",
    "README.md": "words\n",
    "build/out.py": "made = 1\n",
    ".gitignore": "build/\n",
}


@pytest.fixture
def names(tmp_path: Path) -> Names:
    write(tmp_path, FILES)
    names = Names(tmp_path)
    names.wait(timeout_s=20.0)
    return names


def offered(names: Names, typed: str) -> list[str]:
    completer = PromptCompleter(lambda: {"rewind": "go back", "resume": "go on"}, names)
    found = completer.get_completions(Document(typed), CompleteEvent())
    return [completion.text for completion in found]


def test_files_are_completed_unless_they_are_ignored(names: Names) -> None:
    assert offered(names, "look at @cart")[0] == "@shop/cart.py "
    assert offered(names, "@README") == ["@README.md "]
    assert offered(names, "@out.py") == []


def test_names_are_told_of_when_they_are_new(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    told: list[int] = []
    names = Names(tmp_path, lambda: told.append(len(names.symbols)), fresh_s=0.0)
    for _ in range(2):
        names.wait(timeout_s=20.0)
    assert told == [0, 1], "the files, then the symbols, and nothing when all is as it was"


def test_symbols_are_completed_to_where_they_are(names: Names) -> None:
    assert offered(names, "mend @tot")[0] == "@shop/cart.py:1 "


def test_commands_are_completed_at_the_beginning_only(names: Names) -> None:
    assert offered(names, "/rew") == ["rewind "]
    assert offered(names, "and /rew") == []


def test_a_file_that_is_named_is_sent_without_its_mark() -> None:
    known = {"shop/cart.py", "README.md"}.__contains__
    sent = without_marks("see @shop/cart.py:3, @README.md. me@example.org @nobody", known)
    assert sent == "see shop/cart.py:3, README.md. me@example.org @nobody"


def test_the_best_name_has_the_letters_in_one_piece() -> None:
    assert best("cart", ["c/a/r/t.py", "shop/cart.py", "other.py"], 5)[0] == "shop/cart.py"
    assert best("cart", ["CartTest", "test_cart.py", "a/cart.py"], 1) == ["a/cart.py"]
    assert best("", ["b", "a"], 1) == ["a"]


def test_a_long_paste_is_folded_and_sent_whole() -> None:
    pastes = Pastes()
    text = "".join(f"line {n}\n" for n in range(5_000))
    mark = pastes.fold(text)
    assert mark == "[paste 1: 5,000 lines]"
    assert pastes.unfold(f"see {mark}!") == f"see {text}!"
    assert pastes.fold("short\r\nlines") == "short\nlines"
    assert pastes.unfold("[paste 7: 3 lines]") == "[paste 7: 3 lines]"


@pytest.mark.parametrize("size", [1, 7, 1_000])
def test_a_paste_is_taken_whole_however_it_is_read(size: int) -> None:
    keys, pastes = list[KeyPress](), WholePastes()
    parser = Vt100Parser(keys.append)
    typed = "a\x1b[200~one\ntwo\x1b[201~b\x1b[200~three\x1b[201~c"
    for start in range(0, len(typed), size):
        parser.feed(pastes.ready(typed[start : start + size]))
    said = [(key.key, key.data) for key in keys]
    one, two = (Keys.BracketedPaste, "one\ntwo"), (Keys.BracketedPaste, "three")
    assert said == [("a", "a"), one, ("b", "b"), two, ("c", "c")]


def test_megabytes_are_pasted_at_once() -> None:
    keys, pastes = list[KeyPress](), WholePastes()
    parser = Vt100Parser(keys.append)
    begun_s = time.process_time()
    for data in ("\x1b[200~", *["x" * 1_000] * 5_000, "\x1b[201~"):
        parser.feed(pastes.ready(data))
    assert time.process_time() - begun_s < 1.0, "seconds, where all is searched for each piece"
    assert len(keys[0].data) == 5_000_000


def test_backspace_takes_a_folded_paste_as_one(tmp_path: Path, names: Names) -> None:
    prompt = Prompt(PromptCompleter(dict, names), tmp_path / "history")
    prompt.buffer.insert_text("see ", fire_event=False)
    prompt.paste("x\n" * 100)
    prompt.backspace()
    assert prompt.buffer.text == "see "
    prompt.backspace()
    assert prompt.buffer.text == "see"


def test_a_folded_paste_is_remembered_as_what_it_is(tmp_path: Path, names: Names) -> None:
    prompt = Prompt(PromptCompleter(dict, names), tmp_path / "history")
    prompt.buffer.insert_text("see ", fire_event=False)
    prompt.paste("x\n" * 30)
    whole = prompt.take()
    prompt.paste("y\n" * 30_000)
    prompt.take()
    assert [*FileHistory(tmp_path / "history").load_history_strings()] == [whole]
    assert whole == "see " + "x\n" * 30


def test_a_backslash_at_the_end_asks_for_one_more_line(tmp_path: Path, names: Names) -> None:
    prompt = Prompt(PromptCompleter(dict, names), tmp_path / "history")
    prompt.buffer.insert_text("one\\", fire_event=False)
    assert prompt.continues()
    assert prompt.buffer.text == "one\n"
    assert not prompt.continues()


def test_a_borrowed_input_gives_back_what_was_being_typed(tmp_path: Path, names: Names) -> None:
    prompt = Prompt(PromptCompleter(dict, names), tmp_path / "history")
    prompt.buffer.insert_text("my draft", fire_event=False)
    said: list[str | None] = []
    prompt.borrow("why not? ", "", said.append)
    prompt.buffer.insert_text("too risky", fire_event=False)
    prompt.give_back(is_sent=True)
    assert said == ["too risky"]
    assert prompt.buffer.text == "my draft"


def test_history_lasts_and_is_private(tmp_path: Path) -> None:
    path = tmp_path / "state" / "prompts.jsonl"
    for text in ("first", "two\nlines"):
        FileHistory(path).store_string(text)
    with path.open("ab") as file:
        file.write(b'{"damaged\n')
    assert list(FileHistory(path).load_history_strings()) == ["two\nlines", "first"]
    assert path.stat().st_mode & 0o077 == 0


def test_a_key_answers_only_after_a_quiet_moment_and_alone() -> None:
    guard = Guard(shown_s=0.0)
    assert not guard.lets_through(0.1, has_more=False)
    assert not guard.lets_through(0.1 + ARMED_AFTER_S * 0.9, has_more=False)
    later = 2.0
    assert not guard.lets_through(later, has_more=True)
    assert not guard.lets_through(later + 0.001, has_more=False)
    assert guard.lets_through(later + 2 * ARMED_AFTER_S, has_more=False)


@pytest.mark.parametrize(
    ("key", "answer"),
    [
        ("y", Answer(True)),
        ("n", Answer(False)),
        ("a", Answer(True, always=True)),
        ("escape", None),
    ],
)
def test_one_key_answers(key: str, answer: Answer | None) -> None:
    said: list[Answer | None] = []
    ask = Ask(call("bash", command="make"), "make", "key")
    approval = Approval(ask, said.append, lambda: None, lambda: None)
    assert not approval.press("enter")
    assert not approval.press("Y")
    assert approval.press(key)
    assert said == [answer]


def test_what_a_preview_leaves_out_can_be_viewed(tmp_path: Path) -> None:
    whole = "\n".join(f"+{number}" for number in range(100))
    ask = Ask(call("str_replace_editor", path="a"), shortened(whole, is_diff=True), "key", whole)
    painter, viewed = Painter(THEMES["mono"], 79), list[str]()
    approval = Approval(ask, lambda _: None, lambda: None, lambda: None, lambda: viewed.append("v"))
    assert approval.press("v")
    assert viewed == ["v"]
    assert " view" in approval.draw(painter)
    assert approval.draw(painter).count("\n") == 1, "it fits 80 columns"
    assert "+55" not in preview(ask, painter)
    assert "+55" in preview(ask, painter, whole)
    short = Ask(ask.call, "+1", "key", "+1")
    assert not Approval(short, lambda _: None, lambda: None, lambda: None).press("v")


def test_a_list_is_narrowed_by_typing_and_chosen_from() -> None:
    chosen: list[int | None] = []
    choices = [Choice("nano"), Choice("Qwen/Qwen3.5-4B"), Choice("Qwen/Qwen3.5-9B", preview="big")]
    picker = Picker("Which?", choices, chosen.append)
    for key in "9B":
        picker.press(key)
    drawn = picker.draw(Painter(THEMES["mono"], 60))
    assert "big" in drawn
    assert "nano" not in drawn
    picker.press("enter")
    picker.press("escape")
    assert chosen == [2, None]
