"""Markdown and listings in rich's words, calm: no boxes, no frames, no ground of their own.

Apart from `paint.py`, since what it needs takes a tenth of a second to import.
"""

from typing import ClassVar

from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import Heading, Markdown, MarkdownElement, TableElement
from rich.syntax import Syntax
from rich.table import Table


class LeftHeading(Heading):
    """A heading that begins where all text begins."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Give the text alone."""
        self.text.justify = "left"
        yield self.text


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
        "table_open": WholeTable,
    }


def markdown(text: str, syntax: str) -> Markdown:
    """Return what rich draws a text with."""
    return CalmMarkdown(text, code_theme=syntax, hyperlinks=False)


def listing(code: str, language: str, syntax: str) -> Syntax:
    """Return what rich draws a listing with."""
    ground = "default"
    return Syntax(code, language or "text", theme=syntax, background_color=ground, word_wrap=True)
