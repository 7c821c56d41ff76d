"""Tells a full disk from all else that an error can mean; frees no space and retries nothing.

An error that gives the user a sentence keeps as its cause what the system said. A program, git for
one, says it in words, or not at all.
"""

import errno
import os
from pathlib import Path
from tempfile import TemporaryFile

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says where a disk, or the user's share of it, is full."""
PROBE_BYTES = 64 * 1024


def is_full(error: BaseException | None) -> bool:
    """Say whether an error, or what led to it, is that a disk is full."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__cause__
    return False


def full_by_words(complaint: str) -> OSError | None:
    """Return the error of a full disk that a program, in the C locale, tells of; else nothing."""
    found = (number for number in FULL if os.strerror(number) in complaint)
    return next((OSError(number, os.strerror(number)) for number in found), None)


def full_by_trying(folder: Path) -> OSError | None:
    """Return the error of a full disk that a small file meets in a folder; else nothing."""
    try:
        with TemporaryFile(dir=folder) as file:
            file.write(bytes(PROBE_BYTES))
    except OSError as error:
        return error if is_full(error) else None
    return None
