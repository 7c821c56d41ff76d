"""The text between <tool_call> and </tool_call>, read as a call.

Lenient where the meaning is plain (a lost tag, a JSON body, a missing newline), strict where it is
not: then the model gets one line that says what to write instead. Values keep their blanks; only
the one newline that frames them on each side is taken off. Nothing in them is escaped, so a value
may speak of tags: what is well formed is read so, and only what is not is mended. The one thing
that cannot be told from a lost tag is a value with the line `<parameter=KEY>`, never closed, of a
KEY that the call does not give otherwise. It reads text and knows no token, and whether a tool
exists or lacks an argument is not asked here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.messages import BadToolCall, ToolCall, ToolSpec
from inference.profiles import CallSyntax

_FUNCTION = re.compile(r"\s*<function(?:=|\s+name=)\s*[\"']?([\w.:-]+)[\"']?\s*(/?)>")
_PARAMETER = re.compile(r"\s*<parameter(?:=|\s+name=)\s*[\"']?([^\s>\"'/]+)[\"']?\s*(/?)>")
_FUNCTION_END = re.compile(r"</function>\s*\Z")
# A value may itself speak of </parameter>: it ends where another parameter or the end follows.
_STRICT_END = re.compile(
    r"\n</parameter>\n\s*(?=<parameter=)|\n</parameter>\s*(?:</function>\s*)*\Z"
)
_LENIENT_END = re.compile(r"</parameter>\s*(?=<parameter=)|</parameter>\s*(?:</function>\s*)*\Z")
_LOST_END = re.compile(r"\n?</function>\s*\Z")
_OPENING_LINE = re.compile(r"^<parameter=[^>\n]+>$", re.MULTILINE)
_CLOSING_LINE = re.compile(r"^</parameter>$", re.MULTILINE)
_CLOSING_TAGS = ("</parameter>", "</function>")
_FORMS: dict[CallSyntax, str] = {
    "xml": "write <function=NAME>, then <parameter=KEY>, VALUE, </parameter> for each, </function>",
    "hermes": 'write {"name": NAME, "arguments": {KEY: VALUE, ...}}',
}
_XML_FORM = _FORMS["xml"]


class _Unreadable(Exception):
    """Why a call cannot be read; the text is the line for the model."""


@dataclass(frozen=True)
class ReadCall:
    """What was read, and whether it was all there."""

    call: ToolCall | BadToolCall
    is_closed: bool
    """Whether the last tag was closed, so that nothing can be missing."""
    open_parameter: str | None = None
    """The parameter whose value has no end, if any."""


def begins_call(text: str) -> bool | None:
    """Tell whether a text begins as a call does; None while there is too little of it."""
    begun = text.lstrip()
    if begun.startswith("{"):
        key = begun[1:].lstrip()
        return key[0] in "\"'{}" if key else None
    name = "<function"
    if len(begun) <= len(name):
        return None if name.startswith(begun) else False
    return begun.startswith((f"{name}=", f"{name} "))


def read_call(raw: str, tools: Sequence[ToolSpec], syntax: CallSyntax = "xml") -> ReadCall:
    """Read one call, in XML or JSON form; `syntax` is the one that an error asks for."""
    reader = _Reader(raw, tools, syntax)
    try:
        call: ToolCall | BadToolCall = reader.read()
    except _Unreadable as error:
        call = BadToolCall(raw, str(error))
    return ReadCall(call, reader.is_closed, reader.open_parameter)


class _Reader:
    """Reads one call from left to right; remembers whether it was closed."""

    def __init__(self, raw: str, tools: Sequence[ToolSpec], syntax: CallSyntax) -> None:
        self._raw = raw
        self._tools = tools
        self._syntax = syntax
        self.is_closed = False
        self.open_parameter: str | None = None

    def read(self) -> ToolCall:
        """Return the call."""
        if self._raw.lstrip().startswith("{"):
            return self._read_json()
        head = _FUNCTION.match(self._raw)
        if head is None:
            raise _Unreadable(f"The call names no function; {_FORMS[self._syntax]}.")
        name, body = head[1], self._raw[head.end() :]
        self.is_closed = bool(head[2]) or _FUNCTION_END.search(body) is not None
        properties = _properties(self._tools, name)
        if head[2] or not body.strip():
            return ToolCall(name, {})
        if body.lstrip().startswith("{"):
            written = _FUNCTION_END.sub("", body)
            self.is_closed = self.is_closed or _is_json(written)
            arguments = _json_object(written, f"The body of {name}", _XML_FORM)
            return ToolCall(name, _coerced(arguments, properties, name))
        return ToolCall(name, self._read_parameters(name, body, properties))

    def _read_parameters(
        self, name: str, body: str, properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        seen: set[str] = set()
        while body.strip() not in ("", "</function>"):
            head = _PARAMETER.match(body)
            if head is None:
                raise _Unreadable(
                    f"{_shown(body)} in the call of {name} is no parameter; {_XML_FORM}."
                )
            key, body = head[1], body[head.end() :]
            if key in seen:
                raise _Unreadable(f"Parameter {key} of {name} is given twice; give it once.")
            seen.add(key)
            value = ""
            if not head[2]:
                value, body = self._read_value(key, body, properties.keys() - seen)
            arguments |= _typed_entry(name, key, value, properties)
        return arguments

    def _read_value(self, key: str, body: str, awaited: Iterable[str]) -> tuple[str, str]:
        """Return a value without its framing newlines, and what follows its closing tag."""
        end = _end(body)
        value = body[: end.start()] if end else _LOST_END.sub("", body)
        rest = body[end.end() :] if end else ""
        lost = _lost_end(value, [name for name in awaited if f"<parameter={name}>" not in rest])
        if lost is not None:
            value, rest = _without_cut_tag(body[:lost]), body[lost:]
        elif end is None and _LOST_END.search(body):
            value = value.removesuffix("\n</parameter")
            if "</parameter>" in value:
                raise _Unreadable(
                    f"After the </parameter> of {key} comes text that is no parameter; {_XML_FORM}."
                )
        elif end is None:
            self.open_parameter = key
            value = _without_cut_tag(value).removesuffix("\n")
        elif body[end.start()] != "\n":
            value = value.removesuffix("\n")
        return value.removeprefix("\n"), rest

    def _read_json(self) -> ToolCall:
        form = _FORMS["hermes"]
        call = _json_object(self._raw, "The call", form)
        self.is_closed = _is_json(self._raw)
        name = call.get("name")
        if not isinstance(name, str) or not name:
            raise _Unreadable(f'The call has no "name"; {form}.')
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):  # JSON inside JSON
            arguments = _json_object(
                arguments or "{}", f"The string with the arguments of {name}", form
            )
        if not isinstance(arguments, dict | None):
            raise _Unreadable(f"The arguments of {name} must be a JSON object; {form}.")
        return ToolCall(name, _coerced(arguments or {}, _properties(self._tools, name), name))


def _end(body: str) -> re.Match[str] | None:
    """Find where a value ends; if it shows whole parameters itself, after the last of them."""
    for pattern in (_STRICT_END, _LENIENT_END):
        ends = list(pattern.finditer(body))
        if ends:
            return next((end for end in ends if _is_balanced(body[: end.start()])), ends[0])
    return None


def _is_balanced(value: str) -> bool:
    """Whether a value closes all parameters that it opens, each on a line of its own."""
    return len(_OPENING_LINE.findall(value)) <= len(_CLOSING_LINE.findall(value))


def _lost_end(value: str, awaited: Iterable[str]) -> int | None:
    """Return where a value ends that ran into the next parameter for want of a closing tag."""
    starts = (value.find(f"\n<parameter={key}>") for key in awaited)
    found = (start for start in starts if start >= 0 and "</parameter>" not in value[start:])
    return min(found, default=None)


def _without_cut_tag(value: str) -> str:
    """Take off a closing tag that was begun and not ended."""
    start = value.rfind("</")
    is_cut = start >= 0 and any(tag.startswith(value[start:]) for tag in _CLOSING_TAGS)
    return value[:start].removesuffix("\n") if is_cut else value


def _properties(tools: Sequence[ToolSpec], name: str) -> Mapping[str, Any]:
    """Return the schemas of a tool's parameters; none for a tool we do not know."""
    found = next((tool for tool in tools if tool.name == name), None)
    properties = found.parameters.get("properties", {}) if found else {}
    return properties if isinstance(properties, Mapping) else {}


