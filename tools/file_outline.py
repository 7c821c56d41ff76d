"""The outline of a source file: imports, signatures, the first lines of what documents them.

It parses with tree-sitter and cuts bodies out; what is left is the file's own text, for a prompt.
A language it does not know has no outline. No file is opened here. The tool is in `outline.py`.
"""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from tools.grammars import NotParsed, parse
from tools.languages import PYTHON, Language, kinds, language_of

if TYPE_CHECKING:
    from tree_sitter import Node

MAX_BYTES = 512 * 1024
"""A longer file has no outline: nobody wrote it by hand."""
MAX_DEPTH = 24
"""Of definitions inside definitions."""
MAX_WHOLE_LINES = 12
"""Of a declaration that is kept with its body; the rest of it is cut."""
MAX_DOC_CHARACTERS = 120
CUT = " ..."

VALUES = kinds("variable_declarator arrow_function function_expression class")
"""What stands between a name and the body of the function it is given."""
DECLARED = kinds(
    "function_declarator struct_specifier class_specifier enum_specifier union_specifier"
)
MARKS = re.compile(r"""^[rRuUbBfF]{0,2}(?="|')""")
RUBY_CALLS = kinds("require require_relative include extend prepend attr_reader attr_accessor")
FIELDS = kinds("field_definition public_field_definition")


def outline_file(path: str, text: str) -> str | None:
    """Return the outline of a file; None if there is none that is shorter than the file."""
    language = language_of(path)
    if language is None:
        return None
    source = text.encode("utf-8", "replace")
    if len(source) > MAX_BYTES:
        return None
    try:
        root = parse(source, language)
    except NotParsed:
        return None
    short = "".join(f"{line}\n" for line in _Outliner(source, language).lines(root))
    return short if 0 < len(short) < len(text) else None


class _Outliner:
    """Writes the outline of one source."""

    def __init__(self, source: bytes, language: Language) -> None:
        self.source = source
        self.language = language

    def lines(self, root: "Node") -> Iterator[str]:
        """Write the lines of the whole file."""
        yield from self._docstring(root)
        yield from self._inside(root, 0)

    def _inside(self, node: "Node", depth: int) -> Iterator[str]:
        """Write what is inside a node, in its order."""
        if depth > MAX_DEPTH:
            return
        before: list[Node] = []  # comments and attributes that stand right above what comes next
        for child in node.named_children:
            if "comment" in child.type or child.type == "attribute_item":
                before = [*before, child] if _touch(before, child) else [child]
            else:
                above = before if _touch(before, child) else []
                before = []
                yield from self._one(child, above, depth)

    def _one(self, node: "Node", above: list["Node"], depth: int) -> Iterator[str]:
        """Write one node, if it is of a kind that is kept."""
        language, inner = self.language, _unwrapped(node, self.language)
        body = _body(inner) if inner.type in language.cut | language.open else None
        if inner.type in language.through:
            yield from self._inside(inner, depth + 1)
        elif body is not None:
            yield from self._doc_above(above, node)
            yield from self._signature(node, body)
            yield from self._docstring(body)
            if inner.type in language.open:
                yield from self._inside(body, depth + 1)
        elif _is_kept_whole(inner, language):
            yield from self._doc_above(above, node)
            yield from self._whole(node)

    def _whole(self, node: "Node") -> list[str]:
        text = self._text(node.start_byte, node.end_byte)
        lines = (self._indentation(node) + text).rstrip().split("\n")
        if len(lines) > MAX_WHOLE_LINES:
            return [*lines[: MAX_WHOLE_LINES - 1], self._indentation(node) + CUT.strip()]
        return lines

    def _signature(self, node: "Node", body: "Node") -> list[str]:
        """Return what stands before the body, less the comments that end it."""
        text = self._indentation(node) + self._text(node.start_byte, body.start_byte)
        lines = text.rstrip().split("\n")
        while len(lines) > 1 and (not (last := lines[-1].strip()) or last.startswith(("#", "//"))):
            lines.pop()
        return [*lines[:-1], lines[-1] + CUT]

    def _doc_above(self, above: list["Node"], node: "Node") -> list[str]:
        """Return the first line of the comment that stands right above a definition."""
        texts = [self._text(c.start_byte, c.end_byte) for c in above if "comment" in c.type]
        words = next(filter(None, map(_words, texts)), "")
        return [f"{self._indentation(node)}{self.language.comment} {words}"] if words else []

    def _docstring(self, body: "Node") -> list[str]:
        """Return the first line of a docstring, as Python has them."""
        if self.language is not PYTHON:
            return []
        first = next((child for child in body.named_children if child.type != "comment"), None)
        if first is None or first.type != "expression_statement" or not first.named_children:
            return []
        string = first.named_children[0]
        words = _words(self._text(string.start_byte, string.end_byte))
        if string.type != "string" or not words:
            return []
        return [f'{self._indentation(first)}"""{words}"""']

    def _indentation(self, node: "Node") -> str:
        """Return the white space that the line of a node begins with."""
        start = self.source.rfind(b"\n", 0, node.start_byte) + 1
        line = self.source[start : node.start_byte]
        return line[: len(line) - len(line.lstrip(b" \t"))].decode()

    def _text(self, start: int, end: int) -> str:
        return self.source[start:end].decode("utf-8", "replace")


def _touch(above: list["Node"], node: "Node") -> bool:
    """Say whether a node begins on the line after the last of those above it, or before."""
    return bool(above) and above[-1].end_point.row + 1 >= node.start_point.row


def _unwrapped(node: "Node", language: Language) -> "Node":
    """Return the definition inside decorators, `export` or `template`."""
    kept = language.cut | language.open | language.whole | language.wraps
    for _ in range(MAX_DEPTH):
        inside = [child for child in node.named_children if child.type in kept]
        if node.type not in language.wraps or not inside:
            break
        node = inside[-1]
    return node


def _body(node: "Node") -> "Node | None":
    """Return the body of a definition, also that of a function that is given a name."""
    for _ in range(MAX_DEPTH):
        if (body := node.child_by_field_name("body")) is not None:
            return body
        inner = next((child for child in node.named_children if child.type in VALUES), None)
        if inner is None:
            break
        node = inner
    return None


def _is_kept_whole(node: "Node", language: Language) -> bool:
    """Say whether a node without a body is worth keeping: what is declared, not data."""
    if node.type in ("declaration", "field_declaration"):
        return _declares(node)
    if node.type in ("lexical_declaration", "variable_declaration"):
        return b"require(" in (node.text or b"")
    if node.type == "call":
        method = node.child_by_field_name("method")
        return method is not None and (method.text or b"").decode() in RUBY_CALLS
    return node.type in (language.whole | language.cut | language.open) - FIELDS


def _declares(node: "Node") -> bool:
    """Say whether a declaration of C names a function or a type."""
    for _ in range(MAX_DEPTH):
        kinds = {child.type for child in node.named_children}
        if kinds & DECLARED:
            return True
        inner = node.child_by_field_name("declarator")
        if inner is None:
            break
        node = inner
    return False


def _words(comment: str) -> str:
    """Return the first line of a comment or docstring that says something."""
    for line in MARKS.sub("", comment).split("\n"):
        if words := line.strip().lstrip("/*#!<").strip("\"'*/ \t"):
            return words[:MAX_DOC_CHARACTERS]
    return ""
