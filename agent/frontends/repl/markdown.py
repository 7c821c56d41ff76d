"""Markdown and listings in rich's words, calm: no boxes, no frames, no ground of their own.

Apart from `paint.py`, since what it needs takes a tenth of a second to import.
"""

from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import (
    Heading,
    HorizontalRule,
    ListItem,
    Markdown,
    MarkdownElement,
    TableElement,
)
from rich.rule import Rule
from rich.segment import Segment
from rich.syntax import Syntax
from rich.table import Table
from rich.text import Text


class LeftHeading(Heading):
    """A heading that begins where all text begins."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the text alone."""
        self.text.justify = "left"
        yield self.text


class Line(HorizontalRule):
    """A line across, as in tables."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw it."""
        yield Rule(style=console.get_style("markdown.hr"), characters="─")
        yield Text()


class Item(ListItem):
    """An item of a list, whose number has its dot."""

    def render_number(
        self, console: Console, options: ConsoleOptions, number: int, last_number: int
    ) -> RenderResult:
        """Draw it with its number."""
        label, room = f"{number}.", len(f"{last_number}.") + 2
        style = console.get_style("markdown.item.number")
        lines = console.render_lines(
            self.elements, options.update(width=options.max_width - room), style=self.style
        )
        for row, line in enumerate(lines):
            yield Segment(f"{label if row == 0 else '':>{room - 1}} ", style)
            yield from line
            yield Segment("\n")


class WholeTable(TableElement):
    """A table whose words go on in the next line where its columns are narrow; none is cut."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the table."""
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table), "rich draws it as one"
            for column in table.columns:
                column.overflow = "fold"
            yield table


class CalmMarkdown(Markdown):
    """Markdown without boxes around its headings."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **Markdown.elements,
        "heading_open": LeftHeading,
        "hr": Line,
        "list_item_open": Item,
        "table_open": WholeTable,
    }


def markdown(text: str, syntax: str) -> Markdown:
    """Return what rich draws a text with."""
    return CalmMarkdown(text, code_theme=syntax, hyperlinks=False)


def listing(code: str, language: str, syntax: str) -> Syntax:
    """Return what rich draws a listing with."""
    ground = "default"
    return Syntax(code, language or "text", theme=syntax, background_color=ground, word_wrap=True)
