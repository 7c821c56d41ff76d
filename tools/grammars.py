"""Parses a source with tree-sitter; a grammar is loaded when the first file of its language comes.

A file of a stranger may be made to be slow. The parser can be stopped in its work, a query cannot,
and takes the square of the time in deep or broken trees. So what such a tree looks like is seen to
before a query runs on it.
"""

import functools
import importlib
import time
from typing import TYPE_CHECKING

from tools.languages import Language

if TYPE_CHECKING:
    from tree_sitter import Language as Grammar
    from tree_sitter import Node, Parser, Query, QueryCursor

PARSE_S = 1.0
"""Of the processor; a file of hundreds of kilobytes takes a tenth of it."""
MAX_QUERY_DEPTH = 200
"""Nothing below is looked at; what people write is a tenth as deep."""
MAX_BROKEN_CHILDREN = 2_000
"""Of one node, and of all nodes on the way to errors."""
_CHUNK_BYTES = 64 * 1024


class NotParsed(ValueError):
    """A source that has no syntax tree to use; the text says why in a few words."""


def parse(source: bytes, language: Language) -> "Node":
    """Return the root of the syntax tree.

    Raises:
        NotParsed: it takes too long.
    """
    parser = _parser(language)
    end_s = time.thread_time() + PARSE_S

    def read(offset: int, _: object) -> bytes:
        return source[offset : offset + _CHUNK_BYTES]

    def is_late(*_: object) -> bool:
        return time.thread_time() > end_s

    try:
        return parser.parse(read, progress_callback=is_late).root_node
    except ValueError as error:
        parser.reset()
        raise NotParsed("takes too long to parse") from error


def captures(root: "Node", language: Language, query: str) -> dict[str, list["Node"]]:
    """Return the nodes that a query captures, by the names it gives them.

    Raises:
        NotParsed: the tree is too broken to look through.
    """
    if root.has_error and _is_a_heap(root):
        raise NotParsed("is too broken to parse")
    return _cursor(language, query).captures(root)


def _is_a_heap(root: "Node") -> bool:
    """Say whether errors have left more loose nodes than can be queried in a moment."""
    broken = [root]
    num_children = 0
    while broken:
        node = broken.pop()
        num_children += node.child_count
        if num_children > MAX_BROKEN_CHILDREN:
            return True
        broken += [child for child in node.children if child.has_error]
    return False


@functools.cache
def _grammar(language: Language) -> "Grammar":
    from tree_sitter import Language as Grammar  # only who parses loads it

    module = importlib.import_module(language.module)
    return Grammar(getattr(module, language.function)())


@functools.cache
def _parser(language: Language) -> "Parser":
    from tree_sitter import Parser

    return Parser(_grammar(language))


@functools.cache
def _query(language: Language, text: str) -> "Query":
    from tree_sitter import Query

    return Query(_grammar(language), text)


def _cursor(language: Language, text: str) -> "QueryCursor":
    from tree_sitter import QueryCursor

    cursor = QueryCursor(_query(language, text))
    cursor.set_max_start_depth(MAX_QUERY_DEPTH)
    return cursor
