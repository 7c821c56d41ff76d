"""Where the text of a file breaks the grammar of its language; nothing of it is run.

Python is read by our own compiler, JSON and TOML by the standard library, all other languages by
tree-sitter. Languages without a grammar here have no reader.
"""

import functools
import importlib
import json
import re
import tomllib
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from platform import python_version_tuple
from typing import TYPE_CHECKING

from tools.languages import CPP, C, Language, language_of

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

MAX_SHOWN_CHARACTERS = 60
WITH_MACROS = (C, CPP)
"""Their grammar alone cannot tell a macro from a mistake."""
DOUBT = " (or a macro)"
WITH_COMMENTS = ("tsconfig", "jsconfig")
"""Files that end in .json and are not JSON."""


@dataclass(frozen=True)
class Fault:
    """One place that cannot be read."""

    line: int
    words: str
    """What is wrong there, the same wherever in the file it stands."""


class NotRead(ValueError):
    """A text that its reader gives up on, so that nobody knows whether it is well-formed."""


Reader = Callable[[str], Sequence[Fault]]
"""Returns the faults of a text.

Raises:
    NotRead: it cannot tell.
"""


def reader_of(path: str) -> Reader | None:
    """Return what finds the faults of a file by its text; None if its language is not known."""
    name = PurePosixPath(path)
    match name.suffix.lower():
        case ".py" | ".pyi":
            return _python_faults
        case ".json" if not name.name.startswith(WITH_COMMENTS):
            return _json_faults
        case ".toml":
            return _toml_faults
    language = language_of(path)
    return functools.partial(_grammar_faults, language=language) if language else None


def introduced(reader: Reader, before: str, after: str) -> tuple[Fault, ...]:
    """Return the faults of a text that the text before an edit did not have.

    Raises:
        NotRead: one of the texts cannot be read.
    """
    found = reader(after)
    known = Counter(fault.words for fault in (reader(before) if found else ()))
    new = []
    for fault in found:
        if known[fault.words]:
            known[fault.words] -= 1
        else:
            new.append(fault)
    return tuple(new)


# --- one function a language ----------------------------------------------------------------


def _python_faults(text: str) -> list[Fault]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a bad escape in the text, say
            compile(text, "edited", "exec", dont_inherit=True)
    except SyntaxError as error:
        version = ".".join(python_version_tuple()[:2])  # a newer one may know more syntax
        near = f" near {_shown(error.text)}" if error.text and error.text.strip() else ""
        message = re.sub(r" on line \d+", "", error.msg)
        return [Fault(error.lineno or 1, f"syntax error: {message}{near} (Python {version})")]
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        raise NotRead("nested too deep for this compiler, perhaps") from error
    return []


def _json_faults(text: str) -> list[Fault]:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        return [Fault(error.lineno, f"syntax error: {error.msg}{_near_line(text, error.lineno)}")]
    except (ValueError, RecursionError) as error:
        raise NotRead("nested too deep, or a number too long") from error
    return []


def _toml_faults(text: str) -> list[Fault]:
    try:
        tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = re.sub(r" \(at .*\)$", "", str(error))
        place = re.search(r"\(at line (\d+)", str(error))
        line = int(place[1]) if place else text.count("\n") + 1
        return [Fault(line, f"syntax error: {message}{_near_line(text, line)}")]
    except RecursionError as error:
        raise NotRead("nested too deep") from error
    return []


def _grammar_faults(text: str, language: Language) -> list[Fault]:
    source = text.encode("utf-8", "replace")
    root = _parser(language).parse(source).root_node
    doubt = DOUBT if language in WITH_MACROS else ""
    return [_fault(node, source, doubt) for node in _broken(root)]


def _broken(root: "Node") -> Iterator["Node"]:
    """Yield the outermost nodes that the grammar could not make sense of, in their order."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if node.is_error or node.is_missing:
            yield node
        elif node.has_error:
            waiting += reversed(node.children)


def _fault(node: "Node", source: bytes, doubt: str) -> Fault:
    line = node.start_point.row + 1
    start = source.rfind(b"\n", 0, node.start_byte) + 1
    row = source[start:].split(b"\n", 1)[0].decode("utf-8", "replace")
    what = f"syntax error: {node.type} is missing" if node.is_missing else "syntax error"
    return Fault(line, f"{what} near {_shown(row)}{doubt}")


@functools.cache
def _parser(language: Language) -> "Parser":
    from tree_sitter import Language as Grammar  # only who checks such a file loads it
    from tree_sitter import Parser

    module = importlib.import_module(language.module)
    return Parser(Grammar(getattr(module, language.function)()))


def _near_line(text: str, line: int) -> str:
    rows = text.split("\n")[line - 1 : line]
    return f" near {_shown(rows[0])}" if rows and rows[0].strip() else ""


def _shown(row: str) -> str:
    row = row.strip()
    return f"`{row if len(row) <= MAX_SHOWN_CHARACTERS else row[:MAX_SHOWN_CHARACTERS] + '...'}`"
