import os
import resource
import stat
from pathlib import Path

import pytest

from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tests.tools.desk import Desk
from tools.editor import StrReplaceEditor
from tools.errors import ToolFailed

CORE = "def add(a, b):\n    return a - b\n\n\ndef double(a):\n    return a * 2\n"


# ---- the words, exactly


def test_view_numbers_every_line(desk: Desk) -> None:
    desk.write("shop/core.py", CORE)
    result = desk.run("view", "shop/core.py")
    assert result.text == (
        "   1\tdef add(a, b):\n"
        "   2\t    return a - b\n"
        "   3\t\n"
        "   4\t\n"
        "   5\tdef double(a):\n"
        "   6\t    return a * 2"
    )
    assert result.summary == "viewed shop/core.py (lines 1-6)"


def test_view_of_a_range_of_an_empty_file_and_of_a_folder(desk: Desk) -> None:
    desk.write("shop/core.py", CORE)
    desk.write("shop/deep/er/x.py", "")
    desk.write("empty.py", "")
    assert desk.run("view", "shop/core.py", view_range=[5, -1]).text == (
        "   5\tdef double(a):\n   6\t    return a * 2"
    )
    assert desk.run("view", "shop/core.py", view_range=[6, 99]).text == "   6\t    return a * 2"
    assert desk.run("view", "empty.py").text == "[empty file]"
    assert desk.run("view", ".").text == "empty.py\nshop/\nshop/core.py\nshop/deep/"
    assert desk.run("view", "shop").text == "shop/core.py\nshop/deep/\nshop/deep/er/"


def test_a_long_file_is_shown_in_part_and_says_so(desk: Desk) -> None:
    desk.write("long.py", "x = 1\n" * 1200)
    rows = desk.run("view", "long.py").text.split("\n")
    assert len(rows) == 401
    assert rows[-1] == "[lines 401-1200 not shown; use view_range]"
    rest = desk.run("view", "long.py", view_range=[1190, 1200]).text.split("\n")
    assert rest[0] == "1190\tx = 1"
    assert len(rest) == 11


def test_an_edit_answers_with_its_numbered_surroundings(desk: Desk) -> None:
    file = desk.write("shop/core.py", CORE)
    result = desk.replace("shop/core.py", "return a - b", "return a + b")
    assert result.text == (
        "Edited shop/core.py:\n"
        "   1\tdef add(a, b):\n"
        "   2\t    return a + b\n"
        "   3\t\n"
        "   4\t\n"
        "   5\tdef double(a):\n"
        "   6\t    return a * 2"
    )
    assert result.summary == "edited shop/core.py (+1 -1)"
    assert result.diff == (
        "--- a/shop/core.py\n+++ b/shop/core.py\n@@ -1,5 +1,5 @@\n def add(a, b):\n"
        "-    return a - b\n+    return a + b\n \n \n def double(a):\n"
    )
    assert file.read_text() == CORE.replace("a - b", "a + b")


def test_the_snippet_reaches_four_lines_to_each_side(desk: Desk) -> None:
    desk.write("n.txt", "".join(f"{i}\n" for i in range(1, 21)))
    text = desk.replace("n.txt", "10\n11\n", "ten\neleven\n").text
    assert text.split("\n")[1:] == [
        *("   6\t6", "   7\t7", "   8\t8", "   9\t9", "  10\tten", "  11\televen"),
        *("  12\t12", "  13\t13", "  14\t14", "  15\t15"),
    ]
    deleted = desk.replace("n.txt", "ten\neleven\n", "").text
    assert deleted.split("\n")[5:7] == ["  10\t12", "  11\t13"]


def test_create_and_insert_answer_in_their_own_words(desk: Desk) -> None:
    created = desk.run("create", "new/mod.py", file_text="a = 1\nb = 2\n")
    assert created.text == "Created new/mod.py (2 lines)."
    assert created.summary == "created new/mod.py (+2)"
    assert (desk.root / "new/mod.py").read_text() == "a = 1\nb = 2\n"
    inserted = desk.run("insert", "new/mod.py", insert_line=1, new_str="c = 3")
    assert inserted.text == "Edited new/mod.py:\n   1\ta = 1\n   2\tc = 3\n   3\tb = 2"
    assert inserted.summary == "edited new/mod.py (+1 -0)"


def test_text_that_is_not_there_is_answered_with_the_closest_regions(desk: Desk) -> None:
    desk.write("shop/core.py", CORE)
    said = desk.replace_failure("shop/core.py", "    return a-b", "    return a+b")
    assert said == (
        "old_str not found in shop/core.py. Closest:\n"
        "lines 2-2 (91 % alike):\n"
        "   2\t    return a - b\n"
        "lines 6-6 (75 % alike):\n"
        "   6\t    return a * 2"
    )


