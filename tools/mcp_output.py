"""What a tool of an MCP server gives beside text: compared with the schema that it promised.

Only kinds, choices, and what must be there are compared. A pattern is not: one can be written that
takes for ever. What does not fit is told, and left as it is.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.mcp_words import Json, line

MAX_FAULTS = 3
MAX_DEPTH = 8
MAX_ITEMS = 1_000
"""Of one list that are compared."""
KINDS: Mapping[str, tuple[type, ...]] = {
    **{"string": (str,), "integer": (int,), "number": (int, float), "boolean": (bool,)},
    **{"array": (list,), "object": (dict,), "null": (type(None),)},
}


def notes_on(schema: Json, structured: Any) -> tuple[str, ...]:
    """Say how a result does not fit the schema of its tool; where there is none all fits."""
    if not schema:
        return ()
    if structured is None:
        return ("it promised a structured result and gave none",)
    found: list[str] = []
    for fault in _faults(schema, structured, "", 0):
        found.append(fault)
        if len(found) == MAX_FAULTS:
            break
    return tuple(found)


def _faults(schema: Json, value: Any, where: str, depth: int) -> Iterator[str]:
    name = line(where, 80) or "the result"
    if not _is_of(schema.get("type"), value):
        yield f"{name} is no {line(str(schema['type']), 40)}"
    elif isinstance(choices := schema.get("enum"), list) and value not in choices:
        yield f"{name} is none of the values it may have"
    elif depth < MAX_DEPTH:
        yield from _within(schema, value, where, depth + 1)


def _within(schema: Json, value: Any, where: str, depth: int) -> Iterator[str]:
    if isinstance(value, dict):
        properties, required = _mapping(schema.get("properties")), schema.get("required")
        for key in required if isinstance(required, list) else ():
            if key not in value:
                yield f"{line(_below(where, key), 80)} is missing"
        for key in properties.keys() & value.keys():
            yield from _faults(_mapping(properties[key]), value[key], _below(where, key), depth)
    elif isinstance(value, list) and (items := _mapping(schema.get("items"))):
        for number, item in enumerate(value[:MAX_ITEMS]):
            yield from _faults(items, item, f"{where}[{number}]", depth)


def _below(where: str, key: Any) -> str:
    return f"{where}.{key}" if where else str(key)


def _is_of(kind: Any, value: Any) -> bool:
    """Say whether a value is of a kind, or of one of several; a kind that nobody knows fits all."""
    kinds = kind if isinstance(kind, list) else [kind]
    known = [one for one in kinds if isinstance(one, str) and one in KINDS]
    if len(known) < len(kinds):
        return True
    return any(type(value) in KINDS[one] or _is_whole(one, value) for one in known)


def _is_whole(kind: str, value: Any) -> bool:
    """Say whether a float stands for a whole number, as JSON has it."""
    return kind == "integer" and isinstance(value, float) and value.is_integer()


def _mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}
