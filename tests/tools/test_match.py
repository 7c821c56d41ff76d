import random
import time
from itertools import pairwise

import pytest

from tools.match import closest, find_all, find_words, has_line_numbers, line_at
from tools.respace import find_respaced


def respaced(text: str, old: str, new: str) -> str | None:
    found = find_respaced(text, old, new)
    return found and text[: found.start] + found.new + text[found.end :]


def test_every_occurrence_is_found_overlapping_ones_too() -> None:
    assert find_all("aaa", "aa") == [0, 1]
    assert find_all("abc", "x") == []
    assert line_at("a\nb\nc", 4) == 3


@pytest.mark.parametrize(
    ("text", "old", "new", "after"),
    [
        # indentation left out, or too much of it
        ("def f():\n    return a\n", "def f():\n  x", "y", None),
        (
            "if x:\n    a = 1\n    b = 2\n",
            "a = 1\nb = 2",
            "a = 3\nb = 2",
            "if x:\n    a = 3\n    b = 2\n",
        ),
        ("if x:\n    a = 1\n    b = 2\n", "a = 1\nb = 2\n", "c\n", "if x:\n    c\n"),
        ("if x:\n    a\n      b\n", "  a\n    b", "  a\n    c", "if x:\n    a\n      c\n"),
        ("x\ny\n", "    x\n    y", "    x\n        z", "x\n    z\n"),
        ("x\ny\n", "    x\n    y", "  z", None),  # the new text has less than was too much
        # trailing blanks, in the file or in the call
        ("a  \nb\t\nc\n", "a\nb\n", "a\nz\n", "a  \nz\nc\n"),
        ("a\nb\n", "a \nb ", "a \nz", "a\nz\n"),
        ("a\n\n    \nb\n", "a\n\n\nb", "q", "q\n"),
        # tabs for spaces and back
        ("f {\n\tx\n\t\ty\n}\n", "    x\n        y", "    x\n    z", "f {\n\tx\n\tz\n}\n"),
        ("f:\n  x\n    y\n", "\tx\n\t\ty", "\tx\n\t\t\tz", "f:\n  x\n      z\n"),
        ("\tx\n\t\ty\n", "    x\n        y", "      z", None),  # one tab and a half
        # how deep a new line goes is known from the old ones, or not at all
        ("\tif a:\n\t\tx\n", "        x", "    if b:\n        x", None),  # steps of four, or two
        ("\tx\n", "x ", "if a:\n    x", None),  # spaces would stand among tabs
        ("\tx\n", "x ", "y", "\ty\n"),
        ("  x\n", "    x", "    if a:\n        x", None),  # two less, or half
        ("  x\n", "    x", "    y\n    x", "  y\n  x\n"),
        (
            "if a:\n  x\n    y\n",
            "    x\n        y",
            "    x\n            z",
            "if a:\n  x\n      z\n",
        ),
        ("if a:\n  x\n", "if a:\n    x", "if a:\n    if b:\n        x", "if a:\n  if b:\n    x\n"),
        # of two such places none is taken, though one alone is indented in one way
        ("a\n b\nc\n  a\n  b\n", "\ta\n\tb", "d", None),
        # not uniform, not unique, not whole lines, not only white space
        ("a\n  b\n", " a\n b", "x", None),
        ("  a\n    a\n", "\ta", "x", None),
        ("  a = b\n", "a =  b", "x", None),
        ("  a = b\n", "\n\n", "x", None),
        ("  a\nb\n", "\ta\n", "x", None),
        # deleting whole lines
        ("a\n  b\nc\n", "b \n", "", "a\nc\n"),
        ("a\n  b", "\tb\n", "", "a\n"),
        ("a\n  b", "b \n", "", "a\n"),
        # blank lines of the new text get no indentation
        ("    a\n    b\n", "a\nb\n", "a\n\nb\n", "    a\n\n    b\n"),
    ],
)
def test_white_space_alone_may_differ_and_only_in_one_place(
    text: str, old: str, new: str, after: str | None
) -> None:
    assert find_all(text, old) == [], "an exact match needs no rescue"
    assert respaced(text, old, new) == after


def test_a_reindented_text_is_always_found_and_brought_to_the_files_own_indentation() -> None:
    rng = random.Random(3)
    for _ in range(300):
        body = [" " * 4 * rng.randint(0, 2) + f"call_{i}()" for i in range(rng.randint(1, 6))]
        margin, wrong = rng.sample(["", "  ", "    ", " " * 8], 2)
        text = "head\n" + "".join(f"{margin}{line}\n" for line in body) + "tail\n"
        old = "".join(f"{wrong}{line} \n" for line in body)
        new = old.replace(" \n", "\n").replace("call_0", "changed")
        expected = text.replace("call_0", "changed")
        assert respaced(text, old, new) == expected


def test_words_are_found_whole() -> None:
    assert find_words("total = a - b", "a - b") == 8
    assert find_words("data - base; a - b", "a - b") == 13
    assert find_words("data - base", "a - b") is None
    assert find_words("", "a - b") is None


@pytest.mark.parametrize("part", ["x", "==", "() +", "", " \n"])
def test_a_lone_word_or_sign_proves_nothing(part: str) -> None:
    assert find_words("x == () + x\n", part) is None


def test_text_copied_with_its_line_numbers_is_recognised() -> None:
    assert has_line_numbers("   1\tdef f():\n   2\t    return 1")
    assert not has_line_numbers("1\tx\ny")
    assert not has_line_numbers("\n")


def make_lines(num_lines: int) -> list[str]:
    rng = random.Random(num_lines)
    words = ["total", "price", "item", "count", "order", "value", "index", "self", "result"]
    return [
        "    " * rng.randint(0, 3)
        + f"{rng.choice(words)}_{i} = {rng.choice(words)}({rng.choice(words)}, {i % 97})"
        for i in range(num_lines)
    ]


@pytest.mark.parametrize("num_wanted", [1, 5, 40, 400])
def test_the_closest_region_of_a_long_file_is_found_within_a_second(num_wanted: int) -> None:
    lines = make_lines(5000)
    wanted = [line.replace("_", ".") for line in lines[3000 : 3000 + num_wanted]]
    start = time.process_time()  # of this process alone: others may keep the machine busy
    best = closest("\n".join(lines) + "\n", "\n".join(wanted))[0]
    assert time.process_time() - start < 1.0
    assert (best.first, best.last) == (3001, 3000 + num_wanted)
    assert best.percent >= 90


def test_regions_are_at_most_three_best_first_and_do_not_overlap() -> None:
    text = "\n".join(f"value_{i % 7} = compute(value_{i})" for i in range(60))
    regions = closest(text, "value_3 = compute(value_X)\nvalue_4 = compute(value_Y)")
    assert len(regions) == 3
    assert [r.ratio for r in regions] == sorted((r.ratio for r in regions), reverse=True)
    ordered = sorted(regions, key=lambda region: region.first)
    assert all(a.last < b.first for a, b in pairwise(ordered))


def test_nothing_is_close_to_text_of_another_kind() -> None:
    assert closest("alpha = beta\n", "{{{ 9 }}}") == []
    assert closest("", "x") == []
    assert closest("x\n", "  \n") == []
    assert closest("\n", "  \nx") == []


def test_a_text_longer_than_the_file_is_compared_with_all_of_it() -> None:
    (region,) = closest("a = 1\nb = 2\n", "a = 1\nb = 3\nc = 4")
    assert (region.first, region.last) == (1, 2)
    assert region.percent < 90