def test_failures_say_what_to_try(desk: Desk) -> None:
    desk.write("a.py", "x = 1\ny = 2\nx = 1\nz = x\nx = 1\n")
    assert desk.replace_failure("a.py", "x = 1", "x = 2") == (
        "old_str occurs 3 times in a.py (lines 1, 3, 5); give more lines so that it occurs once."
    )
    assert desk.replace_failure("a.py", "y = 2", "y = 2") == (
        "old_str and new_str are the same text."
    )
    assert desk.replace_failure("a.py", "y = 3", "y = 2") == (
        "Already applied: new_str is in a.py at line 2 and old_str is not."
    )
    assert desk.replace_failure("a.py", "", "y") == (
        "old_str is empty; give the text to replace, or use insert."
    )
    desk.write("b.py", "y = 2\n")
    assert desk.replace_failure("b.py", "   2\ty = 2", "y") == (
        "old_str not found in b.py; leave out the line numbers that view shows."
    )
    desk.write("c.py", "y = 2\n")
    assert desk.replace_failure("c.py", "{{{", "y") == (
        "old_str not found in c.py, nor anything like it; view the file."
    )
    assert desk.failure("create", "a.py", file_text="x") == "a.py exists; use str_replace."
    assert desk.failure("view", "d.py") == "d.py does not exist."
    assert desk.failure("str_replace", "a.py", old_str="x") == "str_replace needs new_str."
    assert desk.failure("str_replace", "a.py") == "str_replace needs old_str and new_str."
    assert desk.failure("create", "d.py") == "create needs file_text."
    assert desk.failure("insert", "a.py", new_str="x") == "insert needs insert_line."
    assert desk.failure("undo", "a.py") == (
        "command must be view, create, str_replace, insert or undo_edit, not undo."
    )
    assert desk.failure("insert", "a.py", insert_line=6, new_str="x") == (
        "insert_line must be 0 to 5; a.py has 5 lines."
    )
    assert desk.failure("view", "a.py", view_range=[4, 2]) == (
        "view_range must be [first, last], within 1 to 5; a.py has 5 lines."
    )


@pytest.mark.parametrize("view_range", [[0, 3], [6, 9], [3], [1, 2, 3], [2, -2], []])
def test_a_range_that_is_none_is_refused(desk: Desk, view_range: list[int]) -> None:
    desk.write("a.py", "1\n2\n3\n4\n5\n")
    assert "view_range must be" in desk.failure("view", "a.py", view_range=view_range)


def test_many_occurrences_are_not_all_listed(desk: Desk) -> None:
    desk.write("a.py", "x\n" * 50)
    said = desk.replace_failure("a.py", "x", "y")
    assert "occurs 50 times in a.py (lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...);" in said


# ---- a file that changed under the editor


def test_a_stale_file_is_edited_while_the_text_is_still_unique(desk: Desk) -> None:
    file = desk.write("a.py", "x = 1\ny = 2\n")
    desk.run("view", "a.py")
    file.write_text("import os\nx = 1\ny = 2\n")
    result = desk.replace("a.py", "y = 2", "y = 3")
    assert result.text == (
        "Edited a.py:\n   1\timport os\n   2\tx = 1\n   3\ty = 3\n"
        "Note: the file had changed since you read it."
    )
    assert "Note" not in desk.replace("a.py", "y = 3", "y = 4").text


def test_a_stale_file_is_to_be_viewed_again_once_the_text_is_lost_or_ambiguous(desk: Desk) -> None:
    file = desk.write("a.py", "x = 1\ny = 2\n")
    desk.run("view", "a.py")
    said = "a.py changed since you read it; view it again."
    file.write_text("x = 1\nz = 5\n")
    assert desk.replace_failure("a.py", "y = 2", "y = 3") == said
    assert desk.failure("insert", "a.py", insert_line=1, new_str="q") == said
    file.write_text("y = 2\ny = 2\n")
    assert desk.replace_failure("a.py", "y = 2", "y = 3") == said
    desk.run("view", "a.py")
    assert "occurs 2 times" in desk.replace_failure("a.py", "y = 2", "y = 3")


def test_both_notes_are_told_when_both_are_true(desk: Desk) -> None:
    file = desk.write("a.py", "if a:\n    x = 1\n")
    desk.run("view", "a.py")
    file.write_text("if b:\n    x = 1\n")
    assert desk.replace("a.py", "\tx = 1", "\tx = 2").text == (
        "Edited a.py:\n   1\tif b:\n   2\t    x = 2\n"
        "Note: the file had changed since you read it.\n"
        "Note: matched with different whitespace."
    )


def test_the_editors_own_writes_are_not_changes(desk: Desk) -> None:
    desk.run("create", "a.py", file_text="x = 1\ny = 2\n")
    desk.replace("a.py", "x = 1", "x = 2")
    desk.run("insert", "a.py", insert_line=0, new_str="import os")
    assert "Closest:" in desk.replace_failure("a.py", "y = 22", "y = 3")


