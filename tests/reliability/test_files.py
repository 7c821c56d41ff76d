"""R25, R27, R30: repositories in the workspace, undo over a newer version, bytes that must stay.

Each case once; the exhaustive ones are in tests/sandbox/test_checkpoint.py and tests/tools.
"""

import stat
import subprocess
from pathlib import Path

import pytest

from agent.rewind import last_change, redo, rewind
from agent.session import Session
from inference.messages import Message, ToolCall
from sandbox.checkpoint import Checkpoint
from sandbox.workspace import Workspace
from tests.agent.fakes import make_repository, picture, write
from tools.editor import StrReplaceEditor
from tools.editor_forms import FULL
from tools.errors import ToolFailed


def test_r25_a_checkpoint_keeps_files_beside_a_nested_repository_and_moves_neither(
    tmp_path: Path,
) -> None:
    outer = make_repository(tmp_path / "outer")
    inner = make_repository(outer / "vendor/inner")
    before = picture(outer)
    checkpoint = Checkpoint.create(tmp_path / "shadow", outer)
    base = checkpoint.save("base")
    assert checkpoint.file(base, "vendor/inner/shop/cart.py") is not None
    (inner / "shop/cart.py").write_text("broken\n")
    checkpoint.restore(base)
    assert picture(outer) == before
    for folder in (outer, inner):
        subprocess.run(["git", "fsck"], cwd=folder, check=True, capture_output=True, timeout=30)


def test_r27_the_editor_takes_nothing_back_over_a_newer_version(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text("x = 1\n")
    editor = StrReplaceEditor(Workspace(tmp_path, tmp_path), FULL)
    editor.run({"command": "str_replace", "path": "a.py", "old_str": "1", "new_str": "2"})
    file.write_text("x = 2\nmine = True\n")
    with pytest.raises(ToolFailed, match="cannot be taken back"):
        editor.run({"command": "undo_edit", "path": "a.py"})
    assert file.read_text() == "x = 2\nmine = True\n"


def test_r27_what_a_rewind_takes_away_can_be_had_back(tmp_path: Path) -> None:
    tree = tmp_path / "work"
    write(tree, {"a.py": "a = 0\n"})
    checkpoint = Checkpoint.create(tmp_path / "shadow", tree)
    session = Session.create(tmp_path / "state", {})
    session.begin(1, "repair", checkpoint.save("base"), "You repair.")
    session.add(Message("user", "Make a one."))
    calls = (ToolCall("str_replace_editor", {"path": "a.py"}),)
    session.add(Message("assistant", "", "", calls))
    write(tree, {"a.py": "a = 1\n"})
    session.add(Message("tool", "Edited."), checkpoint=checkpoint.save("step"))
    write(tree, {"a.py": "a = 'by the user'\n"})
    rewind(session, checkpoint, last_change(session))
    assert (tree / "a.py").read_text() == "a = 0\n"
    session.close()
    session = Session.open(session.folder)
    redo(session, checkpoint)
    assert (tree / "a.py").read_text() == "a = 'by the user'\n"
    session.close()


def test_r30_mode_endings_mark_and_missing_newline_stay(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_bytes(b"\xef\xbb\xbfa = 1\r\nb = 2")
    file.chmod(0o755)
    editor = StrReplaceEditor(Workspace(tmp_path, tmp_path), FULL)
    editor.run({"command": "str_replace", "path": "a.py", "old_str": "a = 1", "new_str": "a = 3"})
    assert file.read_bytes() == b"\xef\xbb\xbfa = 3\r\nb = 2"
    assert stat.S_IMODE(file.stat().st_mode) == 0o755


def test_r30_what_is_no_text_is_not_edited(tmp_path: Path) -> None:
    file = tmp_path / "data.bin"
    file.write_bytes(b"\x00\xff\xfe1\x80")
    editor = StrReplaceEditor(Workspace(tmp_path, tmp_path), FULL)
    with pytest.raises(ToolFailed):
        editor.run({"command": "str_replace", "path": "data.bin", "old_str": "1", "new_str": "2"})
    assert file.read_bytes() == b"\x00\xff\xfe1\x80"
