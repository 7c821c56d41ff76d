"""`todo`: the list of what is to be done, given whole each time; it changes no file.

Front ends show it, `finish` asks for what is open, and a shortened conversation keeps it.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from sandbox.base import Cancel, never
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed

MAX_ITEMS = 30
MAX_CHARACTERS = 200
"""Of one item."""
_ROW = re.compile(r"(?:[-*+]\s+|\d+[.)]\s+)?(?:\[(?P<mark>[^\]]?)\]\s*)?(?P<text>.*)")
_DONE = frozenset("xX✓✔")


@dataclass(frozen=True)
class Item:
    """One thing to do."""

    text: str
    is_done: bool = False

    def __str__(self) -> str:
        return f"[{'x' if self.is_done else ' '}] {self.text}"


class Todo:
    """Keeps the list of one conversation."""

    name = "todo"
    description = (
        "Keep a list of steps for work that takes several. Give the whole list each time: "
        '"[ ] step" is open, "[x] step" is done.'
    )
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "items": {"type": "string"},
                "description": 'Like ["[x] find the cause", "[ ] mend it"].',
            }
        },
        "required": ["items"],
    }

    def __init__(self, on_change: Callable[[tuple[Item, ...]], None] = lambda items: None) -> None:
        self.items: tuple[Item, ...] = ()
        """The list as it was given last."""
        self._on_change = on_change

    def open_items(self) -> tuple[str, ...]:
        """Return the texts of what is not done."""
        return tuple(item.text for item in self.items if not item.is_done)

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Take a new list in the place of the old one.

        Raises:
            ToolFailed: it is too long, or one of its items is.
        """
        items = read_items(arguments["items"])
        known = {item.text for item in items}
        dropped = [text for text in self.open_items() if text not in known]
        if items != self.items:
            self.items = items
            self._on_change(items)
        return ToolResult("\n".join([self._state(), *_told(dropped)]), self._summary())

    def _state(self) -> str:
        if not self.items:
            return "The list is empty."
        left = self.open_items()
        return f"{self._summary()}. " + (f"Next: {left[0]}" if left else "Nothing is open.")

    def _summary(self) -> str:
        return f"{len(self.items) - len(self.open_items())} of {len(self.items)} done"


def as_text(items: Sequence[Item]) -> str:
    """Write a list as the tool takes it, an item a line."""
    return "\n".join(map(str, items))


def read_items(rows: Sequence[str]) -> tuple[Item, ...]:
    """Read the items; one text of several lines, with or without bullets, is a list too.

    Raises:
        ToolFailed: there are too many, or one is too long.
    """
    found = [_item(line.strip()) for row in rows for line in row.split("\n")]
    items = tuple(item for item in found if item.text)
    if len(items) > MAX_ITEMS:
        raise ToolFailed(f"{len(items)} items are too many; give {MAX_ITEMS} at most.")
    for item in items:
        if len(item.text) > MAX_CHARACTERS:
            raise ToolFailed(f"An item has {MAX_CHARACTERS} characters at most: {item.text[:60]}")
    return items


def _item(line: str) -> Item:
    row = _ROW.fullmatch(line)
    assert row is not None, "the pattern takes every line"
    return Item(row["text"].strip(), (row["mark"] or "") in _DONE)


def _told(dropped: Sequence[str]) -> list[str]:
    """Name the open items that the new list leaves out, which may be by oversight."""
    return [f"Left out and not done: {'; '.join(dropped)}"] if dropped else []
