"""HTML and SVG put together so that text can never become a tag; knows nothing of evals.

What a model, a repository or a test wrote is untrusted. Only `tag` makes markup, and it escapes
every piece of text it is given; a page also forbids the browser to run or load anything at all.
"""

from collections.abc import Iterable
from html import escape

from tools.readable import readable

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
EMPTY = frozenset({"meta", "line", "circle", "rect", "path", "polyline"})
"""Elements that hold nothing."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


Child = str | Markup | Iterable[Markup]
Cell = str | Markup


def tag(name: str, /, *children: Child, **attributes: object) -> Markup:
    """Make an element; `class_` and the like lose their last `_`, other `_` become `-`."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(readable(str(value)))}"'
        for key, value in attributes.items()
    )
    if name in EMPTY:
        return Markup(f"<{name}{written}/>")
    return Markup(f"<{name}{written}>{joined(children)}</{name}>")


def joined(children: Iterable[Child]) -> Markup:
    """Put markup and text after one another, the text escaped."""
    return Markup("".join(_written(child) for child in children))


def page(title: str, style: str, *children: Child) -> str:
    """Make a whole document that loads nothing."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", Markup(style)),
    )
    body = tag("body", tag("main", tag("h1", title), *children))
    return f"<!DOCTYPE html>\n{tag('html', head, body, lang='en')}\n"


def _written(child: Child) -> str:
    if isinstance(child, Markup):
        return child
    if isinstance(child, str):
        return escape(readable(child))
    return "".join(child)
