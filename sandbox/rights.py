"""Takes back the rights to what a command has closed: its files are ours, whoever made them.

Every way leads beneath the tree and through no link, since a command may still be running there.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from sandbox.beneath import open_beneath

RIGHTS = stat.S_IRWXU
"""What is needed to see what is in a folder, and to put back what was there."""


@contextmanager
def opened(root: Path, path: PurePosixPath, flags: int) -> Iterator[int]:
    """Open a path of the tree through no link.

    Raises:
        OSError: it is gone, or there is a link on the way.
    """
    top = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        fd = open_beneath(top, path, flags, follow=False)
    finally:
        os.close(top)
    try:
        yield fd
    finally:
        os.close(fd)


def open_up(root: Path, folder: PurePosixPath) -> None:
    """Give us all rights in a folder of the tree and in those on the way, as far as we may."""
    with suppress(OSError):  # gone, or of another user
        _add(root, RIGHTS)
        for place in (*list(folder.parents)[-2::-1], folder):
            with opened(root, place, os.O_PATH | os.O_DIRECTORY) as fd:
                _add(_name_of(fd), RIGHTS)


def make_readable(root: Path, file: PurePosixPath) -> bool:
    """Let us read a file of the tree; say whether we now may."""
    try:
        with opened(root, file, os.O_PATH) as fd:
            if stat.S_ISREG(os.fstat(fd).st_mode):
                _add(_name_of(fd), stat.S_IRUSR)
            return os.access(_name_of(fd), os.R_OK)
    except OSError:
        return False


def _name_of(fd: int) -> Path:
    """Name an open place: by its O_PATH descriptor alone its rights cannot be set."""
    return Path(f"/proc/self/fd/{fd}")


def _add(place: Path, rights: int) -> None:
    mode = stat.S_IMODE(place.stat().st_mode)
    if mode & rights != rights:
        place.chmod(mode | rights)
