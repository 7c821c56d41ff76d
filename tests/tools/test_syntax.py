"""Each language says where it is broken, and only for what the edit broke."""

import pytest

from tools.diff import files_of
from tools.syntax import NotRead, introduced, reader_of
from tools.textfile import unified_diff

BROKEN = [
    ("a.py", "x = 1\n\ndef f(:\n", 3, "invalid syntax near `def f(:`"),
    ("a.py", "if x:\npass\n", 2, "expected an indented block after 'if' statement near `pass`"),
    ("a.py", "x = 1\nreturn x\n", 2, "'return' outside function"),
    ("a.json", '{"a": 1,\n "b" 2}\n', 2, "Expecting ':' delimiter near `\"b\" 2}`"),
    ("a.toml", "a = 1\n[b\n", 2, "near `[b`"),
    ("a.js", "function f() {\n  return (1 + ;\n}\n", 2, "syntax error near `return (1 + ;`"),
    ("a.ts", "let x: = 1;\n", 1, "syntax error near"),
    ("a.go", "package a\nfunc f( {\n}\n", 2, "is missing near `func f( {`"),
    ("a.rs", "fn f() -> { 1 }\n", 1, "syntax error near"),
    ("a.c", "int f(void) { return 1 }\n", 1, "; is missing near `int f(void) { return 1 }` (or"),
    ("a.rb", "def f\n  1\n", 1, "syntax error"),
    ("A.java", "class A { void f() { int x = ; } }\n", 1, "syntax error"),
]


@pytest.mark.parametrize(("path", "text", "line", "words"), BROKEN)
def test_a_broken_text_is_told_with_its_line(path: str, text: str, line: int, words: str) -> None:
    reader = reader_of(path)
    assert reader is not None
    fault = introduced(reader, "", text)[0]
    assert fault.line == line
    assert words in fault.words
    assert introduced(reader, text, f"\n{text}") == (), "moved down, and no fault of the edit"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "x = '\\d'\n"),  # a warning, which is no error
        ("a.js", "const a = <p>{b}</p>;\n"),
    ],
    ids=["warning", "JSX"],
)
def test_what_may_be_well_is_left_alone(path: str, text: str) -> None:
    reader = reader_of(path)
    assert reader is not None
    assert introduced(reader, "", text) == ()


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("a.py", "-" * 200_000 + "1"),  # more than the compiler takes, which proves nothing
        ("a.json", "[" * 100_000),
        ("a.toml", "a = " + "[" * 100_000),
    ],
    ids=["Python", "JSON", "TOML"],
)
def test_what_is_nested_too_deep_is_neither_well_nor_ill(path: str, text: str) -> None:
    reader = reader_of(path)
    assert reader is not None
    with pytest.raises(NotRead):
        introduced(reader, "", text)


@pytest.mark.parametrize("path", ["a.md", "Makefile", "tsconfig.json"])
def test_what_has_no_grammar_here_is_not_read(path: str) -> None:
    assert reader_of(path) is None


def test_a_second_fault_of_the_same_words_is_new() -> None:
    reader = reader_of("a.go")
    assert reader is not None
    fault = "func f( {\n}\n"
    assert len(introduced(reader, f"package a\n{fault}", f"package a\n{fault}{fault}")) == 1


OLD = "".join(f"line {n}\n" for n in range(30))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (OLD, OLD.replace("line 3\n", "").replace("line 20\n", "new\nlines\n")),
        (OLD, f"{OLD}more\n"),
        (OLD, f"more\n{OLD}"),
        (OLD, "x\n"),
        (OLD, ""),
        ("", "x\ny\n"),
        ("-- a\n-- b\n", "++ a\n++ b\n@@ -1 +1 @@\n"),  # rows that look like a header
        *(("x", "y"), ("x\n", "x"), ("x", "x\n"), ("", "x"), (OLD.strip(), f"a\n{OLD.strip()}")),
        (OLD.strip(), OLD.replace("line 29", "line 30")),
    ],
)
def test_a_diff_is_done_and_undone_from_either_text(before: str, after: str) -> None:
    (file,) = files_of(unified_diff("shop/a.py", before, after))
    assert file.path == "shop/a.py"
    assert file.before(after) == before
    assert file.after(before) == after
    assert file.fits(before, "-")
    assert file.fits(after, "+")


def test_a_diff_fits_no_other_text() -> None:
    (file,) = files_of(unified_diff("a.py", OLD, OLD.replace("line 3\n", "new\n")))
    for text in ("", OLD, f"more\n{OLD}", OLD.replace("line 5", "other")):
        assert not file.fits(text, "+")
    assert not file.fits(OLD.replace("line 3\n", "new\n"), "-")


def test_a_new_file_was_nothing_and_a_removed_one_is_not_there() -> None:
    diff = unified_diff("a.py", None, "x\n") + unified_diff("b/c.py", "x\ny\n", "y\n")
    new, changed = files_of(diff)
    assert (new.path, new.is_new, new.before("x\n")) == ("a.py", True, "")
    assert (changed.path, changed.before("y\n")) == ("b/c.py", "x\ny\n")
    assert files_of("--- a/gone.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n") == ()
