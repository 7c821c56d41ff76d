"""`str_replace_editor`: the model's eyes and hand on the files of the workspace.

An edit lands exactly where it was meant or explains itself in one result; it never guesses. It runs
no command, formats nothing, and reaches files only through the workspace.
"""

import errno
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from sandbox.base import Cancel, never
from sandbox.workspace import Workspace
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.match import closest, find_all, find_words, has_line_numbers, line_at
from tools.respace import find_respaced
from tools.textfile import NotText, TextFile, split_lines, unified_diff
from tools.truncate import MAX_LINES, clean, number_lines

_NUM_CONTEXT_LINES = 4
_NUM_REGION_LINES = 40
_NUM_LISTED = 10
_TOLD_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
"""What concerns one path alone, so that the model can go on; a full disk does not."""
_CHANGED_NOTE = "Note: the file had changed since you read it."
_RESPACED_NOTE = "Note: matched with different whitespace."


class StrReplaceEditor:
    """Views, creates and edits text files; remembers what it last showed of each."""

    name = "str_replace_editor"
    description = (
        "View, create and edit files. view: numbered lines of a file, or a directory's files. "
        "create: a new file holding file_text. str_replace: replace old_str, which must occur "
        "exactly once in the file, by new_str. insert: put new_str after line insert_line."
    )
    parameters: ClassVar[Mapping[str, Any]] = {
        "type": "object",
        "properties": {
            "command": {"type": "string", "enum": ["view", "create", "str_replace", "insert"]},
            "path": {"type": "string", "description": "File or directory, from the workspace."},
            "file_text": {"type": "string", "description": "For create."},
            "old_str": {
                "type": "string",
                "description": "For str_replace: exact text, without line numbers.",
            },
            "new_str": {"type": "string", "description": "For str_replace and insert."},
            "insert_line": {"type": "integer", "description": "For insert; 0 is the top."},
            "view_range": {
                "type": "array",
                "items": {"type": "integer"},
                "description": "For view: [first, last]; last -1 is the end.",
            },
        },
        "required": ["command", "path"],
    }

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._seen: dict[str, str] = {}

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Carry out one command.

        Raises:
            ToolFailed: nothing was changed; the sentence says what to try.
            PathRefused: the path leaves the workspace or is no regular file.
        """
        path = str(self._workspace.resolve(arguments["path"]))
        try:
            return self._carry_out(path, arguments)
        except OSError as error:
            if error.errno not in _TOLD_ERRORS:
                raise
            raise ToolFailed(f"{path}: {os.strerror(error.errno)}.") from error

    def _carry_out(self, path: str, arguments: Arguments) -> ToolResult:
        match arguments["command"]:
            case "view":
                return self._view(path, arguments.get("view_range"))
            case "create":
                (text,) = _needed(arguments, "file_text")
                return self._create(path, text)
            case "str_replace":
                old, new = _needed(arguments, "old_str", "new_str")
                return self._str_replace(path, old, new)
            case "insert":
                number, new = _needed(arguments, "insert_line", "new_str")
                return self._insert(path, number, new)
            case other:
                raise ToolFailed(
                    f"command must be view, create, str_replace or insert, not {other}."
                )

    # ---- commands

    def _view(self, path: str, view_range: Sequence[int] | None) -> ToolResult:
        if self._workspace.is_folder(path):
            return self._view_directory(path)
        file = self._read(path)
        self._remember(path, file)
        lines = file.lines
        if not lines:
            return ToolResult("[empty file]", f"viewed {path} (empty)")
        first, last = _checked_range(path, view_range, len(lines))
        return ToolResult(
            number_lines(lines[first - 1 : last], first), f"viewed {path} (lines {first}-{last})"
        )

    def _view_directory(self, path: str) -> ToolResult:
        names = self._workspace.listing(path, depth=2)
        rows = [clean(name.encode(errors="replace").decode()) for name in names[:MAX_LINES]]
        if len(names) > MAX_LINES:
            rows.append(f"[{len(names) - MAX_LINES} more not shown; view a directory below]")
        return ToolResult("\n".join(rows) or "[empty directory]", f"listed {path}")

    def _create(self, path: str, text: str) -> ToolResult:
        if self._workspace.exists(path):
            raise ToolFailed(f"{path} exists; use str_replace.")
        # The call's XML form cannot show a final newline apart from its own; a text file has one.
        if text and not text.endswith("\n"):
            text += "\n"
        file = TextFile(text)
        self._write(path, file)
        num_lines = len(file.lines)
        return ToolResult(
            f"Created {path} ({num_lines} lines).",
            f"created {path} (+{num_lines})",
            diff=unified_diff(path, None, text),
        )

    def _str_replace(self, path: str, old: str, new: str) -> ToolResult:
        old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
        if old == "":
            raise ToolFailed("old_str is empty; give the text to replace, or use insert.")
        if old == new:
            raise ToolFailed("old_str and new_str are the same text.")
        file = self._read(path)
        text = file.text
        changed = self._has_changed(path, file)
        notes = [_CHANGED_NOTE] if changed else []
        offsets = find_all(text, old)
        if len(offsets) > 1:
            raise ToolFailed(_stale(path) if changed else _ambiguous(path, text, offsets))
        if offsets:
            return self._edit(path, file, offsets[0], offsets[0] + len(old), new, notes)
        respaced = find_respaced(text, old, new)
        if respaced and text[respaced.start : respaced.end] != respaced.new:
            notes.append(_RESPACED_NOTE)
            return self._edit(path, file, respaced.start, respaced.end, respaced.new, notes)
        applied = respaced.start if respaced else find_words(text, new)
        if not changed:
            self._remember(path, file)
        raise ToolFailed(_missed(path, text, old, applied, changed))

    def _insert(self, path: str, number: int, new: str) -> ToolResult:
        file = self._read(path)
        if self._has_changed(path, file):
            raise ToolFailed(_stale(path))
        text, lines = file.text, file.lines
        if not 0 <= number <= len(lines):
            num = len(lines)
            raise ToolFailed(f"insert_line must be 0 to {num}; {path} has {num} lines.")
        offset = min(sum(len(line) + 1 for line in lines[:number]), len(text))
        block = new.replace("\r\n", "\n").removesuffix("\n")
        if number == len(lines) and text and not text.endswith("\n"):
            return self._edit(path, file, offset, offset, "\n" + block, [])
        return self._edit(path, file, offset, offset, block + "\n", [])

    # ---- files

    def _edit(
        self, path: str, file: TextFile, start: int, end: int, new: str, notes: list[str]
    ) -> ToolResult:
        edited = file.replace(start, end, new)
        self._write(path, edited)
        diff = unified_diff(path, file.text, edited.text)
        snippet = _snippet(edited, start, start + len(new))
        return ToolResult(
            "\n".join([f"Edited {path}:", snippet, *notes]),
            f"edited {path} ({_count_changes(diff)})",
            diff=diff,
        )

    def _read(self, path: str) -> TextFile:
        if not self._workspace.exists(path):
            raise ToolFailed(f"{path} does not exist.")
        if self._workspace.is_folder(path):
            raise ToolFailed(f"{path} is a directory; only view works on it.")
        try:
            return TextFile.decode(self._workspace.read(path))
        except NotText as error:
            raise ToolFailed(f"{path} is not UTF-8 text; this tool cannot open it.") from error

    def _write(self, path: str, file: TextFile) -> None:
        self._workspace.write_atomic(path, file.encode())
        self._remember(path, file)

    def _remember(self, path: str, file: TextFile) -> None:
        self._seen[path] = _digest(file)

    def _has_changed(self, path: str, file: TextFile) -> bool:
        return self._seen.get(path, _digest(file)) != _digest(file)


def _digest(file: TextFile) -> str:
    return hashlib.sha256(file.encode()).hexdigest()


def _needed(arguments: Arguments, *names: str) -> list[Any]:
    missing = [name for name in names if name not in arguments]
    if missing:
        raise ToolFailed(f"{arguments['command']} needs {' and '.join(missing)}.")
    return [arguments[name] for name in names]


def _checked_range(path: str, view_range: Sequence[int] | None, num_lines: int) -> tuple[int, int]:
    if view_range is None:
        return 1, num_lines
    first, last = view_range if len(view_range) == 2 else (0, 0)
    last = num_lines if last == -1 else min(last, num_lines)
    if not 1 <= first <= last:
        raise ToolFailed(
            f"view_range must be [first, last], within 1 to {num_lines}; "
            f"{path} has {num_lines} lines."
        )
    return first, last


def _snippet(file: TextFile, start: int, end: int) -> str:
    """Number the lines of `text[start:end]` and a few on either side."""
    lines, text = file.lines, file.text
    if not lines:
        return "[empty file]"
    first_edited = line_at(text, start)
    last_edited = line_at(text, max(start, end - 1))
    first = max(1, first_edited - _NUM_CONTEXT_LINES)
    return number_lines(lines[first - 1 : last_edited + _NUM_CONTEXT_LINES], first)


def _count_changes(diff: str) -> str:
    rows = split_lines(diff)[2:]
    num_added = sum(row.startswith("+") for row in rows)
    num_removed = sum(row.startswith("-") for row in rows)
    return f"+{num_added} -{num_removed}"


# ---- words for the model


def _stale(path: str) -> str:
    return f"{path} changed since you read it; view it again."


def _ambiguous(path: str, text: str, offsets: Sequence[int]) -> str:
    numbers = [str(line_at(text, offset)) for offset in offsets[:_NUM_LISTED]]
    if len(offsets) > _NUM_LISTED:
        numbers.append("...")
    return (
        f"old_str occurs {len(offsets)} times in {path} (lines {', '.join(numbers)}); "
        "give more lines so that it occurs once."
    )


def _missed(path: str, text: str, old: str, applied: int | None, changed: bool) -> str:
    """Say why `old` is not there, by the best reason; `applied` is where the new text stands."""
    if has_line_numbers(old):
        return f"old_str not found in {path}; leave out the line numbers that view shows."
    if applied is not None:
        line = line_at(text, applied)
        return f"Already applied: new_str is in {path} at line {line} and old_str is not."
    return _stale(path) if changed else _not_found(path, text, old)


def _not_found(path: str, text: str, old: str) -> str:
    regions = closest(text, old)
    if not regions:
        return f"old_str not found in {path}, nor anything like it; view the file."
    lines = split_lines(text)
    shown = [f"old_str not found in {path}. Closest:"]
    for region in regions:
        shown.append(f"lines {region.first}-{region.last} ({region.percent} % alike):")
        rows = lines[region.first - 1 : region.last]
        shown.append(number_lines(rows, region.first, max_lines=_NUM_REGION_LINES))
    return "\n".join(shown)
