"""What the model sees of long or noisy text; pure functions, no file and no command.

`clean` takes terminal control out, `cut_middle` keeps both ends of an output, `number_lines`
writes lines of a file the way every tool shows them.
"""

import re
from collections.abc import Sequence

MAX_LINES = 400
MAX_BYTES = 24 * 1024
MAX_LINE_CHARACTERS = 2000

_ESCAPE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|\x1b[\]PX^_][^\x07\x1b\x9c]*(?:\x07|\x1b\\|\x9c)?"  # OSC, DCS, SOS, PM, APC: titles, links
    r"|\x1b[ -/]*[0-~]"  # two and three character escapes
    r"|\x9b[0-?]*[ -/]*[@-~]"  # CSI as one C1 character
)
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """Return what a person would have read: no escapes, no control characters but \\n and \\t.

    A line that was drawn over (`10%\\r20%\\r`) is left as it was drawn last.
    """
    text = _ESCAPE.sub("", text).replace("\r\n", "\n")
    if "\r" in text or "\b" in text:
        text = "\n".join(_erase(_last_drawn(line)) for line in text.split("\n"))
    return _CONTROL.sub("", text)


def _last_drawn(line: str) -> str:
    return next((part for part in reversed(line.split("\r")) if part), "")


def _erase(line: str) -> str:
    """Let every backspace take the character before it."""
    if "\b" not in line:
        return line
    kept: list[str] = []
    for character in line:
        if character != "\b":
            kept.append(character)
        elif kept:
            kept.pop()
    return "".join(kept)


def cut_middle(text: str, limit: int, num_total: int | None = None) -> str:
    """Keep the first and last `limit // 2` characters of a text that is longer than `limit`.

    `num_total` is the length before somebody else cut `text`, for an honest count in the mark.
    """
    if len(text) <= limit:
        return text
    half = limit // 2
    num_cut = max(num_total or 0, len(text)) - 2 * half
    return f"{text[:half]}\n[... {num_cut} characters cut ...]\n{text[-half:]}"


def number_lines(
    lines: Sequence[str],
    first: int = 1,
    max_lines: int = MAX_LINES,
    max_bytes: int = MAX_BYTES,
) -> str:
    """Write `lines` with their numbers, as many as fit, and name those that did not."""
    shown: list[str] = []
    num_bytes = 0
    for number, line in enumerate(lines, start=first):
        row = f"{number:>4}\t{_cut_line(line)}"
        num_bytes += len(row.encode(errors="replace")) + 1
        if shown and (len(shown) == max_lines or num_bytes > max_bytes):
            last = first + len(lines) - 1
            shown.append(f"[lines {number}-{last} not shown; use view_range]")
            break
        shown.append(row)
    return "\n".join(shown)


def _cut_line(line: str) -> str:
    if len(line) <= MAX_LINE_CHARACTERS:
        return line
    num_cut = len(line) - MAX_LINE_CHARACTERS
    return f"{line[:MAX_LINE_CHARACTERS]}[... {num_cut} characters cut ...]"
