"""One run's conversation and its folder on disk; knows no model, no tool and no screen.

`<state>/sessions/<id>/` holds `journal.jsonl`, the copy the model works on, its checkpoints, and
the patch. All of it is private to the user. A session that was killed is opened again by reading
the journal: messages with the token ids the model generated, and the last checkpoint.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.errors import SessionError, UsageError
from agent.journal import Journal, Record, read
from agent.outcome import RESUMABLE
from inference.messages import BadToolCall, Message, ToolCall, Usage

JOURNAL = "journal.jsonl"


@dataclass(frozen=True)
class SessionInfo:
    """What a list of sessions shows."""

    id: str
    folder: Path
    repository: str
    model: str
    exit_code: int | None
    """None while it runs, and after it was killed."""
    sentence: str
    num_messages: int
    in_use: bool = False
    kind: str = "fix"
    """Or `talk`."""


@dataclass(frozen=True)
class Undone:
    """What one rewind took away."""

    messages: tuple[Message, ...]
    trees: tuple[str, ...]
    left: str
    """The checkpoint of the files as they were when it was taken away."""
    is_finished: bool


class Session:
    """The conversation of one run; everything added is on disk when the call returns."""

    def __init__(self, folder: Path, journal: Journal, start: Mapping[str, Any]) -> None:
        self.folder = folder
        self.start = start
        self.messages: list[Message] = []
        """The conversation of the current attempt."""
        self.usages: list[Usage] = []
        """The cost of every reply of every attempt."""
        self.num_steps = 0
        """Replies of this attempt, those included that were put in short form."""
        self.num_calls = 0
        """Results of this attempt, those included that were put in short form."""
        self.num_results = 0
        """Results of every attempt."""
        self.measured = (0, 0)
        """How many messages were counted last, and how many tokens that was; 0 is not yet."""
        self.attempt = 0
        self.phase = ""
        self.phase_start = 0
        """How many messages there were when the phase began."""
        self.is_finished = False
        """Whether the last message is the result of an accepted `finish`."""
        self.checkpoint = ""
        """The state of the workspace after the last recorded call of this attempt."""
        self.trees: list[str] = []
        """That state after each of the messages."""
        self.undone: list[Undone] = []
        """What rewinds took away and nothing has replaced yet, the last one last."""
        self.facts: dict[str, Record] = {}
        """The last record of each kind that only the run understands."""
        self._journal = journal

    @property
    def id(self) -> str:
        """The name a person resumes it by."""
        return self.folder.name

    @classmethod
    def create(cls, state: Path, start: Mapping[str, Any]) -> "Session":
        """Begin a session below the state folder.

        Raises:
            SessionError: the folder cannot be written.
        """
        name = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = state / "sessions" / name
        try:
            # One at a time: `mkdir(parents=True)` would leave the parents open to others.
            for path in (state, state / "sessions", folder):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.mkdir(mode=0o700, exist_ok=path != folder)
        except OSError as error:
            raise SessionError(f"{folder} cannot be created: {error.strerror}") from error
        journal = Journal.create(folder / JOURNAL)
        session = cls(folder, journal, dict(start))
        journal.append({"type": "start", **start})
        return session

    @classmethod
    def open(cls, folder: Path) -> "Session":
        """Go on with a session that was cut short.

        Raises:
            SessionError: it is damaged, in use, or never got as far as its first line.
        """
        journal, records = Journal.open(folder / JOURNAL)
        if not records or records[0]["type"] != "start":
            journal.close()
            raise SessionError(f"session {folder.name} stopped before it began")
        session = cls(folder, journal, records[0])
        try:
            for record in records[1:]:
                session._replay(record)
        except (KeyError, TypeError, ValueError) as error:
            journal.close()
            raise SessionError(f"session {folder.name} cannot be read: {error}") from error
        return session

    def begin(self, attempt: int, phase: str, checkpoint: str, system: str) -> None:
        """Start an attempt with a new conversation; a recorded `context` is part of it."""
        start = {"number": attempt, "phase": phase, "tree": checkpoint, "system": system}
        # The sections are in the journal once, however many attempts begin with them.
        self._append({"type": "attempt", **start, "has_context": "context" in self.facts})

    def go_on(self, phase: str, checkpoint: str) -> None:
        """Start the next phase of the attempt in the same conversation."""
        self._append({"type": "phase", "phase": phase, "tree": checkpoint})

    def add(
        self,
        message: Message,
        usage: Usage | None = None,
        checkpoint: str = "",
        finishes: bool = False,
    ) -> None:
        """Append a message, with what it cost or with the workspace it left."""
        record: Record = {"type": "message", "message": _message_record(message)}
        if usage is not None:
            record["usage"] = asdict(usage)
        if checkpoint:
            record["tree"] = checkpoint
        if finishes:
            record["finishes"] = True
        self._append(record)

    def compact(self, messages: Sequence[Message], num_tokens: int) -> None:
        """Go on with `messages`, about `num_tokens` long; the journal keeps the older ones."""
        numbers = {id(message): number for number, message in enumerate(self.messages)}
        kept = [numbers.get(id(message), message) for message in messages]
        entries = [one if isinstance(one, int) else _message_record(one) for one in kept]
        self._append({"type": "compacted", "messages": entries, "num_tokens": num_tokens})

    def use_model(self, name: str, system: str) -> None:
        """Let this model answer from here on: it reads what there is anew, in its own tokens."""
        self._append({"type": "model", "name": name, "system": system})

    def spend(self, usage: Usage) -> None:
        """Record what a reply cost that was dropped because it was cut short."""
        self._append({"type": "spent", "usage": asdict(usage)})

    def record(self, kind: str, **values: Any) -> None:
        """Record a fact about the run."""
        self._append({"type": kind, **values})

    def close(self) -> None:
        """Let another process have it."""
        self._journal.close()

    def _append(self, record: Record) -> None:
        self._journal.append(record)
        self._replay(record)

    def _replay(self, record: Record) -> None:
        """Bring what is in memory to where `record` says it is."""
        match record["type"]:
            case "attempt":
                self.attempt, self.phase = record["number"], record["phase"]
                self.checkpoint = record["tree"]
                context = self.facts["context"] if record.get("has_context") else {}
                sections = tuple(context.get("sections", ()))
                self.messages[:] = [Message("system", record["system"], sections=sections)]
                self.trees[:] = [self.checkpoint]
                self.undone.clear()
                self.phase_start = 1
                self.num_steps = self.num_calls = 0
                self.measured = (0, 0)
            case "phase":
                self.phase, self.checkpoint = record["phase"], record["tree"]
                self.trees[-1] = self.checkpoint
                self.phase_start = len(self.messages)
                self.facts["phase"] = record
            case "message":
                self._replay_message(record)
            case "compacted":
                # A number stands for the message that had it.
                entries = record["messages"]
                self.trees[:] = [
                    self.trees[entry] if isinstance(entry, int) else self.checkpoint
                    for entry in entries
                ]
                self.messages[:] = [
                    self.messages[entry] if isinstance(entry, int) else _message(entry)
                    for entry in entries
                ]
                self.undone.clear()
                self.measured = (len(self.messages), record["num_tokens"])
                self.phase_start = 1
            case "model":
                system = replace(self.messages[0], content=record["system"])
                rest = [replace(message, token_ids=()) for message in self.messages[1:]]
                self.messages[:] = [system, *rest]
                self.undone.clear()
                self.measured = (0, 0)
                self.facts["model"] = record
            case "rewind":
                keeps, left = record["keeps"], record["left"]
                messages, trees = tuple(self.messages[keeps:]), tuple(self.trees[keeps:])
                self.undone.append(Undone(messages, trees, left, self.is_finished))
                del self.messages[keeps:], self.trees[keeps:]
                self.checkpoint, self.is_finished = record["tree"], False
            case "redo":
                undone = self.undone.pop()
                self.messages.extend(undone.messages)
                self.trees.extend(undone.trees)
                self.checkpoint, self.is_finished = undone.left, undone.is_finished
            case "spent":
                self.usages.append(Usage(**record["usage"]))
            case kind:
                self.facts[kind] = record

    def _replay_message(self, record: Record) -> None:
        message = _message(record["message"])
        self.messages.append(message)
        self.checkpoint = record.get("tree", self.checkpoint)
        self.trees.append(self.checkpoint)
        self.undone.clear()
        self.is_finished = record.get("finishes", False)
        self.num_steps += message.role == "assistant"
        self.num_calls += message.role == "tool"
        self.num_results += message.role == "tool"
        if "usage" in record:
            usage = Usage(**record["usage"])
            self.usages.append(usage)
            self.measured = (len(self.messages), usage.num_prompt + usage.num_generated)


def list_sessions(state: Path) -> Iterator[SessionInfo]:
    """Yield the sessions below the state folder, newest first; damaged ones are told as such.

    Raises:
        SessionError: the state folder cannot be read.
    """
    root = state / "sessions"
    try:
        folders = sorted(root.iterdir(), reverse=True)
    except FileNotFoundError:
        return
    except OSError as error:
        raise SessionError(f"{root} cannot be read: {error.strerror}") from error
    for folder in folders:
        # Asked of the system and not of pathlib, which raises where it may not look.
        if os.access(folder, os.X_OK) and not (folder / JOURNAL).is_file():
            continue
        try:
            records = read(folder / JOURNAL)
        except SessionError as error:
            yield SessionInfo(folder.name, folder, "", "", 1, str(error), 0)
            continue
        if records:
            yield _info(folder, records)


def find_session(state: Path, name: str, repository: Path | None, kind: str = "fix") -> Path:
    """Return the folder of the session `name`, or of the last one of `repository` to go on with.

    A run of `fix` is gone on with until it has ended, a talk at any time.

    Raises:
        UsageError: there is none.
    """
    if name:
        folder = state / "sessions" / name
        if "/" in name or not (folder / JOURNAL).is_file():
            raise UsageError(f"there is no session {name}; see `qwen-agent sessions list`")
        return folder
    for info in list_sessions(state):
        is_open = kind == "talk" or info.exit_code in (None, *RESUMABLE)
        if is_open and info.kind == kind and info.repository == str(repository):
            return info.folder
    what = "talk about" if kind == "talk" else "unfinished session of"
    raise UsageError(f"there is no {what} {repository}")


def remove(folder: Path) -> None:
    """Delete a folder of the session; a file that a test made unreadable does not stop it."""

    def unlock(_function: object, path: str, _error: object) -> None:
        parent = Path(path).parent
        parent.chmod(0o700)
        if not Path(path).is_symlink() and Path(path).is_dir():
            Path(path).chmod(0o700)
            shutil.rmtree(path)
        else:
            os.unlink(path)  # noqa: PTH108 - the twin of what rmtree was doing

    if folder.exists():
        shutil.rmtree(folder, onerror=unlock)


def _info(folder: Path, records: tuple[Record, ...]) -> SessionInfo:
    start = records[0]
    ends = [record for record in records if record["type"] == "end"]
    return SessionInfo(
        id=folder.name,
        folder=folder,
        repository=start.get("repository", ""),
        model=start.get("model", ""),
        exit_code=ends[-1]["exit_code"] if ends else None,
        sentence=ends[-1]["sentence"] if ends else "not finished",
        num_messages=sum(record["type"] == "message" for record in records),
        kind=start.get("kind", "fix"),
    )


def _message_record(message: Message) -> Record:
    record = asdict(message)
    return {key: value for key, value in record.items() if value not in ("", (), [])}


def _message(record: Record) -> Message:
    calls = tuple(
        BadToolCall(**call) if "raw" in call else ToolCall(**call)
        for call in record.get("tool_calls", ())
    )
    return Message(
        role=record["role"],
        content=record.get("content", ""),
        thinking=record.get("thinking", ""),
        tool_calls=calls,
        token_ids=tuple(record.get("token_ids", ())),
    )
