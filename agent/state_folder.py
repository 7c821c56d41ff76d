"""Where a new session can be kept: the user's state folder, or another one when that cannot be.

A run is worth more than the place it is kept in: it goes on elsewhere, and the person is told.
"""

import os
import tempfile
from pathlib import Path


def usable_state(state: Path, repository: Path) -> tuple[Path, str]:
    """Return a folder for sessions, and why it is not `state`, in a sentence; empty if it is.

    In the repository it cannot be: what looks for its tests would find them in our copies too.

    Raises:
        OSError: there is no temporary folder either.
    """
    is_inside = state.resolve().is_relative_to(repository)
    fault = f"it is in {repository}" if is_inside else _fault(state)
    if not fault:
        return state, ""
    base = Path(tempfile.mkdtemp(prefix="qwen-agent-"))
    other = base / state.name
    other.mkdir(mode=0o700)
    return other, (
        f"{state} cannot be used ({fault}). This session is kept in {other}; to go on with it "
        f"later, set XDG_STATE_HOME={base}."
    )


def _fault(state: Path) -> str:
    """Say why a session cannot be kept below `state`; what is not there yet is made."""
    try:
        for folder in (state, state / "sessions"):
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir(mode=0o700, exist_ok=True)
            owner = folder.stat().st_uid
            if owner != os.geteuid():
                return f"{folder} belongs to user {owner}"
            # Asked of the system: a disk may be read-only, and root may be told no too.
            if not os.access(folder, os.W_OK | os.X_OK):
                return f"{folder} cannot be written"
    except OSError as error:
        return f"{error.filename or state}: {error.strerror}"
    return ""
