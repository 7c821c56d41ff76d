"""A scripted model that edits a file: wrong at first, then it does as it is told.

It knows what it wants (a change of one line of one function) and what the tool has said to it;
it never sees the file. What it makes of a failure is what a small model would: leave out what it is
told to leave out, take the lines that are shown, or view the file.
"""

import html
import re

from evals.bench.edit_tasks import Task
from tools.base import Arguments

Row = tuple[int, str]
"""A line and its number, as the tool shows it."""


class ScriptedModel:
    """One task's model; `next` is its next call, or None when it is done or gives up."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._drifts = task.drifts
        self._old, self._new = task.old, task.new
        self._viewed: list[Row] = []

    def look(self) -> Arguments:
        """Return the call that views the file."""
        return {"command": "view", "path": self._task.path}

    def saw(self, said: str) -> None:
        """Remember what a view showed."""
        self._viewed = _rows(said)

    def first(self) -> Arguments:
        """Return the edit with its mistake."""
        return self._replace()

    def next(self, said: str) -> Arguments | None:
        """Return what to do about what the tool said, by its words alone."""
        if "Already applied" in said:
            return None
        if self._drifts:
            self._drifts = False
            return self._replace()
        if mended := self._mended(said):
            self._old, self._new = mended
            return self._replace()
        is_view = said.startswith(("Unchanged since", "   1\t"))
        rows = self._viewed if said.startswith("Unchanged since") else _rows(said)
        if is_view:
            self._viewed = rows
        block = self._block(rows)
        if block is None:
            return None if is_view else self.look()
        if "replace whole lines by number" in said:
            return self._by_number(block[-1])
        self._old = "\n".join(text for _, text in block)
        kept = [text for _, text in block[:-1]]
        self._new = "\n".join([*kept, *self._task.change.apply(block[-1][1])])
        return self._replace()

    def _replace(self) -> Arguments:
        words = {"old_str": self._old, "new_str": self._new}
        return {"command": "str_replace", "path": self._task.path, **words}

    def _by_number(self, row: Row) -> Arguments:
        number, line = row
        return {
            "command": "str_replace",
            "path": self._task.path,
            "view_range": [number, number],
            "new_str": "\n".join(self._task.change.apply(line)),
        }

    def _mended(self, said: str) -> tuple[str, str] | None:
        """Return the texts without what the tool says to leave out."""
        if "leave out the line numbers" in said or "leave them out" in said:
            return _without_numbers(self._old), _without_numbers(self._new)
        if "without such escapes" in said or "write the character itself" in said:
            return _unescaped(self._old), _unescaped(self._new)
        return None

    def _block(self, rows: list[Row]) -> list[Row] | None:
        """Return the rows from the function to the marked line, if they were shown together."""
        found = self._task.change.find([text for _, text in rows])
        if found is None:
            return None
        first, last = found
        is_whole = rows[last][0] - rows[first][0] == last - first
        return rows[first : last + 1] if is_whole else None


def _rows(said: str) -> list[Row]:
    matches = (re.fullmatch(r" *(\d+)\t(.*)", line) for line in said.split("\n"))
    return [(int(match[1]), match[2]) for match in matches if match]


def _without_numbers(text: str) -> str:
    return re.sub(r"(?m)^ *\d+\t", "", text)


def _unescaped(text: str) -> str:
    r"""Write out what is escaped, but for `\n` and `\t` inside of quotes."""
    parts = re.split(r"""("[^"]*"|'[^']*'|`[^`]*`)""", html.unescape(text))
    parts[::2] = [part.replace(r"\n", "\n").replace(r"\t", "\t") for part in parts[::2]]
    return "".join(parts)
