"""`str_replace_editor`: the model's eyes and hand on the files of the workspace.

An edit lands exactly where it was meant or explains itself in one result; it never guesses. It runs
no command, formats nothing, and reaches files only through the workspace. Its words are in
`editor_words.py`, what the model is told of it in `editor_forms.py`.
"""

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sandbox.base import Cancel, never
from sandbox.workspace import Workspace
from tools import editor_words as words
from tools import slips
from tools.base import Arguments, ToolResult
from tools.editor_forms import FULL, Form
from tools.errors import ToolFailed
from tools.match import find_words, line_at
from tools.placing import Ask, NoPlace, Rescue, find_place
from tools.readable import beware, shown
from tools.respace import find_respaced
from tools.shown import Shown
from tools.textfile import (
    NotText,
    NotWritable,
    TextFile,
    count_changes,
    difference,
    unified_diff,
)
from tools.truncate import MAX_LINES, number_lines
from tools.undo import Earlier, Edit, History, none_earlier

_NUM_CONTEXT_LINES = 4
_NUM_MISSES = 2
"""How many edits in a row find no place before another way is offered."""
_TOLD_ERRORS = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT)
"""What concerns one path alone, so that the model can go on; a full disk does not."""
_CHANGED_NOTE = "Note: the file had changed since you read it."
_SAVED_NOTE = "Note: the user's editor changed more when it saved the file."
_RESPACED_NOTE = "Note: matched with different whitespace."
_BYTES_NOTE = "[not UTF-8: other bytes are shown as \ufffd]"


