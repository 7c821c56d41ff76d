"""One session at a time writes to a workspace; any number may read it, or work on copies of it.

`fix` works on a copy and holds the lease while it brings a repair in: two that end at once do not
mix their files. Whoever edits the user's files in place holds it as long as it may edit. It is a
lock on the folder itself, so it leaves nothing behind and ends with the process that holds it.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from agent.errors import WorkspaceBusy

POLL_S = 0.05


@contextmanager
def writer_lease(workspace: Path, patience_s: float = 10.0) -> Iterator[None]:
    """Be the only session that writes to `workspace`, after waiting for another one for a while.

    Raises:
        WorkspaceBusy: another one has it, or the folder cannot be locked.
    """
    try:
        descriptor = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise WorkspaceBusy(f"{workspace} cannot be opened: {error.strerror}") from error
    try:
        _lock(descriptor, workspace, time.monotonic() + patience_s)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, workspace: Path, end_s: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end_s:
                raise WorkspaceBusy(
                    f"another qwen-agent session is writing to {workspace}; wait for its end"
                ) from error
            time.sleep(POLL_S)
        except OSError as error:
            raise WorkspaceBusy(f"{workspace} cannot be locked: {error.strerror}") from error
        else:
            return
