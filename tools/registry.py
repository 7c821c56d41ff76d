"""The tools of a session, in the order the model sees them, and the one way to call them.

A wrong call is a result with one line that shows the right form, so a model can mend it at once.
Whether a call is allowed is decided elsewhere.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sandbox.base import Cancel, never
from sandbox.errors import CommandRefused, PathRefused
from tools.base import Arguments, Tool, ToolResult
from tools.errors import ToolFailed

_KINDS = {"string": "a string", "integer": "an integer", "boolean": "true or false"}
_LISTS = {"integer": "a list like [1, 20]", "string": 'a list like ["a", "b"]'}


@dataclass(frozen=True)
class Spec:
    """What the model is told of one tool."""

    name: str
    description: str
    parameters: Mapping[str, Any]


class Registry:
    """The tools by name; the order and the schemas never change."""

    def __init__(self, tools: Sequence[Tool]) -> None:
        self._tools = {tool.name: tool for tool in tools}
        assert len(self._tools) == len(tools), "two tools share a name"

    def specs(self) -> tuple[Spec, ...]:
        """Return what the model is told, in order."""
        return tuple(
            Spec(tool.name, tool.description, tool.parameters) for tool in self._tools.values()
        )

    def call(self, name: str, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Check the arguments and run the tool; every failure meant for the model is a result."""
        try:
            tool = self._tool(name)
            return tool.run(_checked(tool, arguments), cancel)
        except (ToolFailed, PathRefused, CommandRefused) as error:
            return _failed(name, error)

    def takes(self, name: str, arguments: Arguments) -> bool:
        """Say whether a call is right in its form, so that it would be run."""
        try:
            _checked(self._tool(name), arguments)
        except ToolFailed:
            return False
        return True

    def _tool(self, name: str) -> Tool:
        if name not in self._tools:
            raise ToolFailed(f"There is no tool {name}; use {', '.join(self._tools)}.")
        return self._tools[name]


def _failed(name: str, error: Exception) -> ToolResult:
    text = str(error)
    first_line = text.split("\n")[0]
    return ToolResult(text, f"{name} failed: {first_line}", ok=False)


def _checked(tool: Tool, arguments: Arguments) -> dict[str, Any]:
    """Return the arguments in the types of the schema.

    Raises:
        ToolFailed: one is missing, unknown or of another type.
    """
    properties: Mapping[str, Mapping[str, Any]] = tool.parameters["properties"]
    checked: dict[str, Any] = {}
    for name, value in arguments.items():
        if name not in properties:
            raise ToolFailed(f"{tool.name} has no parameter {name}. {_form(tool)}")
        schema = properties[name]
        if value is None or (value == "" and schema.get("type", "string") != "string"):
            continue  # models write an empty tag for what they leave out
        try:
            checked[name] = _converted(value, schema)
        except ValueError as error:
            raise ToolFailed(f"{name} must be {error}. {_form(tool)}") from error
    for name in tool.parameters["required"]:
        if name not in checked:
            raise ToolFailed(f"{tool.name} needs {name}. {_form(tool)}")
    return checked


def _converted(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return `value` as the schema's type.

    Raises:
        ValueError: it is another; the text says which it must be.
    """
    kind: str = schema.get("type", "")
    if kind == "array" and schema["items"].get("type") in _LISTS:
        return _converted_list(value, schema["items"])
    if kind not in _KINDS:
        return _as_it_comes(value, kind)
    if kind == "string" and isinstance(value, str):
        return _checked_text(value, schema)
    if kind == "integer":
        number = _parsed(value) if isinstance(value, str) else value
        if isinstance(number, int) and not isinstance(number, bool):
            return number
    if kind == "boolean":
        truth = _parsed(value.lower()) if isinstance(value, str) else value
        if isinstance(truth, bool):
            return truth
    raise ValueError(_KINDS[kind])


def _converted_list(value: Any, item_schema: Mapping[str, Any]) -> list[Any]:
    kind: str = item_schema["type"]
    items = _parsed(value) if isinstance(value, str) else value
    if kind == "string" and isinstance(value, str) and not isinstance(items, list):
        items = [value]  # one where a list was asked for
    if not isinstance(items, list):
        raise ValueError(_LISTS[kind])
    try:
        return [_converted(item, item_schema) for item in items]
    except ValueError:
        raise ValueError(_LISTS[kind]) from None


def _as_it_comes(value: Any, kind: str) -> Any:
    """Return a value of a kind that no tool of ours takes; the server that does looks at it."""
    parsed = _parsed(value) if isinstance(value, str) and kind else None
    return value if parsed is None else parsed


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _checked_text(text: str, schema: Mapping[str, Any]) -> str:
    choices: Sequence[str] = schema.get("enum", ())
    if choices and text not in choices:
        raise ValueError(f"one of {', '.join(choices)}")
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("text that UTF-8 can hold, without NUL")
    return text


def _form(tool: Tool) -> str:
    names = [
        name if name in tool.parameters["required"] else f"{name}?"
        for name in tool.parameters["properties"]
    ]
    return f"Form: {tool.name}({', '.join(names)})"
