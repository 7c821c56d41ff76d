"""Goes back to an earlier point of a session, and forward again: files and conversation together.

The state of the model needs nothing done to it. A shorter conversation is a prefix of the one that
the engine has read, so the next reply begins with the snapshot that lies there. Where the points
are is shown by a front end; what is saved of the files is `sandbox/checkpoint.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from agent.errors import UsageError
from agent.session import Session
from agent.wording import prompt
from inference.messages import ToolCall
from sandbox.checkpoint import Checkpoint

MAX_WORDS = 80


@dataclass(frozen=True)
class Point:
    """A moment of the session that can be gone back to: just before a prompt or a change."""

    kind: Literal["prompt", "change"]
    words: str
    """The first line of the prompt, or the calls that changed files."""
    num_kept: int
    """How many messages were there."""
    tree: str
    """The checkpoint of the files as they were."""


def list_points(session: Session) -> tuple[Point, ...]:
    """Return the points of the conversation, oldest first."""
    return tuple(_points(session))


def rewind(session: Session, checkpoint: Checkpoint, point: Point) -> None:
    """Make files and conversation what they were at the point; what is there now can be redone.

    Raises:
        SandboxError: a file cannot be written; the conversation is as it was.
        SessionError: the disk is full.
    """
    left = checkpoint.save("before a rewind")
    checkpoint.restore(point.tree)
    session.record("rewind", keeps=point.num_kept, tree=point.tree, left=left)


def undo(session: Session, checkpoint: Checkpoint) -> Point:
    """Take back the last change of the model; return the point that is reached.

    Raises:
        UsageError: it has changed nothing.
        SandboxError, SessionError: as for `rewind`.
    """
    changes = [point for point in list_points(session) if point.kind == "change"]
    if not changes:
        raise UsageError("there is no change to undo")
    rewind(session, checkpoint, changes[-1])
    return changes[-1]


def redo(session: Session, checkpoint: Checkpoint) -> None:
    """Take back the last rewind, as long as the conversation was not gone on with.

    Raises:
        UsageError: there is none.
        SandboxError: a file cannot be written; the conversation is as it was.
        SessionError: the disk is full.
    """
    if not session.undone:
        raise UsageError("there is nothing to redo")
    checkpoint.restore(session.undone[-1].left)
    session.record("redo")


def _points(session: Session) -> Iterator[Point]:
    messages, trees = session.messages, session.trees
    for index, message in enumerate(messages):
        if message.role == "user" and message.content != prompt("nudge"):
            yield Point("prompt", _first_line(message.content), index, trees[index - 1])
        if message.role == "assistant":
            after = index + 1
            while after < len(messages) and messages[after].role == "tool":
                after += 1
            if trees[after - 1] != trees[index]:
                names = [call.name for call in message.tool_calls if isinstance(call, ToolCall)]
                yield Point("change", ", ".join(names), index, trees[index])


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 3]}..."
