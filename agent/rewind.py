"""Goes back to an earlier point of a session, and forward again: files and conversation together.

Of the files only those go back that the model has changed since: what a person changed between two
prompts is theirs. The state of the model needs nothing done to it. A shorter conversation is a
prefix of the one that the engine has read, so the next reply begins with the snapshot that lies
there. Where the points are is shown by a front end; what is saved of the files is
`sandbox/checkpoint.py`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from agent.call_words import words_of
from agent.errors import UsageError
from agent.notes import is_prompt
from agent.session import Session
from agent.typed import typed_in
from inference.messages import BadToolCall, Message, ToolCall
from sandbox.checkpoint import Checkpoint

MAX_WORDS = 80


@dataclass(frozen=True)
class Point:
    """A moment of the session that can be gone back to: just before a prompt or a change."""

    kind: Literal["prompt", "change"]
    words: str
    """The first line of the prompt, or the calls that changed files, or else the reply's."""
    num_kept: int
    """How many messages were there."""
    tree: str
    """The checkpoint of the files as they were."""


@dataclass(frozen=True)
class Rewound:
    """What going back, or forward again, has done."""

    point: Point | None
    """Where the conversation is now; None after a redo."""
    prompt: str
    """What the person typed at the point, to be changed and sent again; empty at a change."""
    paths: tuple[str, ...]
    """The files that are other than they were."""


def list_points(session: Session) -> tuple[Point, ...]:
    """Return the points of the conversation, oldest first."""
    return tuple(_points(session))


def last_change(session: Session) -> Point:
    """Return the point before the last change of the model.

    Raises:
        UsageError: it has changed nothing.
    """
    changes = [point for point in list_points(session) if point.kind == "change"]
    if not changes:
        raise UsageError("there is no change to undo")
    return changes[-1]


def changed_since(session: Session, checkpoint: Checkpoint, point: Point) -> frozenset[str]:
    """Name the files that the model has changed since a point."""
    kept = point.num_kept
    return _changed(checkpoint, point.tree, session.messages[kept:], session.trees[kept:])


def changed_by_both(session: Session, checkpoint: Checkpoint, point: Point) -> frozenset[str]:
    """Name the files of a rewind that the person has changed, too: that would go with it."""
    found = set(checkpoint.changed(session.trees[-1], checkpoint.save("before a rewind")))
    tree, kept = point.tree, point.num_kept
    for message, after in zip(session.messages[kept:], session.trees[kept:], strict=True):
        if after != tree and is_prompt(message):
            found.update(checkpoint.changed(tree, after))
        tree = after
    return changed_since(session, checkpoint, point).intersection(found)


def rewind(session: Session, checkpoint: Checkpoint, point: Point) -> frozenset[str]:
    """Make files and conversation what they were at the point; what is there now can be redone.

    Returns the files that are other than they were.

    Raises:
        SandboxError: a file cannot be written; the conversation is as it was.
        SessionError: the disk is full.
    """
    left = checkpoint.save("before a rewind")
    paths = changed_since(session, checkpoint, point)
    checkpoint.restore(point.tree, paths)
    session.record("rewind", keeps=point.num_kept, tree=point.tree, left=left)
    return paths


def redo(session: Session, checkpoint: Checkpoint) -> frozenset[str]:
    """Take back the last rewind, as long as the conversation was not gone on with.

    Returns the files that are other than they were.

    Raises:
        UsageError: there is none, or one of these files is not as the rewind left it.
        SandboxError: a file cannot be written; the conversation is as it was.
        SessionError: the disk is full.
    """
    if not session.undone:
        raise UsageError("there is nothing to redo")
    undone = session.undone[-1]
    paths = _changed(checkpoint, session.trees[-1], undone.messages, undone.trees)
    since = paths.intersection(checkpoint.changed(undone.tree, checkpoint.save("before a redo")))
    if since:
        raise UsageError(f"{min(since)} was changed since; a redo would take that away")
    checkpoint.restore(undone.left, paths)
    session.record("redo")
    return paths


def _changed(
    checkpoint: Checkpoint, tree: str, messages: Sequence[Message], trees: Sequence[str]
) -> frozenset[str]:
    """Name the files that the model changed in these messages, which began with `tree`.

    What is other when a prompt comes was changed by the person.
    """
    paths: set[str] = set()
    for message, after in zip(messages, trees, strict=True):
        if after != tree and not is_prompt(message):
            paths.update(checkpoint.changed(tree, after))
        tree = after
    return frozenset(paths)


def _points(session: Session) -> Iterator[Point]:
    messages, trees = session.messages, session.trees
    for index, message in enumerate(messages):
        if is_prompt(message):
            yield Point("prompt", _first_line(typed_in(session, index)), index, trees[index])
        if message.role == "assistant":
            after = index + 1
            while after < len(messages) and messages[after].role == "tool":
                after += 1
            if trees[after - 1] != trees[index - 1]:
                changed = _changing(message.tool_calls, trees[index:after])
                words = ", ".join(map(words_of, changed)) or message.content
                yield Point("change", _first_line(words), index, trees[index - 1])


def _changing(
    calls: Sequence[ToolCall | BadToolCall], trees: Sequence[str]
) -> list[ToolCall | BadToolCall]:
    """Return the calls that changed files; `trees` are those before and after each of them."""
    return [
        call
        for call, (before, after) in zip(calls, pairwise(trees), strict=False)
        if before != after
    ]


def _first_line(text: str) -> str:
    line = next((line.strip() for line in text.split("\n") if line.strip()), "")
    return line if len(line) <= MAX_WORDS else f"{line[: MAX_WORDS - 3]}..."
