"""What a person is shown of a call before it runs, and what their answer is remembered by."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from agent.approval import PLAIN, Effects
from agent.remembered import key_of
from agent.rules import changes_file
from inference.messages import ToolCall
from sandbox.base import View
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.editor import StrReplaceEditor
from tools.editor_forms import Form
from tools.registry import Registry


def effects_on(
    workspace: Workspace, view: View, form: Form, edited: Workspace | None = None
) -> Effects:
    """Tell of calls on these files.

    `form` is that of the editor whose calls they are, `edited` what it works on: the same files,
    unless texts are held elsewhere too.
    """

    def path(text: str) -> str:
        try:
            return str(view.folder / workspace.real(text))
        except PathRefused:
            return text  # the tool refuses it too

    def preview(call: ToolCall) -> str:
        plain = PLAIN.preview(call)
        if not changes_file(call):
            return plain
        tried = _tried(call, edited or workspace, form)
        if tried is None:
            return plain
        if tried.ok:
            return tried.diff or plain
        return f"{plain}\n\nAs the files are now it would fail: {tried.text.strip()}"

    return Effects(preview, lambda call: key_of(call, _reader(workspace)), path)


def _tried(call: ToolCall, workspace: Workspace, form: Form) -> ToolResult | None:
    """Return what comes of an edit, made on a copy of its one file.

    None of a file beside the repository, which the tool does not change.
    """
    with TemporaryDirectory() as folder:
        copy = Workspace(Path(folder), workspace.seen_as)
        editor = Registry([StrReplaceEditor(copy, form)])
        path = str(call.arguments.get("path", ""))
        content = _reader(workspace)(path)
        if content is not None:
            if workspace.resolve(path).is_absolute():
                return None  # the tool changes nothing beside the repository
            copy.write_atomic(path, content)
            # Lines are replaced by their numbers only where they have been seen.
            editor.call(StrReplaceEditor.name, {"command": "view", "path": path})
        return editor.call(call.name, call.arguments)


def _reader(workspace: Workspace) -> Callable[[str], bytes | None]:
    def read(path: str) -> bytes | None:
        with suppress(OSError, PathRefused):
            return workspace.read(path)
        return None

    return read
