"""Writes a patch so that whoever looks sees the old file or the whole new one."""

import os
import secrets
from pathlib import Path

from agent.errors import SessionError


def write_patch(path: Path, patch: bytes, mode: int = 0o666) -> None:
    """Write `patch` to `path` at once.

    Raises:
        SessionError: it cannot be written; what was there before still is.
    """
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(patch)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise SessionError(f"{path} cannot be written: {error.strerror}") from error
