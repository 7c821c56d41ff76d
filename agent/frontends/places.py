"""Where in the repository a red test points to, for those who show it beside the source."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from tools.test_report import TestCase

FRAME = re.compile(
    r'^\s*(?:File "(?P<quoted>[^"<>\n]+)", line (?P<at>\d{1,9})'
    r"|(?P<plain>[^\s:<>\"'][^:<>\"'\n]*\.\w+):(?P<row>\d{1,9}):)",
    re.MULTILINE,
)
"""A line of a traceback: as Python writes it, and as pytest does."""


@dataclass(frozen=True)
class Place:
    """A line of a file of the repository."""

    path: str
    """Relative to the repository, with `/`."""
    line: int | None = None
    """From 1; None for the file as a whole."""


def place_of(case: TestCase, project: str = "") -> Place | None:
    """Return the innermost line of the repository in what a test left, or the file it is in.

    What a test prints is not to be trusted: a place is inside of the repository or there is none.

    Args:
        project: the folder that the tests run in, relative to the repository.
    """
    for frame in reversed(list(FRAME.finditer(case.details))):
        path = _inside(frame["quoted"] or frame["plain"], project)
        line = int(frame["at"] or frame["row"])
        if path and line:
            return Place(path, line)
    file, separator, _ = case.id.partition("::")
    path = _inside(file, project) if separator else None
    return Place(path) if path else None


def _inside(name: str, project: str) -> str | None:
    path = PurePosixPath(project, name)
    if name.startswith("/") or ".." in path.parts or not name.isprintable():
        return None
    return str(path)
