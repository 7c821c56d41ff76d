"""Which kept sessions may go, and taking them away; nothing that is in use, nothing unasked."""

import time
from dataclasses import dataclass
from pathlib import Path

from agent.errors import SessionError
from agent.journal import reserved
from agent.session import JOURNAL
from sandbox.remove import remove_tree, size_of

UNBORN_S = 3600.0
"""A folder without a journal may be of a session that begins just now; not after this long."""


@dataclass(frozen=True)
class Kept:
    """The folder of one session."""

    folder: Path
    num_bytes: int
    age_s: float
    """Since something was last recorded in it."""


def kept_sessions(state: Path) -> tuple[Kept, ...]:
    """Return all sessions of the state folder, the newest first.

    Raises:
        SessionError: the folder cannot be read.
    """
    root = state / "sessions"
    try:
        folders = [path for path in root.iterdir() if path.is_dir() and not path.is_symlink()]
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise SessionError(f"{root} cannot be read: {error.strerror}") from error
    found = [Kept(folder, size_of(folder), _age_s(folder)) for folder in folders]
    return tuple(sorted(found, key=lambda kept: kept.age_s))


def may_go(
    sessions: tuple[Kept, ...], num_kept: int = 0, older_than_s: float = 0.0
) -> tuple[Kept, ...]:
    """Return what is neither among the newest `num_kept` nor younger, and is not in use."""
    old = [kept for kept in sessions[num_kept:] if kept.age_s >= older_than_s]
    return tuple(kept for kept in old if _is_free(kept))


def prune(kept: Kept) -> bool:
    """Remove a session, all of it; False if it is in use after all.

    Raises:
        SessionError: a file of it cannot be removed.
    """
    try:
        if not (kept.folder / JOURNAL).exists():
            remove_tree(kept.folder)
            return True
        with reserved(kept.folder / JOURNAL) as is_ours:
            if is_ours:
                remove_tree(kept.folder)
            return is_ours
    except OSError as error:
        raise SessionError(f"{kept.folder} cannot be removed: {error.strerror}") from error


def _is_free(kept: Kept) -> bool:
    journal = kept.folder / JOURNAL
    try:
        if not journal.exists():
            return kept.age_s > UNBORN_S
        with reserved(journal) as is_ours:
            return is_ours
    except OSError:
        return False


def _age_s(folder: Path) -> float:
    journal = folder / JOURNAL
    try:
        path = journal if journal.exists() else folder
        return max(0.0, time.time() - path.stat().st_mtime)
    except OSError:
        return 0.0
