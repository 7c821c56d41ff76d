"""A call in a person's words, on one line: which file it edits or which command it runs."""

from agent.preview import spelled
from agent.rules import EDITOR
from inference.messages import BadToolCall, ToolCall

EDITING = {"view": "view", "create": "create", "undo_edit": "undo edit of"}
"""What a call of the editor is called; else it is an edit."""


def words_of(call: ToolCall | BadToolCall) -> str:
    """Say a call; a file name is written so that no character of it is left out or obeyed."""
    if not isinstance(call, ToolCall):
        return f"a call that cannot be read: {call.reason}"
    arguments = dict(call.arguments)
    if call.name == EDITOR:
        verb = EDITING.get(str(arguments.get("command")), "edit")
        return f"{verb} {spelled(str(arguments.get('path', '')))}"
    first = [str(arguments.pop(name)) for name in ("command", "path") if name in arguments]
    rest = [str(value) for value in arguments.values()]
    return " ".join([call.name, *first, *rest])
