r"""Slips of a model's hand in what it writes: `\n` for a line break, `&lt;` for `<`, line numbers.

Each function says what is wrong, in a sentence for the model, or returns None. Nothing is mended
here: the model says again what it means. What a file's own text does is never a slip.
"""

import html
import importlib
import re
from collections.abc import Sequence

from tools.languages import Language, language_of
from tools.match import find_all, has_line_numbers, line_at

MAX_CHARACTERS = 100_000
"""What one call may write; more than any reply holds that is meant for one file."""
_ESCAPES = {
    r"\n": re.compile(r"\\n"),
    r"\t": re.compile(r"\\t"),
    r"\"": re.compile(r'\\"'),
    "&lt;": re.compile("&lt;|&#60;"),
    "&gt;": re.compile("&gt;|&#62;"),
    "&amp;": re.compile("&amp;|&#38;"),
    "&quot;": re.compile("&quot;|&#34;"),
    "&#39;": re.compile("&#39;|&apos;|&#x27;"),
}
_QUOTING = re.compile(
    "string|comment|char|rune|regex|heredoc|nowdoc|preproc|text|symbol|shell|^word$"
)
"""What grammars call the places where an escape may stand."""
_WORD = re.compile(r"\w+", re.ASCII)
_PADDED = re.compile(r"(?: {3}\d| {2}\d\d| \d{3})\t")
"""A line number as view shows it, and hardly any table."""


def too_long(name: str, text: str) -> str | None:
    """Say that one call writes too much."""
    if len(text) <= MAX_CHARACTERS:
        return None
    return (
        f"{name} has {len(text)} characters; write at most {MAX_CHARACTERS} at a time, "
        "the rest with insert."
    )


def numbered_new(text: str, old: str, new: str) -> str | None:
    """Say that the new text was copied with the line numbers of a view."""
    lines = text.split("\n")
    if not has_line_numbers(new) or has_line_numbers(old) or any(map(has_line_numbers, lines)):
        return None
    if not any(map(_PADDED.match, new.split("\n"))):
        return None
    return "new_str begins its lines with the numbers that view shows; leave them out."


def cut_word(text: str, start: int, end: int) -> str | None:
    """Say that what was found begins or ends inside of a word."""
    for edge in (start, end):
        if word := _word_around(text, edge):
            return (
                f"old_str occurs only inside of a longer word, {word} in "
                f"line {line_at(text, edge)}; give whole words."
            )
    return None


def _word_around(text: str, edge: int) -> str | None:
    """Return the word that a place is inside of; the n of `\\n` before it is no part of it."""
    for match in _WORD.finditer(text, text.rfind("\n", 0, edge) + 1):
        first, last = match.span()
        if first >= edge:
            break
        is_escape = text[first - 1 : first] == "\\" and edge == first + 1
        if edge < last and not is_escape:
            return match.group()
    return None


def half_indented(text: str, start: int, old: str, new: str) -> str | None:
    """Say that the old text leaves out the indentation before it and the new one reckons otherwise.

    Its lines would land too far left, or its first line twice as deep.
    """
    indent = text[text.rfind("\n", 0, start) + 1 : start]
    if indent == "" or indent.strip(" \t") or old[0].isspace():
        return None
    old_rest, new_rest = (
        [line.startswith(indent) for line in part.split("\n")[1:] if line.strip()]
        for part in (old, new)
    )
    if not new.startswith((" ", "\t")) and (all(new_rest) or not all(old_rest)):
        return None
    return (
        f"old_str begins after the indentation of line {line_at(text, start)}, and the lines of "
        "new_str do not go with that; give both with the indentation of every line."
    )


def doubled(text: str, start: int, old: str, new: str) -> int | None:
    """Return where the new text, which holds the old one, is already around it."""
    for offset in find_all(new, old):
        first = start - offset
        if first >= 0 and text.startswith(new, first):
            return first
    return None


def escaped_old(path: str, text: str, old: str) -> str | None:
    """Say that the text would have been found without its escapes."""
    plain = old.replace(r"\n", "\n").replace(r"\t", "\t").replace(r"\"", '"')
    for candidate in (plain, html.unescape(old), html.unescape(plain)):
        wanted = candidate.strip("\n")
        offset = text.find(wanted) if wanted.strip() and candidate != old else -1
        if offset >= 0:
            names = ", ".join(name for name in _used(old) if name not in _used(candidate))
            return (
                f"old_str not found in {path}: it has {names} where line "
                f"{line_at(text, offset)} has the character itself. Write old_str and new_str "
                "without such escapes."
            )
    return None


def escaped_new(path: str, after: str, region: str, start: int, new: str) -> str | None:
    """Say that the new text has escapes where the language has no use for them.

    `after` is the whole file with `new` at `start`, in place of `region`.
    """
    language = language_of(path)
    fresh = [name for name in _used(new) if name not in _used(region)]
    if language is None or not fresh:
        return None
    for name in fresh:
        offsets = [start + match.start() for match in _ESCAPES[name].finditer(new)]
        if not _is_named(name, after) and _any_bare(after, offsets, language):
            return (
                f"new_str has {name} outside of any string or comment, and the text it replaces "
                "had not; write the character itself."
            )
    return None


def _used(text: str) -> Sequence[str]:
    return [name for name, pattern in _ESCAPES.items() if pattern.search(text)]


def _is_named(escape: str, text: str) -> bool:
    """Say whether `&amp;` may be the address of something called `amp`."""
    word = escape.strip("&;")
    return word.isalpha() and re.search(rf"\b{word}\b(?!;)|(?<!&)\b{word}\b", text) is not None


def _any_bare(text: str, offsets: Sequence[int], language: Language) -> bool:
    """Say whether one of these places is outside of what quotes."""
    from tree_sitter import Language as Grammar  # only who finds an escape loads it
    from tree_sitter import Parser

    module = importlib.import_module(language.module)
    parser = Parser(Grammar(getattr(module, language.function)()))
    root = parser.parse(text.encode()).root_node
    for offset in offsets:
        place = len(text[:offset].encode())
        node = root.descendant_for_byte_range(place, place + 1)
        kinds = []
        while node is not None:
            kinds.append(node.type)
            node = node.parent
        if not any(map(_QUOTING.search, kinds)):
            return True
    return False
