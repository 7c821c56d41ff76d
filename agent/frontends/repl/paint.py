"""Draws Markdown, code, diffs and lines as text with colours, at the width of the screen.

It prints nothing: what it returns goes above the prompt, or into the part that is redrawn. What it
is given must be harmless already (`text.py`).
"""

import re
from collections.abc import Iterator
from io import StringIO

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text
from rich.theme import Theme as RichTheme

from agent.frontends.repl.blocks import Block
from agent.frontends.repl.theme import Theme

MARKDOWN = {
    **{f"markdown.h{n}": "bold" for n in range(1, 7)},
    "markdown.h1": "bold underline",
    "markdown.code": "accent",
    "markdown.code_block": "none",
    "markdown.block_quote": "dim",
    "markdown.item.bullet": "accent",
    "markdown.item.number": "accent",
    "markdown.list": "none",
    "markdown.hr": "dim",
    "markdown.link": "accent",
    "markdown.link_url": "dim",
    "markdown.table.border": "dim",
    "markdown.table.header": "bold",
}
MIN_WIDTH = 20
EMPTY = re.compile(r"^(?:\x1b\[[\d;]*m| )+$", re.M)
TRAILING = re.compile(r" +((?:\x1b\[[\d;]*m)*)$", re.M)
"""Spaces up to the edge: a screen that is made narrower would fold them into empty lines."""


class Painter:
    """Draws in one theme at one width."""

    def __init__(self, theme: Theme, width: int) -> None:
        self.theme = theme
        self.width = max(MIN_WIDTH, width)
        styles = {**MARKDOWN, "accent": theme.accent}
        resolved = {name: theme.accent if s == "accent" else s for name, s in styles.items()}
        self._console = Console(
            file=StringIO(),
            width=self.width,
            force_terminal=True,
            color_system="standard",
            no_color=not theme.has_colour,
            legacy_windows=False,
            highlight=False,
            markup=False,
            emoji=False,
            theme=RichTheme(resolved),
        )

    def draw(self, *parts: RenderableType) -> str:
        """Return parts below each other, with escapes for colours; it ends with a line's end."""
        with self._console.capture() as capture:
            for part in parts:
                self._console.print(part)
        return TRAILING.sub(r"\1", EMPTY.sub("", capture.get()))

    def line(self, *spans: tuple[str, str]) -> str:
        """Return spans of (style, text) as one line, folded where the screen ends."""
        return self.draw(Text.assemble(*((text, style) for style, text in spans)))

    def block(self, block: Block) -> str:
        """Return a block of a reply."""
        gap = "\n" if block.has_gap else ""
        if block.language is not None:
            return gap + self.code(block.text, block.language)
        from agent.frontends.repl.markdown import markdown

        drawn = self.draw(markdown(block.text, self.theme.syntax))
        return gap + drawn.strip("\n") + "\n"

    def code(self, code: str, language: str) -> str:
        """Return a listing, indented."""
        from agent.frontends.repl.markdown import listing

        drawn = listing(code, language, self.theme.syntax)
        return self.draw(Padding(drawn, (0, 0, 0, 2), expand=False))

    def quoted(self, text: str, style: str, indent: int = 2) -> str:
        """Return a text as it is, indented and in one style."""
        return self.draw(Padding(Text(text, style), (0, 0, 0, indent), expand=False))

    def diff(self, diff: str, max_lines: int) -> str:
        """Return a diff, coloured by its lines; what is beyond `max_lines` is counted."""
        lines = diff.strip("\n").split("\n")
        spans = [*self._diff_lines(lines[:max_lines])]
        if len(lines) > max_lines:
            spans.append(Text(f"({len(lines) - max_lines} more lines)", self.theme.dim))
        return self.draw(Padding(Text("\n").join(spans), (0, 0, 0, 4), expand=False))

    def _diff_lines(self, lines: list[str]) -> Iterator[Text]:
        theme = self.theme
        styles = {"+": theme.added, "-": theme.removed, "@": theme.accent}
        for line in lines:
            is_name = line.startswith(("+++", "---"))
            yield Text(line, theme.dim if is_name else styles.get(line[:1], theme.dim))
