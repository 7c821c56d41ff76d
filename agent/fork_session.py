"""Begins a session with what another one holds: its conversation, and the saved files."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.errors import SessionError
from agent.session import Session
from agent.shown import FOLDER as PICTURES
from agent.typed import share_typed
from inference.messages import Message


def fork_session(session: Session, state: Path) -> Session:
    """Return a new session that has said the same until now.

    Raises:
        SessionError: it cannot be written.
    """
    fork = Session.create(state, {**session.start, "forked_from": session.id})
    if "prepared" in session.facts:
        _copy_checkpoints(session.folder / "checkpoints", fork.folder / "checkpoints")
        fork.record("prepared", base=session.facts["prepared"]["base"], skipped=[])
    _copy_pictures(session.folder / PICTURES, fork.folder / PICTURES)
    if session.messages:
        system, model = session.messages[0].content, session.facts["model"]["name"]
        fork.begin(session.attempt, session.phase, session.trees[0], system)
        fork.use_model(model, system)
    for message, tree in zip(session.messages[1:], session.trees[1:], strict=True):
        fork.add(_moved(message, fork.folder / PICTURES), checkpoint=tree)
    share_typed(session, fork)
    return fork


def _moved(message: Message, folder: Path) -> Message:
    """Let a message show the fork's own copies."""
    pictures = (replace(one, path=str(folder / Path(one.path).name)) for one in message.pictures)
    return replace(message, pictures=tuple(pictures))


def _copy_pictures(source: Path, target: Path) -> None:
    """Share the pictures that were shown; nobody writes to them."""
    if source.is_dir():
        _copy(source, target, _linked)


def _copy_checkpoints(source: Path, target: Path) -> None:
    """Share what git never changes once it is written, so that a fork takes no room."""

    def share(one: str, other: str) -> str:
        is_object = "objects" in Path(one).relative_to(source).parts
        return shutil.copy2(one, other) if not is_object else _linked(one, other)

    _copy(source, target, share)


def _copy(source: Path, target: Path, copy_file: Callable[[str, str], str]) -> None:
    try:
        shutil.copytree(source, target, copy_function=copy_file)
    except (OSError, shutil.Error) as error:
        raise SessionError(f"{target} cannot be made: {error}") from error


def _linked(one: str, other: str) -> str:
    os.link(one, other)
    return other
