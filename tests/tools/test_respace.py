"""The same lines in other white space: found in one place and brought to it, or not found."""

import random

import pytest

from tools.match import find_all
from tools.respace import find_respaced


def respaced(text: str, old: str, new: str) -> str | None:
    found = find_respaced(text, old, new)
    return found and text[: found.start] + found.new + text[found.end :]


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
