"""The text between <tool_call> and </tool_call>, read as a call.

Lenient where the meaning is plain (a lost tag, a JSON body, a missing newline), strict where it is
not: then the model gets one line that says what to write instead. Values keep their blanks; only
the one newline that frames them on each side is taken off. Nothing in them is escaped, so a value
may speak of tags: what is well formed is read so, and only what is not is mended. The one thing
that cannot be told from a lost tag is a value with the line `<parameter=KEY>`, never closed, of a
KEY that the call does not give otherwise. How values are typed is in values.py. It reads
text and knows no token, and whether a tool exists or lacks an argument is not asked here.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inference.messages import BadToolCall, ToolCall, ToolSpec
from inference.profiles import CallSyntax
from inference.values import (
    Unreadable,
    coerced,
    is_json,
    json_object,
    properties_of,
    shown,
    typed_entry,
)

_NAME = re.compile(r"[\w.:-]+")
_FUNCTION = re.compile(r"\s*<function(?:=|\s+name=)\s*[\"']?([\w.:-]+)[\"']?\s*(/?)>")
_JSON_NAME = re.compile(r"\s*\{\s*\"name\"\s*:\s*\"([\w.:-]+)\"")
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


@dataclass(frozen=True)
class ReadCall:
    """What was read, and whether it was all there."""

    call: ToolCall | BadToolCall
    is_closed: bool
    """Whether the last tag was closed, so that nothing can be missing."""
    open_parameter: str | None = None
    """The parameter whose value has no end, if any."""
    has_lost_end: bool = False
    """Whether a value is taken to end at `</function>`, which it may as well speak of."""


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


def name_in(text: str) -> str:
    """Return the tool of a call that is not whole yet; nothing while it cannot be told."""
    found = _FUNCTION.match(text) or _JSON_NAME.match(text)
    return found[1] if found else ""


def read_call(raw: str, tools: Sequence[ToolSpec], syntax: CallSyntax = "xml") -> ReadCall:
    """Read one call, in XML or JSON form; `syntax` is the one that an error asks for."""
    reader = _Reader(raw, tools, syntax)
    try:
        call: ToolCall | BadToolCall = reader.read()
    except Unreadable as error:
        call = BadToolCall(raw, str(error))
    return ReadCall(call, reader.is_closed, reader.open_parameter, reader.has_lost_end)


def read_arguments(name: str, text: str, tools: Sequence[ToolSpec]) -> ToolCall | BadToolCall:
    """Read a call that a server has taken apart: the tool's name, and its arguments as JSON."""
    try:
        if not _NAME.fullmatch(name):
            raise Unreadable("The call names no tool; name one of those that you have.")
        what = f"What came as the arguments of {name}"
        arguments = json_object(text.strip() or "{}", what, "write the call again")
        return ToolCall(name, coerced(arguments, properties_of(tools, name), name))
    except Unreadable as error:
        return BadToolCall(f'{{"name": "{name}", "arguments": {text}}}', str(error))


class _Reader:
    """Reads one call from left to right; remembers whether it was closed."""

    def __init__(self, raw: str, tools: Sequence[ToolSpec], syntax: CallSyntax) -> None:
        self._raw = raw
        self._tools = tools
        self._syntax = syntax
        self.is_closed = False
        self.open_parameter: str | None = None
        self.has_lost_end = False

    def read(self) -> ToolCall:
        """Return the call."""
        if self._raw.lstrip().startswith("{"):
            return self._read_json()
        head = _FUNCTION.match(self._raw)
        if head is None:
            raise Unreadable(f"The call names no function; {_FORMS[self._syntax]}.")
        name, body = head[1], self._raw[head.end() :]
        self.is_closed = bool(head[2]) or _FUNCTION_END.search(body) is not None
        properties = properties_of(self._tools, name)
        if head[2] or not body.strip():
            return ToolCall(name, {})
        if body.lstrip().startswith("{"):
            written = _FUNCTION_END.sub("", body)
            self.is_closed = self.is_closed or is_json(written)
            arguments = json_object(written, f"The body of {name}", _XML_FORM)
            return ToolCall(name, coerced(arguments, properties, name))
        return ToolCall(name, self._read_parameters(name, body, properties))

    def _read_parameters(
        self, name: str, body: str, properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        seen: set[str] = set()
        while body.strip() not in ("", "</function>"):
            head = _PARAMETER.match(body)
            if head is None:
                raise Unreadable(
                    f"{shown(body)} in the call of {name} is no parameter; {_XML_FORM}."
                )
            key, body = head[1], body[head.end() :]
            if key in seen:
                raise Unreadable(f"Parameter {key} of {name} is given twice; give it once.")
            seen.add(key)
            value = ""
            if not head[2]:
                value, body = self._read_value(key, body, properties.keys() - seen)
            arguments |= typed_entry(name, key, value, properties)
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
            self.has_lost_end = True
            value = value.removesuffix("\n</parameter")
            if "</parameter>" in value:
                raise Unreadable(
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
        call = json_object(self._raw, "The call", form)
        self.is_closed = is_json(self._raw)
        name = call.get("name")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise Unreadable(f'The call has no "name"; {form}.')
        arguments = call.get("arguments", call.get("parameters", {}))
        if isinstance(arguments, str):  # JSON inside JSON
            arguments = json_object(
                arguments or "{}", f"The string with the arguments of {name}", form
            )
        if not isinstance(arguments, dict | None):
            raise Unreadable(f"The arguments of {name} must be a JSON object; {form}.")
        return ToolCall(name, coerced(arguments or {}, properties_of(self._tools, name), name))


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
