"""A call of the model in the words of the protocol: title, kind, places, and what came of it."""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acp import schema

from agent.call_words import kind_of_bad
from agent.events import CallEnded
from agent.frontends.console import on_screen, visible
from agent.rules import EDITOR, changes_file
from inference.messages import BadToolCall, Message, ToolCall
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.diff import FileDiff, Side, files_of
from tools.textfile import TextFile

Kind = Literal["read", "edit", "search", "execute", "think", "other"]
Content = (
    schema.ContentToolCallContent | schema.FileEditToolCallContent | schema.TerminalToolCallContent
)
Call = ToolCall | BadToolCall
KINDS: Mapping[str, Kind] = {
    **{"bash": "execute", "run_tests": "execute", EDITOR: "edit", "search": "search"},
    **{"outline": "search", "explore": "search", "skill": "read", "todo": "think"},
}
EDITS = {"create": "Create", "undo_edit": "Undo the last edit of"}
"""What a command of the editor is called; else it is an edit."""
MAX_OUTPUT = 100_000
"""Characters of one result; the model has read no more."""
MAX_WHOLE = 200_000
"""Bytes of a file that is told whole where it is changed."""


@dataclass(frozen=True)
class Files:
    """Where the files of a talk are: the protocol names them from the root."""

    project: Path
    """The folder that the tools' paths begin at, wherever in it the talk was opened."""

    def absolute(self, path: str) -> str:
        """Return a path of the model as the client knows it."""
        return str(self.project / path)

    def text(self, path: str) -> str | None:
        """Return what is in a file; None if it is no text, or too long to be shown whole."""
        root = self.project.resolve()
        with suppress(OSError, ValueError, PathRefused):
            place = Path(self.absolute(path)).resolve().relative_to(root)
            data = Workspace(root, root).read(str(place))
            return TextFile.decode(data).text if len(data) <= MAX_WHOLE else None
        return None


def kind_of(call: Call) -> Kind:
    """Sort a call."""
    if isinstance(call, BadToolCall):
        return "other"
    if call.name == EDITOR and not changes_file(call):
        return "read"
    return KINDS.get(call.name, "other")


def title_of(call: Call) -> str:
    """Say on a line what a call does."""
    if isinstance(call, BadToolCall):
        return kind_of_bad(call).capitalize()
    argument = {name: visible(str(value)) for name, value in call.arguments.items()}
    path = argument.get("path", "")
    match call.name:
        case "bash":
            return argument.get("command") or "A command in the background"
        case "str_replace_editor" if not changes_file(call):
            return f"View {path}"
        case "str_replace_editor":
            return f"{EDITS.get(argument.get('command', ''), 'Edit')} {path}"
        case "search":
            return f"Search for {argument.get('pattern', '')}" + (f" in {path}" if path else "")
        case "run_tests":
            return "Run the tests"
        case "todo":
            return "Keep the list of steps"
        case "explore":
            return f"Explore: {argument.get('question', '')}"
    return visible(" ".join([call.name, *argument.values()]))


def places_of(call: Call, files: Files) -> list[schema.ToolCallLocation]:
    """Name the file of a call, and the line where it begins if that is known."""
    if isinstance(call, BadToolCall) or not isinstance(path := call.arguments.get("path"), str):
        return []
    lines = call.arguments.get("view_range")
    first = lines[0] if isinstance(lines, list) and lines else None
    line = first if isinstance(first, int) and first > 0 else None
    return [schema.ToolCallLocation(path=files.absolute(path), line=line)]


def started(number: str, call: Call, files: Files) -> schema.ToolCallStart:
    """Announce a call."""
    return schema.ToolCallStart(
        session_update="tool_call",
        tool_call_id=number,
        title=title_of(call),
        kind=kind_of(call),
        status="in_progress",
        locations=places_of(call, files) or None,
        raw_input=raw_input(call),
    )


def ended(number: str, call: Call, event: CallEnded, files: Files) -> schema.ToolCallProgress:
    """Tell what came of a call."""
    changes = list(diffs(event.diff or "", files, "+"))
    return schema.ToolCallProgress(
        session_update="tool_call_update",
        tool_call_id=number,
        status="completed" if event.ok else "failed",
        content=[*changes] or [words(event.text, fenced=kind_of(call) == "execute")],
        locations=lines_of(event.diff or "", files) or None,
        raw_output={"text": event.text, "summary": event.summary, "durationS": event.duration_s},
    )


