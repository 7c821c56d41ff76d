"""The symbols of one source: what it defines, where, and which names it refers to.

Names are matched as text: nothing here knows what a name is bound to in another file. What a file
binds itself, a parameter or a local variable, is no reference. No file is opened here.
"""

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from sys import intern
from typing import TYPE_CHECKING, NamedTuple

from tools.grammars import NotParsed, captures, parse
from tools.languages import kinds, language_of
from tools.queries import QUERIES
from tools.truncate import clean

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_BYTES = 512 * 1024
"""A longer file was written by a program."""
MAX_SIGNATURE_CHARACTERS = 100

_SPACES = kinds("namespace_definition internal_module module mod_item")
"""What is in them is no member of them, for nearly all who use it."""
_VALUES = kinds(
    "assignment variable_declarator const_spec var_spec const_item static_item field_declaration"
    " field_definition public_field_definition property_declaration const_element declaration"
    " enumerator variable_assignment preproc_def"
)


class Definition(NamedTuple):
    """Something with a name."""

    name: str
    line: int
    """Where the name stands, from 1."""
    first: int
    last: int
    """Its first and last line."""
    depth: int
    """How many definitions it is in."""
    signature: str
    """The line of the name, without indentation."""
    is_member: bool
    """In a class or a function, so that no other file calls it by its name alone."""
    is_value: bool
    """A constant, a variable, a field: neither called nor a type."""


class Reference(NamedTuple):
    """A name where it is used."""

    name: str
    offset: int
    """In bytes."""
    is_member: bool
    """Behind a dot, so that it can be a name of anything."""


@dataclass(frozen=True)
class Symbols:
    """What was found in one source."""

    source: bytes
    definitions: tuple[Definition, ...]
    """In the order of lines."""
    references: tuple[Reference, ...]
    """In the order of offsets."""

    def line_of(self, reference: Reference) -> int:
        """Return the line of a reference, from 1."""
        return bisect_right(self._starts, reference.offset)

    def text_of(self, line: int) -> str:
        """Return a line as it can be shown: no indentation, not too long."""
        start = self._starts[line - 1]
        end = self.source.find(b"\n", start)
        raw = self.source[start : end if end >= 0 else len(self.source)]
        # Four bytes a letter at most; a line of a megabyte need not be decoded whole.
        text = raw.lstrip()[: 4 * MAX_SIGNATURE_CHARACTERS + 4].decode("utf-8", "replace")
        text = " ".join(clean(text).split())
        if len(text) <= MAX_SIGNATURE_CHARACTERS:
            return text
        return f"{text[: MAX_SIGNATURE_CHARACTERS - 3]}..."

    def around(self, line: int) -> tuple[Definition, ...]:
        """Return the definitions that a line is in, the innermost last."""
        return tuple(one for one in self.definitions if one.first <= line <= one.last)

    @cached_property
    def _starts(self) -> list[int]:
        """Where each line begins."""
        return [0, *accumulate(len(line) + 1 for line in self.source.split(b"\n"))][:-1]


def read_symbols(path: str, source: bytes) -> Symbols:
    """Find the symbols of a source, in the language that its name says.

    Raises:
        NotParsed: there is no grammar for it, or it is too large, too slow or no text.
    """
    language = language_of(path)
    if language is None:
        raise NotParsed("is of no language that outline knows")
    if len(source) > MAX_BYTES:
        raise NotParsed(f"is larger than {MAX_BYTES // 1024} KB")
    if b"\0" in source:
        raise NotParsed("is no text")
    found = captures(parse(source, language), language, QUERIES[language])
    names = {node.start_byte: node for node in found.get("name", ())}
    empty = Symbols(source, (), ())
    definitions = tuple(_definitions(names, found.get("definition", ()), empty))
    defined = {one.name for one in definitions}
    return Symbols(source, definitions, tuple(_references(found, names, defined, source)))


def _definitions(
    names: "Mapping[int, Node]", nodes: "Sequence[Node]", lines: Symbols
) -> Iterator[Definition]:
    """Give each name the innermost definition around it, in the order of their places."""
    wholes = sorted({(node.start_byte, -node.end_byte): node for node in nodes}.items())
    texts = _names([*names.values()], lines.source)
    around: list[Node] = []
    upcoming = iter([*wholes, None])
    whole = next(upcoming)
    for start in sorted(names):
        while whole is not None and whole[0][0] <= start:
            around = [one for one in around if one.end_byte > whole[1].start_byte]
            around.append(whole[1])
            whole = next(upcoming)
        around = [one for one in around if one.end_byte > start]
        if not around:
            continue
        line = names[start].start_point.row + 1
        yield Definition(
            texts[start],
            line,
            around[-1].start_point.row + 1,
            _last_line(around[-1]),
            len(around) - 1,
            lines.text_of(line),
            is_member=any(one.type not in _SPACES for one in around[:-1]),
            is_value=around[-1].type in _VALUES,
        )


def _references(
    found: "Mapping[str, list[Node]]", at: "Mapping[int, Node]", defined: set[str], source: bytes
) -> Iterator[Reference]:
    """Return what is neither the name of a definition, at some offset, nor of this file alone."""
    bound = _names(found.get("bound", ()), source)
    sure = {*_names(found.get("sure", ()), source).values()}
    local = {*bound.values()} - sure - defined
    members = _names(found.get("member", ()), source)
    plain = _names(found.get("reference", ()), source)
    for offset, name in sorted((plain | members).items()):
        is_member = offset in members and name not in sure
        if offset not in at and offset not in bound and (is_member or name not in local):
            yield Reference(name, offset, is_member)


def _names(nodes: "Sequence[Node]", source: bytes) -> dict[int, str]:
    """Return the texts of nodes by their offsets, each text held once."""
    raw = {node.start_byte: source[node.start_byte : node.end_byte] for node in nodes}
    texts = {name: intern(name.decode("utf-8", "replace")) for name in {*raw.values()}}
    return {offset: texts[name] for offset, name in raw.items()}


def _last_line(node: "Node") -> int:
    """Return the last line of a node; one that ends with a newline ends on the line before."""
    end = node.end_point
    return end.row + (end.column > 0 or end.row == node.start_point.row)
