"""The sessions that are kept on disk, and which of them a name means; none is opened or changed."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SessionError, UsageError
from agent.journal import Contents, read_all
from agent.outcome import RESUMABLE
from agent.session import JOURNAL, start_of
from agent.typed import FACT, typed_of


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
    num_damaged: int = 0
    """Lines of the journal that cannot be read."""
    kind: str = "fix"
    """Or `talk`."""
    title: str = ""
    """The first line that the person said; empty if nothing was said yet."""
    further: tuple[str, ...] = ()
    """Folders that a talk reads beside the repository."""


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
        if folder.is_symlink() or not folder.is_dir():
            continue
        # Asked of the system and not of pathlib, which raises where it may not look.
        if os.access(folder, os.X_OK) and not (folder / JOURNAL).is_file():
            continue
        try:
            contents = read_all(folder / JOURNAL)
        except SessionError as error:
            yield SessionInfo(folder.name, folder, "", "", 1, str(error), 0)
            continue
        if contents.records or contents.bad:
            yield _info(folder, contents)


def find_session(state: Path, name: str, repository: Path | None, kind: str = "fix") -> Path:
    """Return the folder of a session, or of the last one of `repository` to go on with.

    `name` is the id, or the beginning of it that no other session has. A run of `fix` is gone on
    with until it has ended, a talk at any time.

    Raises:
        UsageError: there is none, or more than one begins so.
    """
    if name:
        return _named(state, name)
    for info in list_sessions(state):
        is_open = kind == "talk" or info.exit_code in (None, *RESUMABLE)
        if is_open and info.kind == kind and info.repository == str(repository):
            return info.folder
    what = "talk about" if kind == "talk" else "unfinished session of"
    raise UsageError(f"there is no {what} {repository}")


def _named(state: Path, name: str) -> Path:
    root = state / "sessions"
    if "/" not in name and (root / name / JOURNAL).is_file():
        return root / name
    try:
        found = [path for path in root.iterdir() if path.name.startswith(name)]
    except OSError:
        found = []
    found = [path for path in found if (path / JOURNAL).is_file()]
    if not found:
        raise UsageError(f"there is no session {name}; see `qwen-agent sessions list`")
    if len(found) > 1:
        raise UsageError(f"{len(found)} sessions begin with {name}; give more of it")
    return found[0]


def _info(folder: Path, contents: Contents) -> SessionInfo:
    try:
        start = start_of(contents, folder.name)
    except SessionError as error:
        return SessionInfo(folder.name, folder, "", "", 1, str(error), 0, len(contents.bad))
    ends = [record for record in contents.records if record["type"] == "end"]
    return SessionInfo(
        id=folder.name,
        folder=folder,
        repository=start.get("repository", ""),
        model=start.get("model", ""),
        exit_code=ends[-1]["exit_code"] if ends else None,
        sentence=ends[-1]["sentence"] if ends else "not finished",
        num_messages=sum(record["type"] == "message" for record in contents.records),
        num_damaged=len(contents.bad),
        kind=start.get("kind", "fix"),
        title=_title(contents),
        further=_further(contents),
    )


def _title(contents: Contents) -> str:
    said: dict[str, str] = {}
    for record in contents.records:
        if record["type"] == FACT:
            said = record["said"]
        if record["type"] == "message" and record["message"]["role"] == "user":
            return typed_of(record["message"].get("content", ""), said).strip().partition("\n")[0]
    return ""


def _further(contents: Contents) -> tuple[str, ...]:
    """Return the folders that were named last, at the start or on going on."""
    named = [one for one in contents.records if one["type"] == "mode" and "folders" in one]
    last = named[-1] if named else contents.records[0].get("request", {})
    return tuple(last.get("folders", ()))
