"""What the editor remembers in a conversation: edits to take back, what was shown, misses."""

import stat
from pathlib import Path

import pytest

from sandbox.workspace import Workspace
from tests.tools.desk import Desk
from tools.editor import StrReplaceEditor
from tools.editor_forms import FOR_NANO
from tools.errors import ToolFailed

LINES = "".join(f"line {number}\n" for number in range(1, 31))


# ---- undo


def test_edits_are_taken_back_one_by_one_to_the_byte(desk: Desk) -> None:
    contents = [b"\xef\xbb\xbfa = 1\r\nb = 2\nc"]
    file = desk.write("a.py", contents[0])
    file.chmod(0o755)
    desk.replace("a.py", "a = 1", "a = 2\nx = 3")
    contents.append(file.read_bytes())
    desk.run("insert", "a.py", insert_line=0, new_str="import os")
    contents.append(file.read_bytes())
    desk.replace("a.py", "c", "d = 4")
    for content in reversed(contents):
        desk.run("undo_edit", "a.py")
        assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o755
    assert desk.failure("undo_edit", "a.py") == (
        "There is nothing to undo in a.py: it was not edited in this run."
    )


def test_what_was_taken_back_is_shown(desk: Desk) -> None:
    desk.write("a.py", LINES)
    desk.replace("a.py", "line 10\n", "ten\nmore\n")
    result = desk.run("undo_edit", "a.py")
    assert result.text == (
        "Took back the last edit of a.py:\n"
        + "".join(f"{number:>4}\tline {number}\n" for number in range(6, 15))[:-1]
    )
    assert result.summary == "took back an edit of a.py (+1 -2)"
    assert result.diff is not None
    assert "-ten\n-more\n+line 10\n" in result.diff


def test_an_edit_under_which_the_file_changed_is_not_taken_back(desk: Desk) -> None:
    file = desk.write("a.py", "x = 1\n")
    desk.replace("a.py", "x = 1", "x = 2")
    file.write_text("x = 2\ny = 3\n")
    said = (
        "a.py has changed since your last edit, so that edit cannot be taken back; "
        "view the file and use str_replace."
    )
    assert desk.failure("undo_edit", "a.py") == said
    file.unlink()
    assert desk.failure("undo_edit", "a.py") == said
    file.write_text("x = 2\n")
    desk.run("undo_edit", "a.py")
    assert file.read_text() == "x = 1\n"


def test_a_created_file_is_taken_back_by_removing_it(desk: Desk) -> None:
    desk.run("create", "new/a.py", file_text="x = 1\n")
    desk.replace("new/a.py", "x = 1", "x = 2")
    desk.run("undo_edit", "new/a.py")
    result = desk.run("undo_edit", "new/a.py")
    assert result.text == "Removed new/a.py, which you had created."
    assert not (desk.root / "new/a.py").exists()
    assert desk.run("create", "new/a.py", file_text="y\n").ok


def test_each_file_has_its_own_edits(desk: Desk) -> None:
    desk.write("a.py", "x = 1\n")
    desk.write("b.py", "x = 1\n")
    desk.replace("a.py", "x = 1", "x = 2")
    assert "nothing to undo" in desk.failure("undo_edit", "b.py")
    desk.run("undo_edit", "./a.py")
    assert (desk.root / "a.py").read_text() == "x = 1\n"


def test_a_new_process_has_nothing_to_undo(desk: Desk) -> None:
    desk.write("a.py", "x = 1\n")
    desk.replace("a.py", "x = 1", "x = 2")
    assert "nothing to undo" in Desk(desk.root).failure("undo_edit", "a.py")


# ---- views


def test_a_view_that_would_repeat_itself_names_the_step_instead(desk: Desk) -> None:
    desk.write("a.py", "x = 1\ny = 2\n")
    desk.step = 3
    first = desk.run("view", "a.py").text
    desk.step = 5
    result = desk.run("view", "a.py", view_range=[1, -1])
    assert result.text == "Unchanged since step 3: lines 1-2 of a.py are as shown there."
    assert result.summary == "viewed a.py (unchanged)"
    assert desk.run("view", "a.py", view_range=[2, 2]).text == "   2\ty = 2"
    desk.editor.forget()
    desk.step = 9
    assert desk.run("view", "a.py").text == first
    assert "since step 9" in desk.run("view", "a.py").text


