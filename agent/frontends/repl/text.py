"""Text from elsewhere made fit for a terminal: nothing in it is obeyed, and it takes its room.

The model, its tools and the files of the repository may print anything. Here escapes and unseen
characters go, and lines are cut by the cells they fill, which wide characters fill two of.
"""

from rich.cells import cell_len, set_cell_size

from agent.frontends.console import on_screen


def harmless(text: str) -> str:
    """Return what a person would have read, its lines and indentation kept."""
    return on_screen(text).expandtabs(4)


def one_line(text: str, width: int) -> str:
    """Return a text as one line of at most `width` cells."""
    return fit(" ".join(harmless(text[: 8 * width + 1_000]).split()), width)


def sentence(words: str) -> str:
    """Write what went wrong as a sentence; a name that it begins with stays as it is."""
    first = words.partition(" ")[0]
    is_word = first.isalpha() and first.islower()
    shown = f"{words[:1].upper()}{words[1:]}" if is_word else words
    return shown if shown.endswith((".", "?", "!")) else f"{shown}."


def fit(line: str, width: int) -> str:
    """Cut a line that is wider than `width` cells, and say so with an ellipsis."""
    if cell_len(line) <= width:
        return line
    return set_cell_size(line, max(0, width - 1)).rstrip() + "…" if width > 0 else ""


def join_ends(left: str, right: str, width: int) -> str:
    """Put two texts at the ends of a line; the left one gives way."""
    right = fit(right, width)
    left = fit(left, width - cell_len(right) - 2)
    return left + " " * (width - cell_len(left) - cell_len(right)) + right


def count_words(num_tokens: int) -> str:
    """Write a number of tokens in four characters or so: `950`, `12.4k`, `262k`."""
    if num_tokens < 1_000:
        return str(num_tokens)
    thousands = num_tokens / 1_000
    return f"{thousands:.1f}k" if thousands < 100 else f"{thousands:.0f}k"


def seconds_words(seconds: float) -> str:
    """Write a time as people say it: `0.4 s`, `12 s`, `3 min 5 s`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