def stopped(number: str) -> schema.ToolCallProgress:
    """Tell that a call was stopped; v1 has no other word for it than that it failed."""
    return schema.ToolCallProgress(
        session_update="tool_call_update",
        tool_call_id=number,
        status="failed",
        content=[words("Stopped before the end.")],
    )


def told(number: str, call: Call, result: Message, files: Files) -> schema.ToolCallProgress:
    """Tell what came of a call of which only the message is kept."""
    changes = [] if result.failed else [*written(call, files)]
    return schema.ToolCallProgress(
        session_update="tool_call_update",
        tool_call_id=number,
        status="failed" if result.failed else "completed",
        content=[*changes] or [words(result.content, fenced=kind_of(call) == "execute")],
        raw_output={"text": result.content},
    )


def raw_input(call: Call) -> dict[str, Any]:
    """Return exactly what the model asked for."""
    return {"raw": call.raw} if isinstance(call, BadToolCall) else dict(call.arguments)


def words(text: str, fenced: bool = False) -> schema.ContentToolCallContent:
    """Show text, the output of a command in a block of its own."""
    shown = on_screen(text[:MAX_OUTPUT])
    fence = "```"
    while fence in shown:
        fence += "`"
    shown = f"{fence}console\n{shown.rstrip()}\n{fence}" if fenced else shown
    return schema.ContentToolCallContent(
        type="content", content=schema.TextContentBlock(type="text", text=shown)
    )


def diffs(diff: str, files: Files, now: Side) -> Iterator[schema.FileEditToolCallContent]:
    """Yield each file that a unified diff changes, whole; `now` is what the disk has of it.

    Where the file cannot be had as the diff says, each place is told with the lines around it.
    """
    for file in files_of(diff):
        path, text = files.absolute(file.path), files.text(file.path)
        if file.is_new:
            yield _change(path, None, file.after(""))
        elif text is not None and file.fits(text, now):
            old, new = (text, file.after(text)) if now == "-" else (file.before(text), text)
            yield _change(path, old, new)
        else:
            for hunk in _hunks(file):
                yield _change(path, _side(hunk, "-"), _side(hunk, "+"))


def lines_of(diff: str, files: Files) -> list[schema.ToolCallLocation]:
    """Name the places that a diff changes."""
    return [
        schema.ToolCallLocation(path=files.absolute(file.path), line=_first_line(hunk))
        for file in files_of(diff)
        for hunk in _hunks(file)
    ]


def written(call: Call, files: Files) -> Iterator[schema.FileEditToolCallContent]:
    """Yield the change that a call asks for in so many words, where the diff is not known."""
    if not isinstance(call, ToolCall) or not changes_file(call):
        return
    path, new = call.arguments.get("path"), call.arguments.get("new_str")
    if call.arguments.get("command") == "create":
        new = call.arguments.get("file_text")
    if isinstance(path, str) and isinstance(new, str):
        old = call.arguments.get("old_str")
        yield _change(files.absolute(path), old if isinstance(old, str) else None, new)


def _change(path: str, old: str | None, new: str) -> schema.FileEditToolCallContent:
    return schema.FileEditToolCallContent(type="diff", path=path, old_text=old, new_text=new)


def _hunks(file: FileDiff) -> list[list[str]]:
    hunks: list[list[str]] = []
    for row in file.rows:
        if row.startswith("@@ "):
            hunks.append([])
        if hunks:
            hunks[-1].append(row)
    return hunks


def _side(hunk: list[str], sign: str) -> str:
    """Return the lines of a hunk as they were (`-`), or as they are (`+`)."""
    return "".join(f"{row[1:]}\n" for row in hunk[1:] if row[:1] in (" ", sign))


def _first_line(hunk: list[str]) -> int:
    """Return the number, in the new file, of the first line that a hunk changes."""
    start = int(hunk[0].split("+")[1].split(" ")[0].split(",")[0])
    num_same = next((n for n, row in enumerate(hunk[1:]) if row[:1] != " "), 0)
    return max(1, start + num_same)
