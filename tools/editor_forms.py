"""What a model is told of the editor: the words and the schema, in the two forms there are.

nano was trained on the words of the first form, so those never change. Every other model has the
second, and with it what the editor learned since: see `Form.is_plain`.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

_DESCRIPTION = (
    "View, create and edit files. view: numbered lines of a file, or a directory's files. "
    "create: a new file holding file_text. str_replace: replace old_str, which must occur "
    "exactly once in the file, by new_str. insert: put new_str after line insert_line."
)
_PARAMETERS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
        "path": {"type": "string", "description": "File or directory, from the workspace."},
        "file_text": {"type": "string", "description": "For create."},
        "old_str": {
            "type": "string",
            "description": "For str_replace: exact text, without line numbers.",
        },
        "new_str": {"type": "string", "description": "For str_replace and insert."},
        "insert_line": {"type": "integer", "description": "For insert; 0 is the top."},
        "view_range": {
            "type": "array",
            "items": {"type": "integer"},
            "description": "For view: [first, last]; last -1 is the end.",
        },
    },
    "required": ["command", "path"],
}


@dataclass(frozen=True)
class Form:
    """One way of speaking about the editor."""

    description: str
    parameters: Mapping[str, Any]
    is_plain: bool
    """Whether it says only what nano knows: no view is called unchanged, no slip of the hand is
    refused, no replacing by line number is offered."""

    @property
    def commands(self) -> Sequence[str]:
        """The commands there are, in order."""
        names: Sequence[str] = self.parameters["properties"]["command"]["enum"]
        return names


def _with_undo(parameters: dict[str, Any]) -> dict[str, Any]:
    parameters = deepcopy(parameters)
    parameters["properties"]["command"]["enum"].append("undo_edit")
    return parameters


FOR_NANO = Form(_DESCRIPTION, _PARAMETERS, is_plain=True)
FULL = Form(
    f"{_DESCRIPTION} undo_edit: take back your last edit of the file.",
    _with_undo(_PARAMETERS),
    is_plain=False,
)
