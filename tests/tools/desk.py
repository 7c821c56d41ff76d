"""An editor over a folder, called as the registry calls it, that no failed call may change."""

from pathlib import Path
from typing import Any

import pytest

from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.editor import StrReplaceEditor
from tools.editor_forms import FULL, Form
from tools.errors import ToolFailed


class Desk:
    """An editor over a folder, called as the registry calls it."""

    def __init__(self, root: Path, form: Form = FULL) -> None:
        self.root = root
        self.step = 0
        workspace = Workspace(root, Path("/workspace"))
        self.editor = StrReplaceEditor(workspace, form, lambda: self.step)

    def write(self, path: str, content: str | bytes) -> Path:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content.encode() if isinstance(content, str) else content)
        return file

    def run(self, command: str, path: str, **arguments: Any) -> ToolResult:
        return self.editor.run({"command": command, "path": path, **arguments})

    def replace(self, path: str, old: str, new: str) -> ToolResult:
        return self.run("str_replace", path, old_str=old, new_str=new)

    def failure(self, command: str, path: str, **arguments: Any) -> str:
        before = snapshot(self.root)
        with pytest.raises(ToolFailed) as failed:
            self.run(command, path, **arguments)
        assert snapshot(self.root) == before, "a failed call changes nothing"
        return str(failed.value)

    def replace_failure(self, path: str, old: str, new: str) -> str:
        return self.failure("str_replace", path, old_str=old, new_str=new)


def snapshot(root: Path) -> dict[str, bytes]:
    files = (file for file in root.rglob("*") if file.is_file())
    return {str(file.relative_to(root)): file.read_bytes() for file in files}
