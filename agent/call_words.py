"""A call in a person's words, on one line: which file it edits or which command it runs.

And of one that cannot be read what is told instead of carrying it out, to a person and the model.
"""

from agent.models import NANO
from agent.preview import spelled
from agent.rules import EDITOR
from agent.wording import prompt
from inference.chat import ChatModel
from inference.messages import BadToolCall, ToolCall

EDITING = {"view": "view", "create": "create", "undo_edit": "undo edit of"}
"""What a call of the editor is called; else it is an edit."""


def words_of(call: ToolCall | BadToolCall) -> str:
    """Say a call; a file name is written so that no character of it is left out or obeyed."""
    if not isinstance(call, ToolCall):
        return f"{kind_of_bad(call)}: {call.reason}"
    arguments = dict(call.arguments)
    if call.name == EDITOR:
        verb = EDITING.get(str(arguments.get("command")), "edit")
        return f"{verb} {spelled(str(arguments.get('path', '')))}"
    first = [str(arguments.pop(name)) for name in ("command", "path") if name in arguments]
    rest = [str(value) for value in arguments.values()]
    return " ".join([call.name, *first, *rest])


def kind_of_bad(call: BadToolCall) -> str:
    """Say in a few words what is wrong with a call."""
    if call.cut_at:
        return f"a call that was cut off at {call.cut_at:,} tokens"
    return "a call that cannot be read"


def answer_to_bad(call: BadToolCall, chat: ChatModel) -> str:
    """Tell a model what was wrong with its call; nano in the words that it always had."""
    if call.cut_at and chat.name != NANO:
        return prompt("cut_off", limit=f"{call.cut_at:,}")
    return call.reason
