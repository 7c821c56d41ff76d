"""What a person is shown before they allow a call: the exact text of it, and how much that is.

Nothing in it can hide: control and unseen characters are spelled as escapes, rows of empty lines
are counted, and what does not fit is told in lines and bytes. What runs is the call itself.
"""

import re

from tools.readable import shown

MAX_LINES = 40
MAX_LINE = 400
CUT = re.compile(r"\[\.\.\. \d+ more (?:lines|characters) \.\.\.\]")


def preview(text: str, is_diff: bool = False) -> str:
    """Write a command or a diff for a person to decide on; a plain line is shown as it is.

    Of a diff no size is told: it would be taken for that of the file.
    """
    num_bytes = len(text.encode("utf-8", "surrogatepass"))
    lines = text.split("\n")
    rows = _joined([_escaped(line) for line in lines])
    if len(rows) > MAX_LINES:
        half = MAX_LINES // 2
        rows = [*rows[:half], f"[... {len(rows) - 2 * half} more lines ...]", *rows[-half:]]
    if rows == [text] or is_diff:
        return "\n".join(rows)
    size = f"{num_bytes:,} bytes"
    if len(lines) > 1:
        size += f", {len(lines):,} lines"
    return "\n".join([*rows, f"[{size}]"])


def is_cut(shown: str) -> bool:
    """Say whether a preview leaves out a part of the text."""
    return CUT.search(shown) is not None


def spelled(line: str) -> str:
    """Return a line in which nothing is hidden: unseen characters are written as escapes."""
    return "".join(map(_letter, line))


def _escaped(line: str) -> str:
    """Spell a line; the middle of a long one is told by number."""
    whole = spelled(line)
    if len(whole) <= MAX_LINE:
        return whole
    half = MAX_LINE // 2
    return f"{whole[:half]}[... {len(whole) - 2 * half} more characters ...]{whole[-half:]}"


def _letter(letter: str) -> str:
    if letter == "\t" or (letter.isprintable() and shown(letter) == letter):
        return letter
    return letter.encode("unicode_escape").decode()


def _joined(lines: list[str]) -> list[str]:
    """Count rows of empty lines instead of showing them: padding moves a command off a screen."""
    rows: list[str] = []
    num_empty = 0
    for line in [*lines, "end"]:
        if not line.strip():
            num_empty += 1
            continue
        if num_empty > 2:
            rows.append(f"[{num_empty} empty lines]")
        else:
            rows += [""] * num_empty
        num_empty = 0
        rows.append(line)
    return rows[:-1]
