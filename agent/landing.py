"""Brings a good repair into the user's files, all of it; also where a process was killed at that.

The journal knows of the attempt before the first file changes. Whoever goes on after a kill takes
each file for what it is: already as repaired, or still as it was.
"""

import os
import re
import shutil
from pathlib import Path

from agent.clean_copy import put_back
from agent.lease import writer_lease
from agent.session import Session
from sandbox.checkpoint import Checkpoint
from sandbox.snapshot import LINK, git_mode
from sandbox.tree import apply_changes

LEFT_BEHIND = re.compile(r"\.qwen-agent-[0-9a-f]{16}")
"""Where `apply_changes` keeps files while it works."""


def land(session: Session, checkpoint: Checkpoint, base: str, final: str, repository: Path) -> None:
    """Make the files of `repository`, which are as at `base`, what they are at `final`.

    Raises:
        SandboxError: a file was changed by someone else, or cannot be written; all is as it was.
        WorkspaceBusy: another session writes there.
        SessionError: that it begins cannot be recorded.
    """
    with writer_lease(repository):
        was_begun = "landing" in session.facts
        start = _half_way(checkpoint, base, final, repository) if was_begun else base
        session.record("landing", final=final)
        apply_changes(checkpoint, start, final, repository)
        if was_begun:
            _remove_left_behind(repository)


def _half_way(checkpoint: Checkpoint, base: str, final: str, repository: Path) -> str:
    """Return a commit of the files as a killed process left them."""
    done = [
        path
        for path in checkpoint.changed(base, final)
        if _is_as(repository / path, checkpoint, final, path)
    ]
    checkpoint.restore(base)
    put_back(checkpoint.worktree, checkpoint, final, done)
    return checkpoint.save("half way")


def _is_as(place: Path, checkpoint: Checkpoint, commit: str, path: str) -> bool:
    entry, data = checkpoint.entry(commit, path), checkpoint.file(commit, path)
    try:
        mode = git_mode(place.lstat())
    except (FileNotFoundError, NotADirectoryError):
        return entry is None
    if entry is None:
        return place.is_dir() and not place.is_symlink()
    if mode != entry.mode or place.is_dir():
        return False
    return (os.fsencode(place.readlink()) if mode == LINK else place.read_bytes()) == data


def _remove_left_behind(repository: Path) -> None:
    for folder in repository.iterdir():
        if LEFT_BEHIND.fullmatch(folder.name) and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