def test_a_file_that_changed_in_any_way_is_shown_whole(desk: Desk) -> None:
    file = desk.write("a.py", "x = 1\n")
    desk.run("view", "a.py")
    desk.replace("a.py", "x = 1", "x = 2")
    assert desk.run("view", "a.py").text == "   1\tx = 2"
    desk.run("undo_edit", "a.py")
    assert desk.run("view", "a.py").text == "   1\tx = 1"
    file.write_text("x = 3\n")
    assert desk.run("view", "a.py").text == "   1\tx = 3"


def test_without_a_counter_the_calls_are_the_steps(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x\n")
    editor = StrReplaceEditor(Workspace(tmp_path, tmp_path))
    editor.run({"command": "view", "path": "a.py"})
    assert "since step 1:" in editor.run({"command": "view", "path": "a.py"}).text


# ---- lines by number

OFFER = (
    "\nOr replace whole lines by number: str_replace with view_range [first, last] and new_str, "
    "without old_str."
)


def test_the_second_miss_in_a_row_on_a_file_offers_lines_by_number(desk: Desk) -> None:
    desk.write("a.py", LINES)
    desk.write("b.py", LINES)
    for path in ("a.py", "b.py"):
        assert OFFER not in desk.replace_failure(path, "line X", "y")
    assert desk.replace_failure("a.py", "line", "y").endswith(OFFER)
    assert OFFER not in desk.replace_failure("a.py", "line X", "y")
    desk.replace("b.py", "line 2\n", "two\n")
    assert OFFER not in desk.replace_failure("b.py", "line X", "y")
    assert desk.replace_failure("b.py", "line X", "y").endswith(OFFER)


def test_lines_that_were_shown_are_replaced_by_number(desk: Desk) -> None:
    file = desk.write("a.py", b"a\r\nb\r\nc")
    desk.run("view", "a.py")
    desk.run("str_replace", "a.py", view_range=[2, 2], new_str="x\ny\n")
    assert file.read_bytes() == b"a\r\nx\r\ny\r\nc"
    desk.run("str_replace", "a.py", view_range=[2, 3], new_str="", old_str="")
    assert file.read_bytes() == b"a\r\nc"
    desk.run("str_replace", "a.py", view_range=[2, -1], new_str="d")
    assert file.read_bytes() == b"a\r\nd"
    assert "Already applied" in desk.failure(
        "str_replace", "a.py", view_range=[2, 2], new_str="d\n"
    )


def test_lines_are_not_replaced_by_numbers_that_may_be_others_now(desk: Desk) -> None:
    file = desk.write("a.py", LINES)
    said = "Lines 20-21 of a.py were not shown as they are now; view them first."

    def replace_lines() -> str:
        return desk.failure("str_replace", "a.py", view_range=[20, 21], new_str="new")

    assert replace_lines() == said
    desk.run("view", "a.py", view_range=[1, 20])
    assert replace_lines() == said
    desk.run("view", "a.py")
    desk.replace("a.py", "line 3\n", "")
    assert replace_lines() == said, "one line less above them"
    desk.run("view", "a.py", view_range=[20, 21])
    file.write_text(LINES)
    assert replace_lines() == "a.py changed since you read it; view it again."
    desk.run("view", "a.py")
    desk.replace("a.py", "line 3\n", "three\n")
    desk.run("str_replace", "a.py", view_range=[20, 21], new_str="new")
    assert file.read_text().split("\n")[18:21] == ["line 19", "new", "line 22"]


def test_lines_that_a_view_left_out_were_not_shown(desk: Desk) -> None:
    desk.write("long.py", "x = 1\n" * 1200)
    desk.run("view", "long.py")
    said = desk.failure("str_replace", "long.py", view_range=[401, 401], new_str="y")
    assert "were not shown" in said
    assert desk.run("str_replace", "long.py", view_range=[400, 400], new_str="y").ok


def test_a_range_past_the_end_is_refused_where_it_would_be_written(desk: Desk) -> None:
    desk.write("a.py", "a\nb\n")
    desk.run("view", "a.py")
    for view_range in ([2, 3], [0, 1], [3, 3], [2]):
        said = desk.failure("str_replace", "a.py", view_range=view_range, new_str="x")
        assert said.startswith("view_range must be")


def test_nothing_is_inserted_at_a_number_from_before_an_edit(desk: Desk) -> None:
    file = desk.write("a.py", LINES)
    desk.run("view", "a.py")
    desk.run("insert", "a.py", insert_line=2, new_str="new")
    assert desk.failure("insert", "a.py", insert_line=20, new_str="x = 1") == (
        "Lines 20-21 of a.py were not shown as they are now; view them first."
    )
    desk.run("insert", "a.py", insert_line=1, new_str="above")
    desk.run("insert", "a.py", insert_line=32, new_str="at the end")
    desk.run("view", "a.py", view_range=[20, 21])
    desk.run("insert", "a.py", insert_line=20, new_str="x = 1")
    assert file.read_text().split("\n")[19:21] == ["line 18", "x = 1"]


def test_nothing_is_inserted_at_a_number_from_before_another_hand_changed_the_file(
    desk: Desk,
) -> None:
    file = desk.write("a.py", LINES)
    desk.run("view", "a.py")
    file.write_text(f"new\n{LINES}")
    desk.run("view", "a.py", view_range=[1, 3])
    assert "were not shown" in desk.failure("insert", "a.py", insert_line=20, new_str="x = 1")
    desk.run("insert", "a.py", insert_line=2, new_str="x = 1")
    assert file.read_text().startswith("new\nline 1\nx = 1\n")


# ---- slips


def test_an_edit_that_is_there_already_is_not_made_twice(desk: Desk) -> None:
    desk.write("a.py", "x = 1\nz = 3\n")
    desk.replace("a.py", "x = 1\n", "x = 1\ny = 2\n")
    said = "Already applied: new_str is in a.py at line 1."
    assert desk.replace_failure("a.py", "x = 1\n", "x = 1\ny = 2\n") == said
    desk.run("insert", "a.py", insert_line=3, new_str="w = 4")
    assert desk.failure("insert", "a.py", insert_line=3, new_str="w = 4") == (
        "Already applied: new_str is in a.py at line 4."
    )


def test_what_is_left_of_the_old_text_is_no_proof_that_it_was_replaced(desk: Desk) -> None:
    desk.write("a.py", "def f():\n    go(1)\n    stop()\n")
    said = desk.replace_failure("a.py", "def f():\n    go(1)\n    halt()", "def f():\n    go(1)")
    assert said.startswith("old_str not found in a.py. Closest:")


def test_slips_are_refused_in_every_command_that_writes(desk: Desk) -> None:
    desk.write("a.py", "x = 1\ny = 2\n")
    desk.run("view", "a.py")
    slip = {"new_str": r"if x:\n    go()"}
    bare = r"new_str has \n outside of any string"
    assert bare in desk.failure("str_replace", "a.py", old_str="x = 1", **slip)
    assert bare in desk.failure("insert", "a.py", insert_line=1, **slip)
    assert bare in desk.failure("str_replace", "a.py", view_range=[1, 1], **slip)
    assert r"has \n outside" in desk.failure("create", "b.py", file_text=r"x = 1\ny = 2")
    long = "x" * 100_001
    assert "at a time" in desk.failure("create", "b.py", file_text=long)
    assert "at a time" in desk.failure("insert", "a.py", insert_line=0, new_str=long)
    desk.write("c.py", "discount = 1\n")
    assert "whole words" in desk.replace_failure("c.py", "count = 1", "count = 2")


# ---- nano


def test_nano_meets_none_of_this(tmp_path: Path) -> None:
    desk = Desk(tmp_path, FOR_NANO)
    file = desk.write("a.py", "x = 1\ny = 2\n")
    whole = desk.run("view", "a.py").text
    assert desk.run("view", "a.py").text == whole
    assert desk.failure("undo_edit", "a.py") == (
        "command must be view, create, str_replace or insert, not undo_edit."
    )
    first, second = (desk.replace_failure("a.py", "x = 3", "x = 4") for _ in range(2))
    assert first == second
    with pytest.raises(ToolFailed, match=r"^str_replace needs old_str\.$"):
        desk.run("str_replace", "a.py", view_range=[1, 1], new_str="z")
    desk.replace("a.py", "x = 1", r"x = 1\nz = 2")
    assert file.read_text() == "x = 1\\nz = 2\ny = 2\n"
