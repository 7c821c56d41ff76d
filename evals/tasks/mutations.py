"""Small changes to the meaning of a source file: one operator, number, condition, call or line.

Pure: bytes in, candidates out. A syntax tree says where a change means something (the `<` of a
comparison, not that of a type); nothing here knows whether a test would notice.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tools.grammars import NotParsed, parse
from tools.languages import GO, JAVASCRIPT, PYTHON, kinds, language_of

if TYPE_CHECKING:
    from tree_sitter import Node

VERSION = 1
"""Of the operators: another one makes other mutants of the same source."""


@dataclass(frozen=True)
class Mutation:
    """One change to one file."""

    path: str
    operator: str
    """The kind of mistake, in a word."""
    start: int
    end: int
    """Bytes of the file that go."""
    new: str
    """What takes their place."""
    line: int
    """Where they begin, from 1."""

    def applied(self, source: bytes) -> bytes:
        """Return the file with the mistake in it."""
        return source[: self.start] + self.new.encode() + source[self.end :]


@dataclass(frozen=True)
class Dialect:
    """How one language writes what is changed."""

    functions: frozenset[str]
    """What is changed lies in one of these: code at the top runs when a file is loaded."""
    calls: frozenset[str]
    removable: frozenset[str]
    """What a statement that can be left out consists of."""
    true: str
    false: str
    negated: str
    """A format for a condition that is turned round."""
    nothing: str
    """A statement that does nothing."""
    bare_return: str
    """A return of nothing; empty where the compiler would not have it."""


DIALECTS: Mapping[str, Dialect] = {
    PYTHON.module: Dialect(
        functions=kinds("function_definition lambda"),
        calls=kinds("call"),
        removable=kinds("call augmented_assignment"),
        true="True", false="False", negated="not ({})", nothing="pass", bare_return="return None",
    ),
    JAVASCRIPT.module: Dialect(
        functions=kinds(
            "function_declaration function_expression arrow_function method_definition"
            " generator_function_declaration generator_function"
        ),
        calls=kinds("call_expression"),
        removable=kinds("call_expression augmented_assignment_expression update_expression"),
        true="true", false="false", negated="!({})", nothing=";", bare_return="return;",
    ),
    GO.module: Dialect(
        functions=kinds("function_declaration method_declaration func_literal"),
        calls=kinds("call_expression"),
        removable=kinds("call_expression"),
        true="true", false="false", negated="!({})", nothing="", bare_return="",
    ),
}  # fmt: skip
"""By the grammar: the languages whose sources are changed."""

OPERATIONS = kinds(
    "comparison_operator binary_operator binary_expression boolean_operator augmented_assignment"
    " augmented_assignment_expression assignment_statement update_expression inc_statement"
    " dec_statement"
)
SWAPS: Mapping[str, tuple[tuple[str, str], ...]] = {
    "==": (("comparison", "!="),),
    "!=": (("comparison", "=="),),
    "===": (("comparison", "!=="),),
    "!==": (("comparison", "==="),),
    "<": (("boundary", "<="), ("comparison", ">")),
    "<=": (("boundary", "<"), ("comparison", ">=")),
    ">": (("boundary", ">="), ("comparison", "<")),
    ">=": (("boundary", ">"), ("comparison", "<=")),
    "is": (("comparison", "is not"),),
    "is not": (("comparison", "is"),),
    "in": (("comparison", "not in"),),
    "not in": (("comparison", "in"),),
    "+": (("arithmetic", "-"),),
    "-": (("arithmetic", "+"),),
    "*": (("arithmetic", "+"),),
    "/": (("arithmetic", "*"),),
    "//": (("arithmetic", "*"),),
    "%": (("arithmetic", "*"),),
    "+=": (("arithmetic", "-="),),
    "-=": (("arithmetic", "+="),),
    "*=": (("arithmetic", "+="),),
    "++": (("arithmetic", "--"),),
    "--": (("arithmetic", "++"),),
    "and": (("boolean", "or"),),
    "or": (("boolean", "and"),),
    "&&": (("boolean", "||"),),
    "||": (("boolean", "&&"),),
}
"""Operators by how a tree calls them, and what each is mistaken for."""
CONDITIONAL = kinds("if_statement elif_clause while_statement")
SPECIAL_ARGUMENTS = kinds("keyword_argument list_splat dictionary_splat spread_element comment")
NAMES: Mapping[str, str] = {
    "min": "max", "max": "min", "any": "all", "all": "any", "append": "extend",
    "startswith": "endswith", "endswith": "startswith", "lstrip": "rstrip", "rstrip": "lstrip",
    "some": "every", "every": "some", "floor": "ceil", "ceil": "floor",
    "Min": "Max", "Max": "Min", "HasPrefix": "HasSuffix", "HasSuffix": "HasPrefix",
}  # fmt: skip
"""Functions that are taken for one another."""
DECIMAL = re.compile(r"0|[1-9]\d{0,8}")


def mutations(path: str, source: bytes) -> tuple[Mutation, ...]:
    """Return all changes that can be made to a file, in its order; none to what is not parsed."""
    language = language_of(path)
    dialect = DIALECTS.get(language.module) if language else None
    if language is None or dialect is None:
        return ()
    try:
        root = parse(source, language)
    except NotParsed:
        return ()
    if root.has_error:
        return ()
    return tuple(
        Mutation(path, change.operator, change.start, change.end, change.new, _line(source, change))
        for node in _inside_functions(root, dialect)
        for rule in RULES
        for change in rule(node, dialect)
    )


def still_parses(mutation: Mutation, source: bytes) -> bool:
    """Say whether a file is one of its language with the mistake in it."""
    language = language_of(mutation.path)
    assert language is not None, "it was found in a tree"
    try:
        return not parse(mutation.applied(source), language).has_error
    except NotParsed:
        return False


def _inside_functions(root: "Node", dialect: Dialect) -> Iterator["Node"]:
    """Every node in the body of a function, in the order of the file."""
    waiting = [(root, False)]
    while waiting:
        node, is_inside = waiting.pop()
        if is_inside:
            yield node
        body = node.child_by_field_name("body") if node.type in dialect.functions else None
        for child in reversed(node.children):
            waiting.append((child, is_inside or child == body))


# --- the rules: each gives the mistakes that can be made at one node --------------------------


@dataclass(frozen=True)
class _Change:
    operator: str
    start: int
    end: int
    new: str


def _instead(operator: str, node: "Node", new: str) -> _Change:
    return _Change(operator, node.start_byte, node.end_byte, new)


def _operator(node: "Node", dialect: Dialect) -> Iterator[_Change]:
    if node.type not in SWAPS or node.parent is None or node.parent.type not in OPERATIONS:
        return
    for operator, new in SWAPS[node.type]:
        yield _instead(operator, node, new)


def _constant(node: "Node", dialect: Dialect) -> Iterator[_Change]:
    text = _text(node)
    if node.type in ("integer", "number", "int_literal") and DECIMAL.fullmatch(text):
        yield _instead("constant", node, str(int(text) + 1))
        if text != "0":
            yield _instead("constant", node, str(int(text) - 1))
    elif node.type == "true":
        yield _instead("constant", node, dialect.false)
    elif node.type == "false":
        yield _instead("constant", node, dialect.true)


def _condition(node: "Node", dialect: Dialect) -> Iterator[_Change]:
    if node.type in CONDITIONAL:
        condition = node.child_by_field_name("condition")
        if condition is not None and condition.type == "parenthesized_expression":
            condition = _first(condition)
        if condition is not None and condition.type not in ("not_operator", "unary_expression"):
            yield _instead("negation", condition, dialect.negated.format(_text(condition)))
    elif node.type == "not_operator" or (
        node.type == "unary_expression" and node.children[0].type == "!"
    ):
        yield _instead("negation", node, _text(node.named_children[-1]))


def _arguments(node: "Node", dialect: Dialect) -> Iterator[_Change]:
    arguments = node.child_by_field_name("arguments") if node.type in dialect.calls else None
    two = arguments.named_children[:2] if arguments is not None else []
    if len(two) < 2 or any(one.type in SPECIAL_ARGUMENTS for one in two):
        return
    first, second = map(_text, two)
    if first != second:
        start, end = two[0].start_byte, two[1].end_byte
        yield _Change("arguments", start, end, f"{second}, {first}")


def _name(node: "Node", dialect: Dialect) -> Iterator[_Change]:
    function = node.child_by_field_name("function") if node.type in dialect.calls else None
    if function is None:
        return
    name = function if function.type == "identifier" else function.children[-1]
    if name.is_named and _text(name) in NAMES:
        yield _instead("call", name, NAMES[_text(name)])


def _statement(node: "Node", dialect: Dialect) -> Iterator[_Change]:
    if node.type == "expression_statement":
        inner = _first(node)
        if inner is not None and inner.type in dialect.removable:
            yield _instead("removed", node, dialect.nothing)
    elif node.type == "return_statement" and dialect.bare_return:
        value = _first(node)
        if value is not None and value.type not in ("none", "null", "undefined"):
            yield _instead("return", node, dialect.bare_return)


RULES: tuple[Callable[["Node", Dialect], Iterator[_Change]], ...] = (
    _operator,
    _constant,
    _condition,
    _arguments,
    _name,
    _statement,
)


def _first(node: "Node") -> "Node | None":
    return next(iter(node.named_children), None)


def _line(source: bytes, change: _Change) -> int:
    return source.count(b"\n", 0, change.start) + 1


def _text(node: "Node") -> str:
    return (node.text or b"").decode("utf-8", "replace")
