"""What a model slips into a call is told; what a file's own text does never is."""

import pytest

from tools import slips


@pytest.mark.parametrize(
    ("path", "region", "new"),
    [
        ("a.py", "x = 1", r"x = 1\ny = 2"),
        ("a.py", "x = 1", r"print(\"x\")"),
        ("a.js", "let x = 1;", r"let x = 1;\n\tlet y = 2;"),
        ("a.go", "x := 1", r"x := 1\n\ty := 2"),
        ("a.c", "if (a < b) {", "if (a &lt; b &amp;&amp; b) {"),
        ("a.rs", "if a < b {", "if a &lt; b {"),
        ("a.ts", "x => y", "x =&gt; y"),
        ("a.java", 's = "x";', "s = &quot;x&quot;;"),
        ("a.rb", "x = 'a'", "x = &#39;a&#39;"),
    ],
)
def test_an_escape_where_the_language_has_none_is_a_slip(path: str, region: str, new: str) -> None:
    said = slips.escaped_new(path, f"{new}\n", region, 0, new)
    assert said is not None
    assert said.endswith("write the character itself.")


@pytest.mark.parametrize(
    ("path", "region", "new"),
    [
        ("a.py", "x = 1", r'x = "a\nb"'),
        ("a.py", "x = 1", r"x = 1  # \n ends it"),
        ("a.py", "x = 1", r'''x = """a\tb \"c\" """'''),
        ("a.py", "x = 1", 's = s.replace("<", "&lt;")'),
        ("a.js", "x", r"x = y.split(/\n/)"),
        ("a.js", "x", r"x = `a\n${y}`"),
        ("a.tsx", "x", "x = <p>a &lt; b</p>"),
        ("a.go", "x", "x = '\\n'"),
        ("a.go", "x", r"x = `\n`"),
        ("a.c", "x", r"char x = '\n';"),
        ("a.c", "x", r'#define BREAK "\n"'),
        ("a.rs", "x", r"let x = '\n';"),
        ("a.rs", "x", "let amp = 1; let x = &amp;"),
        ("a.java", "x", r"char x = '\t';"),
        ("a.rb", "x", r"x = y.split(/\n/)"),
        ("a.rb", "x", r"x = `echo \"a\"`"),
        ("a.c", r"\n", r"\n"),  # the text that is replaced has it too
        ("a.md", "a < b", r"a &lt; b\n"),  # no grammar, no verdict
        ("a.py", "x = 1", "x = 2"),
    ],
)
def test_an_escape_that_a_language_knows_is_none(path: str, region: str, new: str) -> None:
    assert slips.escaped_new(path, f"{new}\n", region, 0, new) is None


def test_the_place_of_an_escape_is_counted_in_bytes() -> None:
    text = 's = "漢字"\nx = 1\\ny = 2\n'
    assert slips.escaped_new("a.py", text, "", 9, text[9:]) is not None
    text = 's = "漢字"\nx = "1\\ny"\n'
    assert slips.escaped_new("a.py", text, "", 9, text[9:]) is None


@pytest.mark.parametrize(
    ("old", "names"),
    [
        (r"if a < b:\n    go()", r"\n"),
        (r"if a < b:\n\tgo()", ""),
        ("if a &lt; b:", "&lt;"),
        (r"if a &lt; b:\n    go()", r"\n, &lt;"),
        (r"say(\"x\")", r"\""),
        ("if a > b:", ""),
        (r"\n", ""),
    ],
)
def test_a_text_that_is_there_without_its_escapes_is_told_by_them(old: str, names: str) -> None:
    text = 'import x\nif a < b:\n    go()\nsay("x")\n'
    said = slips.escaped_old("a.py", text, old)
    assert (said is None) == (names == "")
    if said is not None:
        assert f"it has {names} where line" in said


def test_a_match_inside_of_a_word_is_told_by_the_word() -> None:
    text = "first = 0\ndiscount = 10\n"
    start = text.index("count")
    said = slips.cut_word(text, start, start + len("count = 1"))
    assert said == (
        "old_str occurs only inside of a longer word, discount in line 2; give whole words."
    )
    said = slips.cut_word(text, text.index("disc"), text.index("disc") + len("discount = 1"))
    assert said is not None
    assert "10 in line 2" in said
    assert slips.cut_word(text, 0, len("first = 0\n")) is None
    assert slips.cut_word(r'say("a\nTotal")', 8, 13) is None, "the n is no part of the word"
    assert slips.cut_word("汉字", 1, 2) is None, "not every script has spaces between words"


@pytest.mark.parametrize(
    ("old", "new", "is_slip"),
    [
        ("x()", "x()\ny()", True),  # y would stand at the margin
        ("x()", "    x()", True),  # twice as deep
        ("x()", "x()\n    y()", False),
        ("x()", "x(1)", False),
        ("x()", "", False),
        ("    x()", "    x()\ny()", False),  # said with all there is
        ("x()\n\ndef g():", "x()\n\ndef h():", False),  # the old text ends at the margin too
        ("a():", "b():\n    pass\ndef c():", False),  # no indentation is before it
    ],
)
def test_indentation_that_is_left_out_on_one_side_is_a_slip(
    old: str, new: str, is_slip: bool
) -> None:
    text = "def a():\n    x()\n\ndef g():\n    z()\n"
    assert (slips.half_indented(text, text.index(old), old, new) is not None) == is_slip


def test_a_new_text_that_is_there_already_around_the_old_one_is_doubled() -> None:
    text = "a = 1\nb = 2\nc = 3\n"
    assert slips.doubled(text, 0, "a = 1\n", "a = 1\nb = 2\n") == 0
    assert slips.doubled(text, 6, "b = 2\n", "a = 1\nb = 2\n") == 0
    assert slips.doubled(text, 0, "a = 1\n", "a = 1\nx = 2\n") is None
    assert slips.doubled(text, 0, "a = 1\n", "x = 0\na = 1\n") is None


def test_line_numbers_are_a_slip_where_the_file_has_none() -> None:
    new = "   1\tx\n   2\ty"
    assert slips.numbered_new("x\ny\n", "x", new) is not None
    assert slips.numbered_new("x\ny\n", "   1\tx", new) is None, "the old text is to blame"
    assert slips.numbered_new("1\tAnn\n2\tBob\n", "2\tBob", "3\tEve") is None
    assert slips.numbered_new("id\tname\n7\tBob\n", "id", new) is None
    assert slips.numbered_new("id\tname\n", "", "1\tAnn\n2\tBob") is None, "a table's first rows"


def test_a_text_too_long_for_one_call_is_told_by_its_length() -> None:
    assert slips.too_long("new_str", "x" * slips.MAX_CHARACTERS) is None
    said = slips.too_long("new_str", "x" * (slips.MAX_CHARACTERS + 1))
    assert said is not None
    assert said.startswith("new_str has 100001 characters;")
