"""What an MCP server asks a person for while it works, as a form; pure functions on its JSON.

A form has a few fields, each of one plain value. What speaks of a secret is no form: what a person
types there would go to the server, and be shown on the way.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tools.mcp_words import MAX_NOTE, Json, line

Kind = Literal["string", "integer", "number", "boolean"]
Value = str | int | float | bool
Values = Mapping[str, Value]
"""What a person gave, by the names of the fields."""
KINDS: tuple[Kind, ...] = ("string", "integer", "number", "boolean")
MAX_FIELDS = 8
MAX_CHOICES = 40
MAX_TEXT = 600
MAX_VALUE = 4_000
YES, NO = ("yes", "y", "true"), ("no", "n", "false")
_NAME = re.compile(r"[A-Za-z0-9_.$-]{1,64}")
_SECRET = re.compile(
    r"(?i)pass[-_ ]?(word|phrase|code|wd)|secret|token\b|api[-_ ]?key|access[-_ ]?key|credential"
    r"|private[-_ ]?key|\bpin\b|\botp\b|\bcvv\b|card number|recovery|seed phrase"
)


class NotAsked(Exception):
    """A server's question is not put to anybody; the text says why."""


@dataclass(frozen=True)
class Field:
    """One thing that is asked for."""

    name: str
    kind: Kind
    about: str
    """What it is, for a person; its name if nothing is said."""
    choices: tuple[str, ...] = ()
    """The values there are; empty if any will do."""
    is_required: bool = False

    def read(self, text: str) -> Value:
        """Read what a person typed.

        Raises:
            ValueError: it cannot be meant; the text says what can.
        """
        typed = text.strip()
        match self.kind:
            case "boolean":
                if typed.lower() in (*YES, *NO):
                    return typed.lower() in YES
                raise ValueError("write yes or no")
            case "integer" | "number":
                try:
                    return int(typed) if self.kind == "integer" else float(typed)
                except ValueError:
                    raise ValueError(f"write a {self.words}") from None
        self.check(text)
        return text

    def check(self, value: object) -> None:
        """See that a value is one of this field.

        Raises:
            ValueError: it is not.
        """
        kinds: dict[Kind, tuple[type, ...]] = {"string": (str,), "boolean": (bool,)}
        allowed = kinds.get(self.kind, (int,) if self.kind == "integer" else (int, float))
        if type(value) not in allowed:
            raise ValueError(f"write a {self.words}")
        if isinstance(value, str) and self.choices and value not in self.choices:
            raise ValueError(f"write one of {', '.join(self.choices)}")
        if isinstance(value, str) and len(value) > MAX_VALUE:
            raise ValueError(f"write {MAX_VALUE:,} characters at most")

    @property
    def label(self) -> str:
        """Say on a line what is asked for."""
        kind = "" if self.kind == "string" else f", {self.words}"
        choices = f", one of {', '.join(self.choices)}" if self.choices else ""
        return f"{self.about}{kind}{choices}{'' if self.is_required else ' (may be left out)'}"

    @property
    def words(self) -> str:
        """Say what kind of value it is."""
        return {"string": "text", "integer": "whole number", "boolean": "yes or no"}.get(
            self.kind, self.kind
        )


@dataclass(frozen=True)
class Form:
    """What one server asks for at once."""

    server: str
    text: str
    fields: tuple[Field, ...]

    def checked(self, given: Json) -> Values:
        """Return what was given, without what was not asked for.

        Raises:
            ValueError: a field is missing, or has a value that it cannot have.
        """
        missing = [
            one.name for one in self.fields if one.is_required and given.get(one.name) is None
        ]
        if missing:
            raise ValueError(f"{missing[0]} is needed")
        values = {
            one.name: given[one.name] for one in self.fields if given.get(one.name) is not None
        }
        for one in self.fields:
            if one.name in values:
                one.check(values[one.name])
        return values


def form_of(server: str, asked: Json) -> Form:
    """Read what a server asks for.

    Raises:
        NotAsked: it is no form of plain fields, or speaks of a secret.
    """
    if asked.get("mode", "form") != "form":
        raise NotAsked("it wants an address to be opened, which is not done")
    schema = _mapping(asked.get("requestedSchema"))
    properties, required = _mapping(schema.get("properties")), schema.get("required")
    if len(properties) > MAX_FIELDS:
        raise NotAsked(f"its form has more than {MAX_FIELDS} fields")
    needed = required if isinstance(required, list) else []
    fields = tuple(
        _field(name, _mapping(value), name in needed) for name, value in properties.items()
    )
    form = Form(server, line(str(asked.get("message", "")), MAX_TEXT), fields)
    if _SECRET.search(" ".join([form.text, *(f"{one.name} {one.about}" for one in fields)])):
        raise NotAsked("it seems to want a secret, and secrets are given to no server this way")
    return form


def _field(name: str, schema: Json, is_required: bool) -> Field:
    kind = next((one for one in KINDS if one == schema.get("type")), None)
    if kind is None or not _NAME.fullmatch(name):
        raise NotAsked("its form asks for more than plain values")
    if schema.get("format") == "password":
        raise NotAsked("it wants a password, and secrets are given to no server this way")
    words = (line(str(schema.get(key) or ""), MAX_NOTE) for key in ("title", "description"))
    return Field(name, kind, ": ".join(filter(None, words)) or name, _choices(schema), is_required)


def _choices(schema: Json) -> tuple[str, ...]:
    named = schema.get("oneOf")
    values = [one.get("const") for one in map(_mapping, named)] if isinstance(named, list) else None
    values = schema.get("enum", ()) if values is None else values
    if not isinstance(values, list | tuple) or len(values) > MAX_CHOICES:
        raise NotAsked(f"a field of its form has more than {MAX_CHOICES} choices")
    if any(not isinstance(one, str) or line(one, MAX_NOTE) != one for one in values):
        raise NotAsked("a choice of its form cannot be shown as it is")
    return tuple(values)


def _mapping(value: Any) -> Json:
    return value if isinstance(value, Mapping) else {}
