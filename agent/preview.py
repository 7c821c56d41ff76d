"""What a person is shown before they allow a call: the exact text of it, and how much that is.

Nothing in it can hide: control and unseen characters are spelled as escapes, rows of empty lines
are counted, and what does not fit is told in lines and bytes. What runs is the call itself.
"""

from tools.readable import shown

MAX_LINES = 40
MAX_LINE = 400


def preview(text: str, is_diff: bool = False) -> str:
    """Write a command or a diff for a person to decide on; a plain line is shown as it is.

    Of a diff no size is told: it would be taken for that of the file.
    """
    rows = _joined([_escaped(line) for line in text.split("\n")])
    if len(rows) > MAX_LINES:
        half = MAX_LINES // 2
        rows = [*rows[:half], f"[... {len(rows) - 2 * half} more lines ...]", *rows[-half:]]
    return "\n".join(rows if is_diff else _with_size(rows, text))


def whole(text: str, is_diff: bool = False) -> str:
    """Write it as `preview` does, however long it is: for a screen that scrolls."""
    rows = _joined([spelled(line) for line in text.split("\n")])
    return "\n".join(rows if is_diff else _with_size(rows, text))


def spelled(line: str) -> str:
    """Return a line in which nothing is hidden: unseen characters are written as escapes."""
    return "".join(map(_letter, line))


def _with_size(rows: list[str], text: str) -> list[str]:
    """Add how much a text is, unless it is one line that is shown as it is."""
    if rows == [text]:
        return rows
    size = f"{len(text.encode('utf-8', 'surrogatepass')):,} bytes"
    if num_more := text.count("\n"):
        size += f", {num_more + 1:,} lines"
    return [*rows, f"[{size}]"]


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
