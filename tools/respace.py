"""The same lines in other white space: the one rescue of an edit whose text is not there.

It is for one place only, and only where everything that could explain the difference leads to the
same text: an edit is made as it was meant, or not at all. Pure functions on text with \\n endings.
"""

import difflib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tools.textfile import split_lines

Rule = Callable[[str], str | None]
"""From the indentation that a model wrote to the file's own; None where it cannot tell."""
_STEPS = ("\t", *(" " * number for number in range(1, 9)))
"""What one level of indentation may be."""


@dataclass(frozen=True)
class Replacement:
    """`text[start:end]` becomes `new`."""

    start: int
    end: int
    new: str


def find_respaced(text: str, old: str, new: str) -> Replacement | None:
    """Find the one place whose lines differ from `old` in trailing blanks or indentation alone.

    The indentation must differ in one way throughout: so much more or less, or in steps of another
    kind. `new` is brought to it; lines kept from `old` stay the file's.
    """
    old_lines, new_lines = _as_lines(old, new)
    if not any(line.strip() for line in old_lines):
        return None
    lines = split_lines(text)
    places = _same_but_blanks(lines, old_lines)
    if len(places) != 1:
        return None
    first = places[0]
    file_lines = lines[first : first + len(old_lines)]
    own_steps = [step for step in _STEPS if any(line.startswith(step) for line in lines)]
    replaced = _rewritten(file_lines, old_lines, new_lines, own_steps)
    if replaced is None:
        return None
    start = sum(len(line) + 1 for line in lines[:first])
    end = start + sum(len(line) + 1 for line in file_lines)
    if new_lines:
        end -= 1
    return Replacement(start, min(end, len(text)), "\n".join(replaced))


def _as_lines(old: str, new: str) -> tuple[list[str], list[str]]:
    """Split both into lines; a newline that ends both texts belongs to neither."""
    if not old.endswith("\n"):
        return old.split("\n"), new.split("\n")
    if new == "":
        return split_lines(old), []
    if new.endswith("\n"):
        return split_lines(old), split_lines(new)
    return [], []  # a line would be joined with the next: no matter of white space


def _same_but_blanks(lines: Sequence[str], old_lines: Sequence[str]) -> list[int]:
    stripped = [line.strip(" \t") for line in lines]
    wanted = [line.strip(" \t") for line in old_lines]
    return [
        first
        for first in range(len(lines) - len(wanted) + 1)
        if stripped[first] == wanted[0] and stripped[first : first + len(wanted)] == wanted
    ]


def _rewritten(
    file_lines: Sequence[str],
    old_lines: Sequence[str],
    new_lines: Sequence[str],
    own_steps: Sequence[str],
) -> list[str] | None:
    """Return the new lines as the file would indent them, if there is one way to."""
    pairs = [
        (_indent(old), _indent(own))
        for old, own in zip(old_lines, file_lines, strict=True)
        if old.strip(" \t")
    ]
    rules = [
        rule for rule in _rules(pairs, own_steps) if all(rule(old) == own for old, own in pairs)
    ]
    answers = [_rewrite(file_lines, old_lines, new_lines, rule) for rule in rules]
    return answers[0] if answers and all(answer == answers[0] for answer in answers) else None


def _indent(line: str) -> str:
    return line[: len(line) - len(line.lstrip(" \t"))]


def _rules(pairs: Sequence[tuple[str, str]], own_steps: Sequence[str]) -> Iterator[Rule]:
    """Yield what could have turned the file's indentation into what the model wrote."""
    old, own = max(pairs, key=lambda pair: len(pair[0]) + len(pair[1]))
    if all(theirs == ours for theirs, ours in pairs):
        yield lambda indent: indent
        return
    if own.endswith(old):
        yield _more(own[: len(own) - len(old)])
    if old.endswith(own):
        yield _less(old[: len(old) - len(own)])
    for step in _STEPS:
        for own_step in own_steps:
            depth, own_depth = _depth(old, step), _depth(own, own_step)
            if step == own_step or depth is None or own_depth is None:
                continue
            # Steps of spaces for other steps of spaces begin at the margin; else, who knows.
            if depth == own_depth or "\t" in (step, own_step):
                yield _in_steps(step, own_step, own_depth - depth)


def _more(prefix: str) -> Rule:
    return lambda indent: prefix + indent


def _less(prefix: str) -> Rule:
    return lambda indent: indent[len(prefix) :] if indent.startswith(prefix) else None


def _in_steps(step: str, own_step: str, num_more: int) -> Rule:
    def rule(indent: str) -> str | None:
        depth = _depth(indent, step)
        return None if depth is None or depth + num_more < 0 else own_step * (depth + num_more)

    return rule


def _depth(indent: str, step: str) -> int | None:
    depth = len(indent) // len(step)
    return depth if indent == step * depth else None


def _rewrite(
    file_lines: Sequence[str], old_lines: Sequence[str], new_lines: Sequence[str], rule: Rule
) -> list[str] | None:
    replaced: list[str] = []
    matcher = difflib.SequenceMatcher(None, old_lines, new_lines)
    for kind, old_first, old_end, new_first, new_end in matcher.get_opcodes():
        if kind == "equal":
            replaced += file_lines[old_first:old_end]
            continue
        for line in new_lines[new_first:new_end]:
            indent = rule(_indent(line)) if line.strip(" \t") else ""
            if indent is None:
                return None
            replaced.append(indent + line.lstrip(" \t"))
    return replaced
