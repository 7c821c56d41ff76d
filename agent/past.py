"""What an earlier process of an attempt held in memory, found again in the journal.

The edits, so that they can be taken back one by one; and the commands in the background, which
ended with that process: the model is told so inside the next result.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from agent.journal import Record
from inference.messages import ToolCall
from sandbox.base import Cancel
from sandbox.checkpoint import Checkpoint
from sandbox.errors import PathRefused
from sandbox.workspace import Workspace
from tools.base import ToolResult
from tools.bash import Bash, first_line
from tools.editor import StrReplaceEditor
from tools.jobs import Jobs
from tools.undo import Edit

RESTARTED = "[qwen-agent was restarted: "
_JOB = re.compile(r"\[job (\d{1,9}): (\w+)")


@dataclass(frozen=True)
class _Change:
    """A call of the editor, and the checkpoints around it."""

    arguments: Mapping[str, Any]
    before: str
    after: str
    number: int
    """Of the message with its result."""


class Past:
    """Knows nothing until `recall`; what is asked of it then is about the time before."""

    def __init__(self, checkpoint: Checkpoint, workspace: Workspace, jobs: Jobs) -> None:
        self._checkpoint = checkpoint
        self._workspace = workspace
        self._jobs = jobs
        self._changes: list[_Change] = []
        self._news = ""

    def recall(self, records: Sequence[Record]) -> None:
        """Read the journal of the session that goes on; what counts is its last attempt."""
        starts = [n for n, record in enumerate(records) if record["type"] == "attempt"]
        reader = _Reader()
        for record in records[starts[-1] :] if starts else ():
            reader.read(record)
        self._changes = reader.changes
        self._jobs.recall(reader.num_jobs, reader.running)
        jobs = ", ".join(f"job {n} (`{first_line(line)}`)" for n, line in reader.running.items())
        if jobs:
            self._news = f"{RESTARTED}{jobs} ended with that. Start again what you need.]"

    def __call__(self, call: ToolCall, result: ToolResult, cancel: Cancel) -> ToolResult:
        """Tell in the first result which jobs are gone."""
        news, self._news = self._news, ""
        return replace(result, text=f"{result.text}\n\n{news}") if news else result

    def edits_of(self, path: str) -> tuple[Edit, ...]:
        """Return the edits of a file that were made before, and not taken back, oldest first."""
        edits: list[Edit] = []
        for change in self._changes:
            if self._path_of(change) != path:
                continue
            if change.arguments.get("command") == "undo_edit":
                del edits[-1:]
            elif edit := self._edit(path, change):
                edits.append(edit)
        return tuple(edits)

    def _path_of(self, change: _Change) -> str:
        try:
            return str(self._workspace.real(str(change.arguments.get("path", ""))))
        except PathRefused:
            return ""

    def _edit(self, path: str, change: _Change) -> Edit | None:
        """Return what a call did to its file; None if that is nothing."""
        name = str(self._workspace.folder / path)
        before = self._checkpoint.file(change.before, name)
        after = self._checkpoint.file(change.after, name)
        return None if after is None or before == after else Edit(before, after)


class _Reader:
    """Goes through the records of one attempt."""

    def __init__(self) -> None:
        self.changes: list[_Change] = []
        self.running: dict[int, str] = {}
        """The commands of the jobs that had not ended, as far as the model was told."""
        self.num_jobs = 0
        self._tree = ""
        self._calls: list[dict[str, Any]] = []
        """Those of the last reply that have no result yet."""
        self._num_messages = 0

    def read(self, record: Record) -> None:
        """Take one record up."""
        match record["type"]:
            case "attempt":
                self._tree, self._num_messages = record["tree"], 1
            case "phase":
                self._tree = record["tree"]
            case "saved":
                self._tree = record["trees"][-1]
            case "turn":
                self.running.clear()  # they end with it
            case "message":
                self._message(record["message"], record.get("tree", self._tree))
            case "compacted":
                self._num_messages = len(record["messages"])
                self.changes = [replace(change, number=0) for change in self.changes]
            case "rewind":
                self._tree, self._num_messages = record["tree"], record["keeps"]
                self.changes = [one for one in self.changes if one.number < record["keeps"]]

    def _message(self, message: dict[str, Any], tree: str) -> None:
        if message["role"] == "assistant":
            self._calls = list(message.get("tool_calls", ()))
        elif message["role"] == "tool" and self._calls:
            self._result(self._calls.pop(0), message.get("content", ""), tree)
        self._tree = tree
        self._num_messages += 1

    def _result(self, call: dict[str, Any], text: str, tree: str) -> None:
        name, arguments = call.get("name"), call.get("arguments", {})
        if name == StrReplaceEditor.name and tree != self._tree:
            change = _Change(arguments, self._tree, tree, self._num_messages)
            self.changes.append(change)
        if RESTARTED in text:
            self.running.clear()
        if name == Bash.name and (told := _JOB.findall(text)):
            number, state = int(told[-1][0]), told[-1][1]
            if arguments.get("background"):
                self.num_jobs = max(self.num_jobs, number)
                self.running[number] = str(arguments.get("command", ""))
            if state != "runs":
                self.running.pop(number, None)
