"""`outline`: the symbols of a file, where a name is defined and used, a map of the repository.

It reads syntax trees, so that a word in a comment is no use of a name. It runs no command.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import Any, ClassVar, NamedTuple

from sandbox.base import Cancel, never
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.grammars import NotParsed
from tools.repository_map import CountTokens, RepositoryMap, estimate_tokens, symbol_row
from tools.symbols import Definition, Symbols
from tools.syntax import DOUBT, Fault, NotRead, reader_of
from tools.textfile import NotText, TextFile

MAX_SYMBOLS = 200
"""Of one file."""
MAX_FILES = 100
"""Read for one name."""
MAX_DEFINITIONS = 20
MAX_REFERENCES = 40
MAX_SUGGESTIONS = 5
_LAST_NAME = re.compile(r"([^\s.:#()]+)\W*$")
"""`total` of `Cart.total()`, `Cart::total` and `Cart#total`."""


class Outline:
    """Shows the structure of code."""

    name = "outline"
    description = (
        "See the structure of code. With path: the symbols of a file or folder and their lines. "
        "With name: where a symbol is defined and used. With neither: a map of the repository."
    )
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "File or folder."},
            "name": {"type": "string", "description": "Function, class or constant."},
            "focus": {
                "type": "array",
                "items": {"type": "string"},
                "description": "Files you work on; the map shows what they use.",
            },
        },
        "required": [],
    }

    def __init__(
        self,
        workspace: Workspace,
        max_tokens: int = 1000,
        count_tokens: CountTokens = estimate_tokens,
    ) -> None:
        self._workspace = workspace
        self._map = RepositoryMap(workspace, max_tokens, count_tokens)

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Look and tell.

        Raises:
            ToolFailed: the path or the name is not there, or a file cannot be parsed.
            PathRefused: a path leaves the workspace.
        """
        path, is_folder = self._find(arguments.get("path") or ".")
        if name := (arguments.get("name") or "").strip():
            return self._name(name, f"{path}/" if is_folder and path else path, cancel)
        if not is_folder:
            return self._file(path)
        focus = [self._find(one) for one in arguments.get("focus") or ()]
        return self._folder(path, focus, cancel)

    def _find(self, text: str) -> tuple[str, bool]:
        """Return a path relative to the workspace, empty for itself, and whether it is a folder."""
        path = str(self._workspace.resolve(text))
        if not self._workspace.exists(path):
            raise ToolFailed(f"{path} does not exist.")
        return "" if path == "." else path, self._workspace.is_folder(path)

    def _file(self, path: str) -> ToolResult:
        try:
            definitions = self._map.index.read(path).definitions
        except NotParsed as error:
            raise ToolFailed(f"{path} {error}; use view or search.") from error
        except OSError as error:
            raise ToolFailed(f"{path} could not be read: {error.strerror}.") from error
        rows = [symbol_row(one) for one in definitions[:MAX_SYMBOLS]]
        if num_more := len(definitions) - len(rows):
            rows.append(f"[{num_more} more, from line {definitions[MAX_SYMBOLS].first} on]")
        text = "\n".join([path, *rows]) if rows else f"{path} defines nothing."
        if fault := self._fault(path):
            text += f"\n[not all of it was understood: line {fault.line}: {fault.words}]"
        return ToolResult(text, f"outlined {path} ({_count(len(definitions), 'symbol')})")

    def _fault(self, path: str) -> Fault | None:
        """Return the first mistake in a file, which may hide what comes after it."""
        reader = reader_of(path)
        with suppress(NotRead, NotText, PathRefused, OSError):
            text = TextFile.decode(self._workspace.read(path)).text
            faults = reader(text) if reader else ()
            return next((fault for fault in faults if not fault.words.endswith(DOUBT)), None)
        return None

    def _folder(self, path: str, focus: Iterable[tuple[str, bool]], cancel: Cancel) -> ToolResult:
        self._update(cancel)
        files = self._map.index.files
        near = frozenset(
            file
            for file in files
            for one, is_folder in focus
            if file == one or (is_folder and file.startswith(f"{one}/" if one else ""))
        )
        where = path or "the repository"
        text = self._map.draw(f"{path}/" if path else "", near)
        return ToolResult(text or f"No source file in {where}.", f"mapped {where}")

    def _name(self, text: str, below: str, cancel: Cancel) -> ToolResult:
        """Tell where a name is defined and used, in files whose paths begin with `below`."""
        self._update(cancel)
        last = _LAST_NAME.search(text)
        name = last[1] if last else text
        paths = self._holders(name, below)
        found = [*self._read(paths[:MAX_FILES])]
        definitions = [
            f"{path}:{one.line}: {one.signature}  [{one.first}-{one.last}]"
            for path, symbols in found
            for one in symbols.definitions
            if one.name == name
        ]
        uses = [use for path, symbols in found for use in _uses(name, path, symbols)]
        if not definitions and not uses:
            raise ToolFailed(self._not_found(name, f"in {below}" if below else "here"))
        rows = [_title("defined", len(definitions)), *_cut(definitions, MAX_DEFINITIONS)]
        where = f" in {below}, and nothing else was searched" if below and not uses else ""
        rows += [_title("used", len(uses), where), *_grouped(uses[:MAX_REFERENCES])]
        if (num_more := len(uses) - MAX_REFERENCES) > 0:
            others = f" in {MAX_FILES} of {len(paths)} files" if len(paths) > MAX_FILES else ""
            rows.append(f"[{num_more} more uses{others}; name a path to narrow]")
        summary = f"{_count(len(definitions), 'definition')}, {_count(len(uses), 'reference')}"
        return ToolResult("\n".join(rows), f"looked up {name} ({summary})")

    def _update(self, cancel: Cancel) -> None:
        self._map.update(cancel)
        if cancel():
            raise ToolFailed("The outline was cancelled.")

    def _holders(self, name: str, below: str) -> list[str]:
        """Return the files that define or mention a name: definers first, tests last."""
        found: list[tuple[bool, float, str]] = []
        for path, file in self._map.index.files.items():
            is_here = path.startswith(below) if below.endswith("/") else below in ("", path)
            defines = is_here and any(one.name == name for one in file.definitions)
            if defines or (is_here and (name in file.mentions or name in file.members)):
                found.append((not defines, -file.weight, path))
        return [path for _, _, path in sorted(found)]

    def _read(self, paths: Iterable[str]) -> Iterator[tuple[str, Symbols]]:
        for path in paths:
            # One that is not there any more, or is something else, has no symbols.
            with suppress(NotParsed, PathRefused, OSError):
                yield path, self._map.index.read(path)

    def _not_found(self, name: str, where: str) -> str:
        known = {one.name for file in self._map.index.files.values() for one in file.definitions}
        similar = sorted(
            (one for one in known if name.lower() in one.lower()), key=lambda one: (len(one), one)
        )
        hint = f"; similar: {', '.join(similar[:MAX_SUGGESTIONS])}" if similar else ""
        return f"No code {where} defines or uses {name}{hint}. Use search for other text."


class _Use(NamedTuple):
    """A line that uses a name."""

    path: str
    around: tuple[Definition, ...]
    line: int
    text: str


def _uses(name: str, path: str, symbols: Symbols) -> Iterator[_Use]:
    lines = {symbols.line_of(one) for one in symbols.references if one.name == name}
    for line in sorted(lines):
        yield _Use(path, symbols.around(line), line, symbols.text_of(line))


def _grouped(uses: Iterable[_Use]) -> Iterator[str]:
    """Write uses below the file and the definition they are in."""
    for (path, around), group in groupby(uses, key=lambda use: (use.path, use.around)):
        inside = ".".join(one.name for one in around)
        yield f"{path} in {inside}  [{around[-1].first}-{around[-1].last}]" if around else path
        yield from (f"{use.line:>6}: {use.text}" for use in group)


def _cut(rows: list[str], limit: int) -> list[str]:
    if len(rows) <= limit:
        return rows
    return [*rows[:limit], f"[{len(rows) - limit} more]"]


def _title(what: str, number: int, where: str = "") -> str:
    if number == 0:
        return f"Nowhere {what}{where}."
    return f"{what.capitalize()} in {_count(number, 'place')}:"


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