# --- values -------------------------------------------------------------------------------------

_PYTHON_WORDS = {"True": True, "False": False, "None": None}
_EXAMPLES = {
    "integer": "an integer such as 3",
    "number": "a number such as 1.5",
    "boolean": "true or false",
    "array": 'an array such as ["a", "b"]',
    "object": 'an object such as {"key": 1}',
}


def _typed_entry(tool: str, key: str, text: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the argument as its schema types it; an empty tag that is no string is absent."""
    types = _types(properties.get(key))
    if not types or "string" in types:
        return {key: text}
    if not text.strip():
        return {}
    try:
        value = _PYTHON_WORDS[text.strip()] if text.strip() in _PYTHON_WORDS else _loads(text)
    except ValueError:
        raise _Unreadable(_expected(tool, key, types, text)) from None
    return {key: _checked(tool, key, value, types)}


def _coerced(
    arguments: Mapping[str, Any], properties: Mapping[str, Any], tool: str
) -> dict[str, Any]:
    """Return JSON arguments as their schemas type them."""
    typed: dict[str, Any] = {}
    for key, value in arguments.items():
        types = _types(properties.get(key))
        if isinstance(value, str):
            typed |= _typed_entry(tool, key, value, properties)
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
        raise _Unreadable(_expected(tool, key, types, json.dumps(value, ensure_ascii=False)))
    return value


def _expected(tool: str, key: str, types: set[str], text: str) -> str:
    wanted = " or ".join(_EXAMPLES.get(name, name) for name in sorted(types))
    return f"Parameter {key} of {tool} must be {wanted}, not {_shown(text)}."


def _types(schema: Any) -> set[str]:
    """Return the JSON types that a schema allows; none when it does not say."""
    if not isinstance(schema, Mapping):
        return set()
    named = schema.get("type", [])
    types = {named} if isinstance(named, str) else set(named)
    for key in ("anyOf", "oneOf"):
        for option in schema.get(key, ()):
            types |= _types(option)
    return types


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


def _json_object(text: str, what: str, form: str) -> dict[str, Any]:
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
    raise _Unreadable(f"{what} is not valid JSON ({problem}); {form}.")


def _is_json(text: str) -> bool:
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
        raise ValueError(f"more follows after its end: {_shown(rest)}")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs, each key once."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"{next(key for key in keys if keys.count(key) > 1)!r} is given twice")
    return found


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is no JSON number")


_JSON = json.JSONDecoder(strict=False, object_pairs_hook=_once, parse_constant=_no_number)


def _place(text: str, position: int) -> str:
    """Tell a place in a text by what stands there."""
    return _shown(text[position:]) if text[position:].strip() else "its end"


def _shown(text: str) -> str:
    """Quote the beginning of a text on one line."""
    text = text.strip()
    return repr(text if len(text) <= 40 else f"{text[:40]}...")
