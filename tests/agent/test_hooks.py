"""Hooks of the user's settings, run by a real shell; skills, read on demand."""

from pathlib import Path

import pytest

from agent.errors import HookBroken
from agent.hooks import Hooks
from agent.settings import HooksConfig
from inference.messages import ToolCall
from sandbox.base import View, never
from sandbox.direct import Direct
from sandbox.limits import Limits
from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.editor import StrReplaceEditor
from tools.errors import ToolFailed
from tools.skill import Skill, find_skills

EDIT = ToolCall("str_replace_editor", {"command": "create", "path": "a.py"})
FINISH = ToolCall("finish", {"summary": "done"})
EDITED = ToolResult("Created a.py.", "created", diff="+1")


def hooks(tmp_path: Path, wall_s: float = 60.0, **commands: str) -> Hooks:
    config = HooksConfig(**{name: (command,) for name, command in commands.items()})
    editor = StrReplaceEditor(Workspace(tmp_path, tmp_path))
    return Hooks(config, Direct(), View(tmp_path, tmp_path), Limits(wall_s=wall_s), editor)


class Edited:
    """A folder in which an editor edits and hooks follow, as in a session."""

    def __init__(self, folder: Path, after_edit: str) -> None:
        self.file = folder / "a.py"
        view = View(folder, folder)
        self.editor = StrReplaceEditor(Workspace(folder, folder))
        config = HooksConfig(after_edit=(after_edit,))
        self._hooks = Hooks(config, Direct(), view, Limits(wall_s=60), self.editor)

    def __call__(self, command: str, **arguments: object) -> ToolResult:
        call = ToolCall("str_replace_editor", {"command": command, "path": "a.py", **arguments})
        return self._hooks.after(call, self.editor.run(call.arguments), never)


def test_a_failing_hook_refuses_the_call_and_says_why(tmp_path: Path) -> None:
    made = hooks(tmp_path, before_tool='test "$QWEN_AGENT_PATH" != a.py || { echo no a; exit 3; }')
    reason = made.before(EDIT, never)
    assert reason is not None
    assert reason.endswith("failed (exit code 3).\nno a")
    assert made.before(FINISH, never) is None


def test_a_hook_after_an_edit_adds_what_it_says_when_it_fails(tmp_path: Path) -> None:
    made = hooks(tmp_path, after_edit='echo "$QWEN_AGENT_ARGUMENTS"; exit 1')
    result = made.after(EDIT, EDITED, never)
    assert result.text.startswith("Created a.py.\n\nThe user's hook")
    assert '{"command": "create", "path": "a.py"}' in result.text
    assert made.after(FINISH, ToolResult("Finished.", "x"), never).text == "Finished."


def test_a_hook_that_passes_is_silent(tmp_path: Path) -> None:
    made = hooks(tmp_path, after_edit="echo fine", before_finish="true")
    assert made.after(EDIT, EDITED, never) is EDITED
    assert made.before(FINISH, never) is None


FORMAT = "sed -i 's/  *= */ = /; s/;$//' a.py"


def test_the_model_is_shown_what_a_formatter_made_of_its_edit(tmp_path: Path) -> None:
    edited = Edited(tmp_path, FORMAT)
    edited.file.write_text("a = 1\nb = 2\n")
    edited("view")
    result = edited("str_replace", old_str="b = 2", new_str="b   =3;\nc  =4")
    assert edited.file.read_text() == "a = 1\nb = 3\nc = 4\n"
    _, said = result.text.split("\n\n")
    assert said == (
        "The user's hook then changed the file. It is now:\n   1\ta = 1\n   2\tb = 3\n   3\tc = 4"
    )
    assert result.diff == (
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,3 @@\n a = 1\n-b = 2\n+b = 3\n+c = 4\n"
    )


def test_a_formatted_file_is_not_stale_and_the_edit_is_taken_back_whole(tmp_path: Path) -> None:
    edited = Edited(tmp_path, FORMAT)
    edited("create", file_text="a   =1;\n")
    result = edited("str_replace", old_str="a = 1", new_str="a =2;")
    assert "had changed" not in result.text
    assert "is now" in result.text
    edited("insert", insert_line=1, new_str="b = 3")  # refused where the file is another
    edited("undo_edit")
    edited("undo_edit")
    assert edited.file.read_text() == "a = 1\n"
    edited("undo_edit")
    assert not edited.file.exists()


def test_a_hook_that_removes_the_file_is_told(tmp_path: Path) -> None:
    result = Edited(tmp_path, "rm a.py")("create", file_text="a = 1\n")
    assert result.text.endswith("The user's hook then removed a.py.")


def test_an_edit_before_a_hook_made_the_file_no_text_is_not_taken_back(tmp_path: Path) -> None:
    edited = Edited(tmp_path, after_edit="printf '\\0' > a.py")
    assert "is no text after the user's hook" in edited("create", file_text="x = 1\n").text
    with pytest.raises(ToolFailed, match=r"a\.py is no text any more; use bash"):
        edited("undo_edit")


@pytest.mark.parametrize(
    ("command", "wall_s", "cause"),
    [("nosuchprogram", 60.0, "could not be started"), ("sleep 600", 1.0, "did not end within 1 s")],
)
def test_a_hook_that_cannot_be_asked_is_named_to_the_user(
    tmp_path: Path, command: str, wall_s: float, cause: str
) -> None:
    made = hooks(tmp_path, wall_s, before_tool=command)
    with pytest.raises(HookBroken, match=f"hook `{command}` of your settings {cause}"):
        made.before(EDIT, never)


def test_finish_can_be_refused(tmp_path: Path) -> None:
    made = hooks(tmp_path, before_finish="echo lint; false")
    assert made.before(EDIT, never) is None
    assert "lint" in str(made.before(FINISH, never))


@pytest.fixture
def skill(tmp_path: Path) -> Skill:
    folder = tmp_path / "release"
    folder.mkdir()
    (folder / "SKILL.md").write_text('---\ndescription: "How we release."\n---\nTag it.\n')
    (folder / "check.sh").write_text("true\n")
    (folder / "out").symlink_to("/etc/passwd")
    (tmp_path / "notes").mkdir()
    return Skill(find_skills(tmp_path))


def test_skills_are_listed_and_read_when_asked_for(skill: Skill) -> None:
    assert skill.description.endswith("release: How we release.")
    text = skill.run({"name": "release"}).text
    assert "Tag it." in text
    assert text.endswith("[Other files: check.sh]")
    assert skill.run({"name": "release", "file": "check.sh"}).text == "true\n"


@pytest.mark.parametrize("file", ["../notes", "out", "/etc/passwd", "none"])
def test_no_other_file_can_be_read(skill: Skill, file: str) -> None:
    with pytest.raises(ToolFailed, match="has no file"):
        skill.run({"name": "release", "file": file})


def test_no_folder_of_skills_is_no_skill(tmp_path: Path) -> None:
    assert find_skills(tmp_path / "none") == ()