# ---- white space


def test_a_difference_of_white_space_alone_is_mended_and_told(desk: Desk) -> None:
    file = desk.write("a.py", "class A:\n    def f(self):\n        return 1   \n")
    result = desk.replace("a.py", "def f(self):\n    return 1", "def f(self):\n    return 2")
    assert result.text == (
        "Edited a.py:\n   1\tclass A:\n   2\t    def f(self):\n   3\t        return 2\n"
        "Note: matched with different whitespace."
    )
    assert file.read_text() == "class A:\n    def f(self):\n        return 2\n"


def test_an_edit_that_was_made_in_other_white_space_is_already_applied(desk: Desk) -> None:
    desk.write("a.py", "class A:\n    x = 1\n")
    assert desk.replace_failure("a.py", "x = 1  ", "x = 1") == (
        "Already applied: new_str is in a.py at line 2 and old_str is not."
    )


def test_nothing_but_white_space_is_forgiven(desk: Desk) -> None:
    desk.write("a.py", "print('x')\n")
    assert "Closest:" in desk.replace_failure("a.py", 'print("x")', 'print("y")')
    assert "Closest:" in desk.replace_failure("a.py", "print( 'x' )", "print('y')")


def test_two_places_in_other_white_space_are_not_guessed_between(desk: Desk) -> None:
    desk.write("a.py", "if a:\n    go(1)\nif b:\n        go(1)\n")
    said = desk.replace_failure("a.py", "\tgo(1)", "\tgo(2)")
    assert said.count("alike") == 2


# ---- bytes


@pytest.mark.parametrize(
    ("before", "old", "new", "after"),
    [
        (b"a\r\nb\r\n", "a\nb", "a\nx\nb", b"a\r\nx\r\nb\r\n"),
        (b"\xef\xbb\xbfa\nb\n", "a", "x", b"\xef\xbb\xbfx\nb\n"),
        (b"a\nb", "b", "c", b"a\nc"),
        (b"\tx\n\ty\n", "\ty", "\tz", b"\tx\n\tz\n"),
        ("naïve = '漢字'\n".encode(), "漢字", "👩‍💻", "naïve = '👩‍💻'\n".encode()),
        (b"a\r\nb\n", "b", "c\nd", b"a\r\nc\nd\n"),
        (b"a\x0cb\n", "b", "c", b"a\x0cc\n"),
        (b"a\r\n  b  \r\n", "\tb", "\tc", b"a\r\n  c\r\n"),
        (b"only", "only", "", b""),
    ],
)
def test_an_edit_changes_no_other_byte(
    desk: Desk, before: bytes, old: str, new: str, after: bytes
) -> None:
    file = desk.write("f", before)
    desk.replace("f", old, new)
    assert file.read_bytes() == after


@pytest.mark.parametrize(
    ("before", "number", "new", "after"),
    [
        (b"a\nb\n", 0, "x", b"x\na\nb\n"),
        (b"a\nb\n", 2, "x\n", b"a\nb\nx\n"),
        (b"a\r\nb\r\n", 1, "x\ny", b"a\r\nx\r\ny\r\nb\r\n"),
        (b"a\nb", 2, "x", b"a\nb\nx"),
        (b"", 0, "x", b"x\n"),
        (b"a\n", 1, "", b"a\n\n"),
        (b"\xef\xbb\xbfa\n", 0, "x", b"\xef\xbb\xbfx\na\n"),
    ],
)
def test_insert_puts_whole_lines_in_the_files_own_endings(
    desk: Desk, before: bytes, number: int, new: str, after: bytes
) -> None:
    file = desk.write("f", before)
    desk.run("insert", "f", insert_line=number, new_str=new)
    assert file.read_bytes() == after


def test_an_emptied_file_is_shown_as_empty(desk: Desk) -> None:
    desk.write("f", "only\n")
    assert desk.replace("f", "only\n", "").text == "Edited f:\n[empty file]"


def test_a_created_file_ends_in_a_newline_and_may_be_empty(desk: Desk) -> None:
    desk.run("create", "a.py", file_text="x = 1")
    assert (desk.root / "a.py").read_bytes() == b"x = 1\n"
    assert desk.run("create", "b.py", file_text="").text == "Created b.py (0 lines)."
    assert (desk.root / "b.py").read_bytes() == b""


def test_the_mode_of_a_file_stays(desk: Desk) -> None:
    file = desk.write("run.sh", "echo a\n")
    file.chmod(0o755)
    desk.replace("run.sh", "echo a", "echo b")
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


