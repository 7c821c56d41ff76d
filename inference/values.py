"""The values of a call as the schemas of its tool type them, and what is read of JSON for them.

A string is taken to the blank; anything else must be JSON of a type that the schema names. What is
not is refused in one line for the model.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from inference.messages import ToolSpec


class Unreadable(Exception):
    """Why a call cannot be read; the text is the line for the model."""


def properties_of(tools: Sequence[ToolSpec], name: str) -> Mapping[str, Any]:
    """Return the schemas of a tool's parameters; none for a tool we do not know."""
    found = next((tool for tool in tools if tool.name == name), None)
    properties = found.parameters.get("properties", {}) if found else {}
    return properties if isinstance(properties, Mapping) else {}


_PYTHON_WORDS = {"True": True, "False": False, "None": None}
_EXAMPLES = {
    "integer": "an integer such as 3",
    "number": "a number such as 1.5",
    "boolean": "true or false",
    "array": 'an array such as ["a", "b"]',
    "object": 'an object such as {"key": 1}',
}


def typed_entry(tool: str, key: str, text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument as its schema types it; an empty tag that is no string is absent."""
    types = _types(properties.get(key))
    if not types or "string" in types:
        return {key: text}
    if not text.strip():
        return {}
    try:
        value = _PYTHON_WORDS[text.strip()] if text.strip() in _PYTHON_WORDS else _loads(text)
    except ValueError:
        raise Unreadable(_expected(tool, key, types, text)) from None
    return {key: _checked(tool, key, value, types)}


def coerced(
    arguments: Mapping[str, Any], properties: Mapping[str, Any], tool: str
) -> dict[str, Any]:
    """Return JSON arguments as their schemas type them."""
    typed: dict[str, Any] = {}
    for key, value in arguments.items():
        types = _types(properties.get(key))
        if isinstance(value, str):
            typed |= typed_entry(tool, key, value, properties)
        elif types == {"string"} and value is not None:
            typed[key] = json.dumps(value, ensure_ascii=False)
        elif value is not None or "null" in types:
            typed[key] = _checked(tool, key, value, types) if types else value
    return typed


def _checked(tool: str, key: str, value: Any, types: set[str]) -> Any:
    """Return the value if it is of one of the types; 3.0 is an integer too."""
    if isinstance(value, float) and value.is_integer() and "integer" in types:
        value = int(value)
    if not types & _types_of(value):
        raise Unreadable(_expected(tool, key, types, json.dumps(value, ensure_ascii=False)))
    return value


def _expected(tool: str, key: str, types: set[str], text: str) -> str:
    wanted = " or ".join(_EXAMPLES.get(name, name) for name in sorted(types))
    return f"Parameter {key} of {tool} must be {wanted}, not {shown(text)}."


def _types(schema: Any) -> set[str]:
    """Return the JSON types that a schema allows; none when it does not say."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type")
    types = {name for name in _listed(named) if isinstance(name, str)}
    for key in ("anyOf", "oneOf"):
        for option in _listed(schema.get(key)):
            types |= _types(option)
    return types


def _listed(value: Any) -> Sequence[Any]:
    """Return a list as it is, one string as a list; nothing else is found in a good schema."""
    return [value] if isinstance(value, str) else value if isinstance(value, list | tuple) else ()


def _types_of(value: Any) -> set[str]:
    """Return the names that JSON schema has for the type of a value."""
    match value:
        case bool():
            return {"boolean"}
        case int():
            return {"integer", "number"}
        case float():
            return {"number"}
        case str():
            return {"string"}
        case list():
            return {"array"}
        case dict():
            return {"object"}
        case _:
            return {"null"}


def json_object(text: str, what: str, form: str) -> dict[str, Any]:
    """Read a JSON object, mending what is plainly missing at its end; `form` is how to write it."""
    problem = "it is not an object"
    for mended in (text, f"{text}}}", f"{text}}}}}"):
        try:
            value = _loads(mended)
        except ValueError as error:
            problem = str(error) if mended is text else problem
            continue
        if isinstance(value, dict):
            return value
    raise Unreadable(f"{what} is not valid JSON ({problem}); {form}.")


def is_json(text: str) -> bool:
    """Whether a text is JSON without mending."""
    try:
        _loads(text)
    except ValueError:
        return False
    return True


def _loads(text: str) -> Any:
    """Read one JSON value; newlines in strings and braces too many at its end are forgiven."""
    text = text.strip()
    try:
        value, end = _JSON.raw_decode(text)
        json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        raise ValueError(
            f"{error.msg[0].lower()}{error.msg[1:]} at {_place(text, error.pos)}"
        ) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except UnicodeEncodeError as error:
        raise ValueError(r"it has half a character, as \ud83d is; write it whole") from error
    rest = text[end:].lstrip("} \t\r\n")
    if rest:
        raise ValueError(f"more follows after its end: {shown(rest)}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs, each key once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"{shown(twice)} is given twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


_JSON = json.JSONDecoder(strict=False, object_pairs_hook=_once, parse_constant=_no_number)


def _place(text: str, position: int) -> str:
    """Tell a place in a text by what stands there."""
    return shown(text[position:]) if text[position:].strip() else "its end"


def shown(text: str) -> str:
    """Quote the beginning of a text on one line."""
    text = text.strip()
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