class StrReplaceEditor:
    """Views, creates and edits text files; remembers what it showed and what it changed."""

    name = "str_replace_editor"

    def __init__(
        self,
        workspace: Workspace,
        form: Form = FULL,
        step: Callable[[], int] | None = None,
        rescue: Rescue = find_respaced,
        earlier: Earlier = none_earlier,
    ) -> None:
        """Lay the editor out for one conversation.

        Args:
            workspace: the files.
            form: what the model is told.
            step: says which reply is being carried out; without it the calls are counted here.
            rescue: finds text whose white space is another.
            earlier: gives the edits of a file that were made before a restart.
        """
        self.description = form.description
        self.parameters: Mapping[str, Any] = form.parameters
        self._workspace = workspace
        self._form = form
        self._rescue = rescue
        self._num_calls = 0
        self._shown = Shown(step or (lambda: self._num_calls))
        self._history = History(earlier)

    def forget(self) -> None:
        """Show every file whole again: the conversation no longer holds what was shown."""
        self._shown.forget()

    def take_up(self, path: str, before: bytes, after: bytes) -> str:
        """Make what somebody did to a file after its last edit part of that edit; show it.

        Raises:
            NotText: it cannot be shown.
        """
        edit = self._history.last(path)
        if edit is not None and edit.after == before:
            self._history.drop(path)
            self._history.add(path, Edit(edit.before, after))
        old, new = TextFile.decode(before), TextFile.decode(after)
        start, end, part = difference(old.text, new.text)
        return self._wrote(path, old, new, start, end, part)[0]

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Carry out one command.

        Raises:
            ToolFailed: nothing was changed; the sentence says what to try.
            PathRefused: the path leaves the workspace or is no regular file.
        """
        self._num_calls += 1
        path = str(self._workspace.real(arguments["path"]))
        try:
            return self._carry_out(path, arguments)
        except OSError as error:
            if error.errno not in _TOLD_ERRORS:
                raise
            raise ToolFailed(f"{path}: {os.strerror(error.errno)}.") from error
        except NotWritable as error:
            raise ToolFailed(f"{path} {error}") from error

    def _carry_out(self, path: str, arguments: Arguments) -> ToolResult:
        command = arguments["command"]
        if command not in self._form.commands:
            *others, last = self._form.commands
            raise ToolFailed(f"command must be {', '.join(others)} or {last}, not {command}.")
        if not self._form.is_plain:
            for name in ("file_text", "new_str"):
                _refuse(slips.too_long(name, arguments.get(name, "")))
        match command:
            case "view":
                return self._view(path, arguments.get("view_range"))
            case "create":
                (text,) = _needed(arguments, "file_text")
                return self._create(path, text)
            case "insert":
                number, new = _needed(arguments, "insert_line", "new_str")
                return self._insert(path, number, new)
            case "undo_edit":
                return self._undo(path)
        lines = None if self._form.is_plain else arguments.get("view_range")
        if lines is not None and not arguments.get("old_str"):
            (new,) = _needed(arguments, "new_str")
            return self._replace_lines(path, lines, new)
        old, new = _needed(arguments, "old_str", "new_str")
        return self._str_replace(path, old, new)

    # ---- commands

    def _view(self, path: str, view_range: Sequence[int] | None) -> ToolResult:
        if self._workspace.is_folder(path):
            return self._view_directory(path)
        file = self._read(path)
        lines = file.lines
        if not lines:
            self._shown.note(path, file)
            return ToolResult("[empty file]", f"viewed {path} (empty)")
        first, last = _checked_range(path, view_range, len(lines))
        step = self._shown.view(path, file, first, last)
        if step is not None and not self._form.is_plain:
            text = (
                f"Unchanged since step {step}: lines {first}-{last} of {path} are as shown there."
            )
            return ToolResult(text, f"viewed {path} (unchanged)")
        text = self._numbered(path, file, first, last)
        if not file.is_known:
            text = f"{text}\n{_BYTES_NOTE}"
        if warning := beware(text):
            text = f"{text}\n{warning}"
        return ToolResult(text, f"viewed {path} (lines {first}-{last})")

    def _view_directory(self, path: str) -> ToolResult:
        names = self._workspace.listing(path, depth=2)
        rows = [shown(name.encode(errors="replace").decode()) for name in names[:MAX_LINES]]
        if len(names) > MAX_LINES:
            rows.append(f"[{len(names) - MAX_LINES} more not shown; view a directory below]")
        return ToolResult("\n".join(rows) or "[empty directory]", f"listed {path}")

    def _create(self, path: str, text: str) -> ToolResult:
        if self._workspace.exists(path):
            raise ToolFailed(f"{path} exists; use str_replace.")
        # The call's XML form cannot show a final newline apart from its own; a text file has one.
        if text and not text.endswith("\n"):
            text += "\n"
        if not self._form.is_plain:
            _refuse(slips.escaped_new(path, text, "", 0, text))
        asked = TextFile(text)
        file = self._write(path, None, asked)
        self._shown.note(path, file)
        num_lines = len(file.lines)
        notes = [] if file == asked else [_SAVED_NOTE]
        return ToolResult(
            "\n".join([f"Created {path} ({num_lines} lines).", *notes]),
            f"created {path} (+{num_lines})",
            diff=unified_diff(path, None, file.text),
        )

    def _str_replace(self, path: str, old: str, new: str) -> ToolResult:
        file = self._read(path)
        changed = self._shown.has_changed(path, file)
        old, new = old.replace("\r\n", "\n"), new.replace("\r\n", "\n")
        ask = Ask(path, file.text, old, new, changed, self._form.is_plain)
        try:
            place = find_place(ask, self._rescue)
        except NoPlace as error:
            raise self._told(path, file, error) from error
        notes = [_CHANGED_NOTE] if changed else []
        if place.is_respaced:
            notes.append(_RESPACED_NOTE)
        return self._edit(path, file, place.start, place.end, place.new, notes)

    def _replace_lines(self, path: str, view_range: Sequence[int], new: str) -> ToolResult:
        """Replace whole lines by their numbers, which the model must have seen as they are now."""
        file = self._read(path)
        if self._shown.has_changed(path, file):
            raise ToolFailed(words.stale(path))
        lines, text = file.lines, file.text
        first, last = _checked_range(path, view_range, len(lines))
        if view_range[1] > len(lines):
            raise ToolFailed(words.out_of_range(path, len(lines)))
        if not self._shown.covers(path, file, first, last):
            raise ToolFailed(words.unseen(path, first, last))
        start = sum(len(line) + 1 for line in lines[: first - 1])
        end = start + len("\n".join(lines[first - 1 : last]))
        if new == "":
            return self._edit(path, file, start, min(end + 1, len(text)), "")
        block = new.replace("\r\n", "\n").removesuffix("\n")
        if block == text[start:end]:
            raise ToolFailed(f"Already applied: new_str is what lines {first}-{last} hold.")
        return self._edit(path, file, start, end, block)

    def _insert(self, path: str, number: int, new: str) -> ToolResult:
        file = self._read(path)
        if self._shown.has_changed(path, file):
            raise ToolFailed(words.stale(path))
        text, lines = file.text, file.lines
        if not 0 <= number <= len(lines):
            num = len(lines)
            raise ToolFailed(f"insert_line must be 0 to {num}; {path} has {num} lines.")
        offset = min(sum(len(line) + 1 for line in lines[:number]), len(text))
        block = new.replace("\r\n", "\n").removesuffix("\n")
        if not self._form.is_plain:
            if 0 < number < len(lines) and self._shown.has_moved(path, number):
                raise ToolFailed(words.unseen(path, number, number + 1))
            is_telling = (
                find_words(block, block) == 0
            )  # not a lone brace, which may well be doubled
            if is_telling and text.startswith(f"{block}\n", offset):
                raise ToolFailed(words.applied(path, number + 1, is_old_there=True))
        if number == len(lines) and text and not text.endswith("\n"):
            return self._edit(path, file, offset, offset, "\n" + block)
        return self._edit(path, file, offset, offset, block + "\n")

    def _undo(self, path: str) -> ToolResult:
        edit = self._history.last(path)
        if edit is None:
            raise ToolFailed(f"There is nothing to undo in {path}: it was not edited in this run.")
        if not self._workspace.exists(path) or self._workspace.read(path) != edit.after:
            raise ToolFailed(
                f"{path} has changed since your last edit, so that edit cannot be taken back; "
                "view the file and use str_replace."
            )
        try:
            now = TextFile.decode(edit.after)
        except NotText as error:  # a hook of the user's has come after the edit
            raise ToolFailed(f"{path} is no text any more; use bash to mend it.") from error
        if edit.before is None:
            self._workspace.remove(path)
            self._history.drop(path)
            diff = unified_diff(path, now.text, None)
            return ToolResult(
                f"Removed {path}, which you had created.", f"removed {path}", diff=diff
            )
        before = TextFile.decode(self._workspace.write_atomic(path, edit.before))
        self._history.drop(path)
        start, end, part = difference(now.text, before.text)
        snippet, diff = self._wrote(path, now, before, start, end, part)
        return ToolResult(
            f"Took back the last edit of {path}:\n{snippet}",
            f"took back an edit of {path} ({count_changes(diff)})",
            diff=diff,
        )

    # ---- files

    def _edit(
        self, path: str, file: TextFile, start: int, end: int, new: str, notes: Sequence[str] = ()
    ) -> ToolResult:
        edited = file.replace(start, end, new)
        if not self._form.is_plain:
            region = file.text[start:end]
            _refuse(slips.numbered_new(file.text, region, new))
            _refuse(slips.escaped_new(path, edited.text, region, start, new))
        written = self._write(path, file.encode(), edited)
        if written != edited:
            start, end, new = difference(file.text, written.text)
            notes = [*notes, _SAVED_NOTE]
        snippet, diff = self._wrote(path, file, written, start, end, new)
        return ToolResult(
            "\n".join([f"Edited {path}:", snippet, *notes]),
            f"edited {path} ({count_changes(diff)})",
            diff=diff,
        )

    def _write(self, path: str, before: bytes | None, file: TextFile) -> TextFile:
        """Write a file in place of `before`, to be taken back by `undo_edit`; return what it is."""
        data = file.encode()
        written = self._workspace.write_atomic(path, data)
        self._history.add(path, Edit(before, written))
        return file if written == data else TextFile.decode(written)

    def _wrote(
        self, path: str, before: TextFile, after: TextFile, start: int, end: int, new: str
    ) -> tuple[str, str]:
        """Return the lines around `new`, which stands for `start` to `end` now, and the diff."""
        first = line_at(after.text, start)
        last = line_at(after.text, max(start, start + len(new) - 1))
        num_more = len(after.lines) - len(before.lines)
        self._shown.wrote(path, before, after, first, last, num_more)
        diff = unified_diff(path, before.text, after.text)
        if not after.lines:
            return "[empty file]", diff
        first = max(1, first - _NUM_CONTEXT_LINES)
        last = min(len(after.lines), last + _NUM_CONTEXT_LINES)
        return self._numbered(path, after, first, last), diff

    def _numbered(self, path: str, file: TextFile, first: int, last: int) -> str:
        """Write lines with their numbers, and remember which of them were shown."""
        rows = number_lines(file.lines[first - 1 : last], first)
        *_, end = rows.rpartition("\n")
        num_shown = rows.count("\n") + (not end.startswith("[lines "))
        self._shown.note(path, file, first, first + num_shown - 1)
        return rows

    def _told(self, path: str, file: TextFile, error: NoPlace) -> ToolFailed:
        """Remember what a failure shows of the file; the second in a row offers another way."""
        if not self._shown.has_changed(path, file):
            self._shown.note(path, file)
            for region in error.regions:
                last = min(region.last, region.first + words.NUM_REGION_LINES - 1)
                self._shown.note(path, file, region.first, last)
        num_misses = self._shown.miss(path) if error.is_miss else 0
        if num_misses == _NUM_MISSES and not self._form.is_plain:
            return ToolFailed(words.by_number(str(error)))
        return error

    def _read(self, path: str) -> TextFile:
        if not self._workspace.exists(path):
            raise ToolFailed(f"{path} does not exist.")
        if self._workspace.is_folder(path):
            raise ToolFailed(f"{path} is a directory; only view works on it.")
        try:
            return TextFile.decode(self._workspace.read(path))
        except NotText as error:
            raise ToolFailed(f"{path} is not UTF-8 text; this tool cannot open it.") from error


def _needed(arguments: Arguments, *names: str) -> list[Any]:
    missing = [name for name in names if name not in arguments]
    if missing:
        raise ToolFailed(f"{arguments['command']} needs {' and '.join(missing)}.")
    return [arguments[name] for name in names]


def _refuse(slip: str | None) -> None:
    if slip is not None:
        raise ToolFailed(slip)


def _checked_range(path: str, view_range: Sequence[int] | None, num_lines: int) -> tuple[int, int]:
    if view_range is None:
        return 1, num_lines
    first, last = view_range if len(view_range) == 2 else (0, 0)
    last = num_lines if last == -1 else min(last, num_lines)
    if not 1 <= first <= last:
        raise ToolFailed(words.out_of_range(path, num_lines))
    return first, last
