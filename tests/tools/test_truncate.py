import pytest

from tools.truncate import clean, cut_middle, number_lines


@pytest.mark.parametrize(
    ("noisy", "plain"),
    [
        ("\x1b[1;31mFAILED\x1b[0m test", "FAILED test"),
        ("\x1b]0;title\x07done", "done"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1bPq#0;2\x1b\\after", "after"),
        ("\x1b(Bplain\x1b=", "plain"),
        ("\x9b31mred", "red"),
        ("\x1b[", ""),
        ("10%\r50%\r100%\n", "100%\n"),
        ("100%\r", "100%"),
        ("a\r\nb\r\n", "a\nb\n"),
        ("abc\b\b\bxyz", "xyz"),
        ("\b\bstart", "start"),
        ("line\n\bnext", "line\nnext"),
        ("a\0b\x07c\x7fd\x85e", "abcde"),
        ("tab\tstays, so does é 漢 👩‍💻\n", "tab\tstays, so does é 漢 👩‍💻\n"),
    ],
)
def test_only_what_a_person_would_have_read_is_left(noisy: str, plain: str) -> None:
    assert clean(noisy) == plain


def test_cleaning_clean_text_changes_nothing() -> None:
    once = clean("\x1b[2K\x1b]0;" + "\b\r" * 50 + "\x1b\x1b[[31mm text \x9b\x9c")
    assert clean(once) == once


def test_a_flood_of_backspaces_or_open_escapes_is_cleaned_in_linear_time() -> None:
    assert clean("a" * 200_000 + "\b" * 200_000) == ""
    assert clean("\x1b]0;" * 100_000) == ""


def test_both_ends_of_a_long_output_are_kept_and_the_cut_is_counted() -> None:
    cut = cut_middle("a" * 50 + "b" * 100 + "c" * 50, 100)
    assert cut == "a" * 50 + "\n[... 100 characters cut ...]\n" + "c" * 50
    assert cut_middle("short", 100) == "short"


def test_the_count_includes_what_was_cut_before() -> None:
    assert "[... 900 characters cut ...]" in cut_middle("x" * 200, 100, num_total=1000)


def test_lines_are_numbered_from_the_first() -> None:
    assert number_lines(["a", "", "\tb"], first=9) == "   9\ta\n  10\t\n  11\t\tb"
    assert number_lines(["x"], first=12345) == "12345\tx"
    assert number_lines([]) == ""


def test_lines_that_do_not_fit_are_named() -> None:
    text = number_lines(["x"] * 1200)
    assert text.split("\n")[399] == " 400\tx"
    assert text.endswith("\n[lines 401-1200 not shown; use view_range]")
    assert number_lines(["x"] * 400).endswith(" 400\tx")


def test_bytes_limit_the_lines_too_and_one_line_is_always_shown() -> None:
    text = number_lines(["é" * 1000] * 30)
    assert len(text.encode()) < 25 * 1024
    assert text.endswith("[lines 13-30 not shown; use view_range]") or "not shown" in text
    only = number_lines(["z" * 100_000])
    assert only == "   1\t" + "z" * 2000 + "[... 98000 characters cut ...]"
