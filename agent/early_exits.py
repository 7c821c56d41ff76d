"""Finds calls that end a program with success, where a repair has newly written them.

A command that is known by its exit code alone says the same when its tests pass and when the code
under test ends the process with 0 before they ran. Text is searched, in many languages and by the
usual names, so this stops what is written plainly and not what is hidden on purpose.
"""

import re
from collections import Counter

EXIT = re.compile(
    r"""
    \b(?:_exit|_Exit|quick_exit|reallyExit|SystemExit|exitCode|Goexit)\b
    | \bos\s*\.\s*(?:exec\w+|abort)\b
    | \b(?:sys|os|process|System|Kernel|Process)\s*(?:\.|::)\s*[eE]xit\b
    | (?<![\w.])(?:exit|quit|die)\s*[(!;]
    | (?m:^\s*exit(?:\s+0)?\s*$)
    | \bimport\b[^\n]*\bexit\b
    | ["']_?[eE]xit["']
    """,
    re.VERBOSE,
)
FAILS = re.compile(r"\s*\(?\s*[1-9]\d*\s*\)?")
"""What follows an exit that nobody takes for success."""


def added_exit(old: str, new: str) -> str:
    """Return the first such call of `new` that `old` has not, with its line; else nothing."""
    known = Counter(_name(found) for found in _exits(old))
    for found in _exits(new):
        name = _name(found)
        if known[name] == 0:
            return f"{name} in line {new.count(chr(10), 0, found.start()) + 1}"
        known[name] -= 1
    return ""


def _exits(text: str) -> list[re.Match[str]]:
    return [
        found
        for found in EXIT.finditer(text)
        if not FAILS.match(text[found.end() - found[0].endswith("(") :])
    ]


def _name(found: re.Match[str]) -> str:
    return re.sub(r"\s+", " ", found[0]).strip(" (!;\n")
