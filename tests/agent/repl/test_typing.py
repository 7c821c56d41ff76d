"""What is typed: pastes that fold, names that complete, a history that lasts, keys that answer."""

import time
from pathlib import Path

import pytest
from prompt_toolkit.buffer import Buffer
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text.utils import fragment_list_to_text
from prompt_toolkit.input.vt100_parser import Vt100Parser
from prompt_toolkit.key_binding import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout.controls import BufferControl
from prompt_toolkit.layout.processors import TransformationInput

from agent.approval import Answer, Ask
from agent.frontends.repl.completion import PromptCompleter, without_marks
from agent.frontends.repl.dialogs import (
    ARMED_AFTER_S,
    Approval,
    Choice,
    Guard,
    Picker,
)
from agent.frontends.repl.fuzzy import best
from agent.frontends.repl.history import FileHistory
from agent.frontends.repl.names import Names
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.paste import DrawnPastes, Pastes
from agent.frontends.repl.prompt import Prompt
from agent.frontends.repl.source import WholePastes
from agent.frontends.repl.theme import THEMES
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
    names.wait(timeout_s=60.0)
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
        names.wait(timeout_s=60.0)
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
    assert pastes.words(mark) == "[paste 1: 5,000 lines]"
    assert pastes.unfold(f"see {mark}!") == f"see {text}!"
    assert pastes.fold("short\r\nlines") == "short\nlines"


def test_a_mark_can_neither_be_typed_nor_pasted() -> None:
    pastes = Pastes()
    mark = pastes.fold("x\n" * 20)
    assert pastes.unfold("[paste 1: 20 lines]") == "[paste 1: 20 lines]"
    assert pastes.fold(f"a{mark}b") == "ab"


def test_a_mark_is_drawn_as_words_and_passed_as_one() -> None:
    pastes = Pastes()
    line = f"a{pastes.fold('x' * 2_000)}b"
    window = BufferControl(Buffer())
    given = TransformationInput(window, Document(line), 0, lambda at: at, [("", line)], 80, 24)
    drawn = DrawnPastes(pastes).apply_transformation(given)
    words = "[paste 1: 2,000 characters]"
    assert fragment_list_to_text(drawn.fragments) == f"a{words}b"
    end = 1 + len(words)
    assert [drawn.source_to_display(at) for at in range(5)] == [0, 1, end, end + 1, end + 2]
    assert [drawn.display_to_source(at) for at in (0, 1, 9, end, end + 1)] == [0, 1, 1, 2, 3]


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
    assert time.process_time() - begun_s < 10, "minutes, where all is searched for each piece"
    assert len(keys[0].data) == 5_000_000


def test_a_folded_paste_is_remembered_as_what_it_is(tmp_path: Path, names: Names) -> None:
    prompt = Prompt(PromptCompleter(dict, names), tmp_path / "history")
    prompt.buffer.insert_text("see ", fire_event=False)
    prompt.paste("x\n" * 30)
    folded = prompt.buffer.text
    whole = prompt.take()
    prompt.paste("y\n" * 30_000)
    long = prompt.buffer.text
    prompt.take()
    assert [*FileHistory(tmp_path / "history").load_history_strings()] == [whole]
    assert whole == "see " + "x\n" * 30
    assert prompt.buffer.history.get_strings() == [folded, long]


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
    ask = Ask(call("bash", command="make"), "make", "key", "make")
    approval = Approval(ask, said.append, lambda: None, lambda: None)
    assert not approval.press("enter")
    assert not approval.press("Y")
    assert approval.press(key)
    assert said == [answer]


def test_what_was_not_printed_is_viewed_before_it_is_allowed() -> None:
    said, painter = list[Answer | None](), Painter(THEMES["mono"], 79)
    approval = Approval(Ask(call("bash"), "", "key", ""), said.append, lambda: None, lambda: None)
    approval.num_unseen, approval.view = 9, lambda: setattr(approval, "num_unseen", 0)
    for key in "yae":
        assert approval.press(key)
    assert said == []
    assert approval.draw(painter).count("\n") == 1, "it fits 80 columns"
    assert "First look" in approval.draw(painter)
    assert approval.press("v")
    assert not approval.press("v")
    assert " yes" in approval.draw(painter)
    approval.press("y")
    assert said == [Answer(True)]


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
