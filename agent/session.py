"""One run's conversation and its folder on disk; knows no model, no tool and no screen.

`<state>/sessions/<id>/` holds `journal.jsonl`, the copy the model works on, its checkpoints, and
the patch. All of it is private to the user. A session that was killed is opened again by reading
the journal: messages with the token ids the model generated, and the last checkpoint. Where a line
of it is lost, the conversation goes on from before that line; what came later stays in the file.
"""

import secrets
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from agent.errors import SessionError
from agent.journal import Contents, Journal, Record, read
from agent.message_records import message_of, record_of
from inference.messages import Message, Usage

JOURNAL = "journal.jsonl"
CONVERSATION = frozenset(
    {"phase", "message", "compacted", "rewind", "redo", "call", "turn", "model", "saved"}
)
"""Kinds of records that mean something only after all that came before them."""
OWN = frozenset({"start", "context"})
"""Kinds of records that a session which takes another one over has itself."""


@dataclass(frozen=True)
class Undone:
    """What one rewind took away."""

    messages: tuple[Message, ...]
    trees: tuple[str, ...]
    left: str
    """The checkpoint of the files as they were when it was taken away."""
    tree: str
    """That of what the rewind made of those that the model had changed."""
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
        self._measures: list[tuple[int, int]] = []
        """How many messages were counted, and how many tokens they were, the last one last."""
        self.beside: tuple[Session, ...] = ()
        """Those of attempts that are made at the same time, and spend of the same budget."""
        self.attempt = 0
        self.num_attempts = 0
        """The highest number of an attempt that was begun."""
        self.phase = ""
        self.phase_start = 0
        """How many messages there were when the phase began."""
        self.is_finished = False
        """Whether the last message is the result of an accepted `finish`."""
        self.is_call_begun = False
        """Whether the next call that waits for its result was begun, perhaps by another process."""
        self.checkpoint = ""
        """The state of the workspace after the last recorded call of this attempt."""
        self.trees: list[str] = []
        """That state after each of the messages."""
        self.undone: list[Undone] = []
        """What rewinds took away and nothing has replaced yet, the last one last."""
        self.facts: dict[str, Record] = {}
        """The last record of each kind that only the run understands."""
        self.damage = ""
        """What opening it found lost, in a sentence; empty if nothing new is."""
        self._journal = journal
        self._lock = threading.Lock()
        self._last_seq = 0
        self._is_lost = False
        """Whether records that are missing keep those that follow from making sense."""
        self._num_unused = 0
        """Records passed over for that."""

    @property
    def measured(self) -> tuple[int, int]:
        """How many of the messages were counted last, and how many tokens they were; or zeros."""
        num = len(self.messages)
        return next((known for known in reversed(self._measures) if known[0] <= num), (0, 0))

    @property
    def costs(self) -> list[Usage]:
        """The cost of every reply of the run, those included that are recorded beside."""
        return [usage for session in (self, *self.beside) for usage in session.usages]

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
        return cls.create_at(state / "sessions" / name, start)

    @classmethod
    def create_at(cls, folder: Path, start: Mapping[str, Any]) -> "Session":
        """Begin a session in a new folder; raises as `create` does."""
        try:
            # One at a time: `mkdir(parents=True)` would leave the parents open to others.
            for path in (folder.parents[1], folder.parent, folder):
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
            SessionError: it is in use, cannot be written, or its first line is not there.
        """
        journal, contents = Journal.open(folder / JOURNAL)
        try:
            session = cls(folder, journal, start_of(contents, folder.name))
            session._replay_all(contents)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            journal.close()
            raise SessionError(f"session {folder.name} cannot be read: {error}") from error
        except SessionError:
            journal.close()
            raise
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
        record: Record = {"type": "message", "message": record_of(message)}
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
        entries = [one if isinstance(one, int) else record_of(one) for one in kept]
        self._append({"type": "compacted", "messages": entries, "num_tokens": num_tokens})

    def begin_call(self, name: str) -> None:
        """Record that the next call that waits is about to run, before it does anything."""
        self._append({"type": "call", "name": name})

    def take_in(self, trees: Sequence[str]) -> None:
        """Let the workspace after the last messages have been this: a person had typed more."""
        self._append({"type": "saved", "trees": list(trees)})

    def use_model(self, name: str, system: str) -> None:
        """Let this model answer from here on: it reads what there is anew, in its own tokens."""
        self._append({"type": "model", "name": name, "system": system})

    def spend(self, usage: Usage) -> None:
        """Record what a reply cost that was dropped because it was cut short."""
        self._append({"type": "spent", "usage": asdict(usage)})

    def record(self, kind: str, **values: Any) -> None:
        """Record a fact about the run."""
        self._append({"type": kind, **values})

    def take_over(self, others: Sequence["Session"], kind: str, **values: Any) -> None:
        """Record all that other sessions have recorded, then a fact: all of it, or nothing."""
        theirs = [record for other in others for record in read(other.folder / JOURNAL)]
        ours = [record for record in theirs if record["type"] not in OWN]
        for record in ours:
            del record["seq"]
        self._append(*ours, {"type": kind, **values})

    @property
    def fault(self) -> str:
        """Why nothing more can be recorded, in a sentence; empty while it can."""
        return self._journal.fault

    def close(self) -> None:
        """Let another process have it."""
        self._journal.close()

    def _append(self, *records: Record) -> None:
        with self._lock:  # a choice is recorded while a turn runs
            self._journal.append(*records)
            for record in records:
                self._replay(record)

    def _replay_all(self, contents: Contents) -> None:
        """Bring what is in memory to where the journal's records say it is, as far as they can."""
        for record in contents.records[1:]:
            self._is_lost |= record["seq"] != self._last_seq + 1
            self._last_seq = record["seq"]
            if self._makes_sense(record):
                self._replay(record)
            else:
                self._num_unused += 1
                self._count(record)
        told = self.facts.get("mended", {}).get("seq", -1)
        new = [line.number for line in contents.bad if line.after >= told]
        if new or self._is_lost:
            self.damage = _damage(new, self._num_unused, self.id)
            self._append({"type": "mended", "num_bad": len(new), "num_unused": self._num_unused})

    def _makes_sense(self, record: Record) -> bool:
        """Say whether a record can be used although one before it may be lost."""
        match record["type"]:
            case "mended":  # an earlier process has gone on from here
                self._is_lost, self._num_unused = False, 0
            case "attempt":  # a conversation begins anew, if what it begins with is known
                is_known = "context" in self.facts or not record.get("has_context")
                self._is_lost &= not (self.attempt and is_known)
                return not self._is_lost
        return not (self._is_lost and record["type"] in CONVERSATION)

    def _count(self, record: Record) -> None:
        """Count the cost of a record that is not used."""
        if "usage" in record:
            self.usages.append(Usage(**record["usage"]))

    def _replay(self, record: Record) -> None:
        """Bring what is in memory to where `record` says it is."""
        if record["type"] in CONVERSATION or record["type"] == "attempt":
            self.is_call_begun = record["type"] == "call"
        match record["type"]:
            case "attempt":
                self.attempt, self.phase = record["number"], record["phase"]
                self.num_attempts = max(self.num_attempts, self.attempt)
                self.checkpoint = record["tree"]
                context = self.facts["context"] if record.get("has_context") else {}
                sections = tuple(context.get("sections", ()))
                self.messages[:] = [Message("system", record["system"], sections=sections)]
                self.trees[:] = [self.checkpoint]
                self.undone.clear()
                self.phase_start = 1
                self.num_steps = self.num_calls = 0
                self._measures.clear()
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
                    self.messages[entry] if isinstance(entry, int) else message_of(entry)
                    for entry in entries
                ]
                self.undone.clear()
                self._measures[:] = [(len(self.messages), record["num_tokens"])]
                self.phase_start = 1
            case "model":
                self.messages[:] = read_anew(self.messages, record["system"])
                self.undone.clear()
                self._measures.clear()
                self.facts["model"] = record
            case "rewind":
                keeps, left = record["keeps"], record["left"]
                messages, trees = tuple(self.messages[keeps:]), tuple(self.trees[keeps:])
                self.undone.append(Undone(messages, trees, left, record["tree"], self.is_finished))
                del self.messages[keeps:], self.trees[keeps:]
                self.checkpoint, self.is_finished = record["tree"], False
            case "redo":
                undone = self.undone.pop()
                self.messages.extend(undone.messages)
                self.trees.extend(undone.trees)
                self.checkpoint, self.is_finished = undone.left, undone.is_finished
            case "saved":
                self.trees[-len(record["trees"]) :] = record["trees"]
                self.checkpoint = self.trees[-1]
            case "spent":
                self._count(record)
            case "call":
                pass
            case kind:
                self.facts[kind] = record

    def _replay_message(self, record: Record) -> None:
        message = message_of(record["message"])
        while self._measures and self._measures[-1][0] > len(self.messages):
            self._measures.pop()  # of what a rewind took away, and now cannot come back
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
            self._measures.append((len(self.messages), usage.num_prompt + usage.num_generated))


def read_anew(messages: Sequence[Message], system: str) -> tuple[Message, ...]:
    """Return a conversation as another model reads it: with its instructions, in its tokens."""
    first, *rest = messages
    return (
        replace(first, content=system),
        *(replace(message, token_ids=()) for message in rest),
    )


def _damage(bad: Sequence[int], num_unused: int, name: str) -> str:
    """Say what a session lost, from the numbers of the lines that cannot be read."""
    lines = "Lines of the journal are missing"
    if bad:
        lines = f"Lines of the journal cannot be read: {len(bad)}, the first is line {bad[0]}"
    if not num_unused:
        return f"{lines}."
    return (
        f"{lines}. The conversation goes on from before that. Later records that build on what is "
        f"lost are not used: {num_unused}, see `qwen-agent sessions show {name}`."
    )


def start_of(contents: Contents, name: str) -> Record:
    """Return the first record.

    Raises:
        SessionError: there is none.
    """
    if contents.records and contents.records[0]["type"] == "start":
        return contents.records[0]
    if contents.bad:
        raise SessionError(f"session {name} is damaged: its first line cannot be read")
    raise SessionError(f"session {name} stopped before it began")
