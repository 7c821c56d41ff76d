"""Whether a changed source file still holds the tests that were written in it.

Rust keeps unit tests in the file they are of, and so do doctests. Such a file cannot be put back
without undoing the repair, so its tests must be there as they were, letter for letter but for
white space; more may be added elsewhere in it.
"""

import ast
import doctest
import re
from collections import Counter
from collections.abc import Iterator

RUST_TEST = re.compile(r"#\[(?:cfg\(.*?\btest\b.*?\)|(?:\w+::)*test\b[^\]]*)\]")
RUST_DOC = re.compile(r"(?m)^\s*//[/!](.*)$")


def keeps_doctests(old: str, new: str) -> bool:
    """Whether every example of the old text is in the new one, with what is to come of it."""
    before, after = _examples(old), _examples(new)
    return before is not None and after is not None and before <= after


def keeps_rust_tests(old: str, new: str) -> bool:
    """Whether every test of the old text is in the new one, and its documented examples are."""
    squeezed = _squeezed(new)
    blocks = (_squeezed(block) for block in _rust_blocks(old))
    return all(block in squeezed for block in blocks) and _fenced(old) <= _fenced(new)


def _examples(text: str) -> Counter[tuple[str, str]] | None:
    parser = doctest.DocTestParser()
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    examples: Counter[tuple[str, str]] = Counter()
    try:
        for node in ast.walk(ast.parse(text)):
            docstring = ast.get_docstring(node) if isinstance(node, holders) else None
            found = parser.get_examples(docstring or "")
            examples.update((example.source, example.want) for example in found)
    except (SyntaxError, ValueError, RecursionError):
        return None
    return examples


def _rust_blocks(text: str) -> Iterator[str]:
    """What follows each attribute of a test, to the brace that closes it."""
    end = 0
    for found in RUST_TEST.finditer(text):
        if found.start() < end:
            continue  # in a block that is whole already
        depth, end = 0, len(text)
        for brace in re.finditer(r"[{};]", text[found.end() :]):
            depth += {"{": 1, "}": -1, ";": 0}[brace[0]]
            if depth == 0:
                end = found.end() + brace.end()
                break
        yield text[found.start() : end]


def _fenced(text: str) -> Counter[str]:
    """The lines of documentation that are code to be run."""
    inside = False
    lines: Counter[str] = Counter()
    for line in RUST_DOC.findall(text):
        if line.strip().startswith("```"):
            inside = not inside
            lines[line.strip()] += 1 if inside else 0
        elif inside:
            lines[line.strip()] += 1
    return lines


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