@pytest.mark.parametrize("content", [b"\x89PNG\r\n\x1a", b"a\0b\n", b"\xff\xfea"])
def test_a_file_that_is_no_text_is_refused(desk: Desk, content: bytes) -> None:
    desk.write("blob", content)
    said = "blob is not UTF-8 text; this tool cannot open it."
    assert desk.failure("view", "blob") == said
    assert desk.replace_failure("blob", "a", "b") == said


def test_a_file_in_another_encoding_is_shown_and_edited_around_what_is_not_known(
    desk: Desk,
) -> None:
    file = desk.write("a.py", b"# -*- coding: latin-1 -*-\nname = 'Ren\xe9'\nage = 1\n")
    assert desk.run("view", "a.py").text == (
        "   1\t# -*- coding: latin-1 -*-\n   2\tname = 'Ren\ufffd'\n   3\tage = 1\n"
        "[not UTF-8: other bytes are shown as \ufffd]"
    )
    said = desk.replace_failure("a.py", "Ren\ufffd", "Rene")
    assert said == (
        "a.py is not UTF-8: this edit would change what is not ASCII near line 2, or the "
        "character after it; leave both as they are."
    )
    said = desk.replace_failure("a.py", "age = 1", "age = '\u00e9'")
    assert said == "a.py is not UTF-8, so only ASCII text can be put into it."
    desk.replace("a.py", "name = 'Ren\ufffd'\nage = 1", "name = 'Ren\ufffd'\nage = 2")
    assert file.read_bytes() == b"# -*- coding: latin-1 -*-\nname = 'Ren\xe9'\nage = 2\n"
    desk.run("undo_edit", "a.py")
    assert b"age = 1" in file.read_bytes()


# ---- paths


@pytest.mark.parametrize("path", ["../outside.py", "/etc/hostname", "link.py", "folder/secret.py"])
@pytest.mark.parametrize("command", ["view", "create", "str_replace", "insert"])
def test_no_command_leaves_the_workspace(desk: Desk, command: str, path: str) -> None:
    outside = desk.root.parent / "outside"
    outside.mkdir()
    secret = outside / "secret.py"
    secret.write_text("x = 1\n")
    (desk.root / "link.py").symlink_to(secret)
    (desk.root / "folder").symlink_to(outside)
    with pytest.raises((PathRefused, ToolFailed)):
        desk.run(
            *(command, path),
            **{"old_str": "x = 1", "new_str": "x = 2", "file_text": "x", "insert_line": 0},
        )
    assert secret.read_text() == "x = 1\n"
    assert list(outside.iterdir()) == [secret]


def test_a_path_may_be_absolute_within_the_workspace(desk: Desk) -> None:
    desk.write("shop/core.py", CORE)
    result = desk.replace("/workspace/shop/core.py", "a - b", "a + b")
    assert result.text.startswith("Edited shop/core.py:\n")


def test_a_pipe_is_no_file(desk: Desk) -> None:
    os.mkfifo(desk.root / "pipe")
    with pytest.raises((PathRefused, ToolFailed)):
        desk.run("view", "pipe")


def test_a_path_that_cannot_be_is_a_sentence(desk: Desk) -> None:
    desk.write("a.py", "x\n")
    assert desk.failure("view", "a.py/b.py") == "a.py/b.py does not exist."
    for path in ("a.py/b.py", "x" * 300):
        with pytest.raises((PathRefused, ToolFailed)):
            desk.run("create", path, file_text="x")


def test_a_folder_that_takes_no_file_is_a_sentence() -> None:
    editor = StrReplaceEditor(Workspace(Path("/proc/self/task"), Path("/workspace")))
    with pytest.raises(ToolFailed, match=r"^new\.py: .+\.$"):
        editor.run({"command": "create", "path": "new.py", "file_text": "x"})


def test_a_full_disk_is_not_the_models_to_mend_and_leaves_the_file_whole(desk: Desk) -> None:
    file = desk.write("a.py", "x = 1\n")
    _, hard = limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            desk.replace("a.py", "x = 1", "x = 1234567")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert file.read_text() == "x = 1\n"
    assert list(desk.root.iterdir()) == [file]


def test_a_long_listing_is_cut_and_odd_names_are_readable(desk: Desk) -> None:
    desk.write("many/\x1b[31mred.py", "")
    (desk.root / os.fsdecode(b"many/\xff.py")).write_text("")
    assert desk.run("view", "many").text == "many/red.py\nmany/?.py"
    for number in range(500):
        desk.write(f"many/{number:03}.py", "")
    rows = desk.run("view", "many").text.split("\n")
    assert rows[-1] == "[102 more not shown; view a directory below]"
    assert len(rows) == 401


def test_a_folder_can_only_be_viewed(desk: Desk) -> None:
    desk.write("shop/core.py", CORE)
    said = "shop is a directory; only view works on it."
    assert desk.replace_failure("shop", "a", "b") == said
    assert desk.failure("create", "shop", file_text="x") == "shop exists; use str_replace."
