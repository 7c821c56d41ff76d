"""Removing and measuring a folder in which commands have worked, however deep and closed it is.

Nothing may work in it any more. A path in it may be longer than the system takes, and folders may
lie deeper than Python recurses, so everything is reached from the top: what lies in a folder of
the top is moved up to it, until nothing is left.
"""

import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

READS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove_tree(folder: Path) -> None:
    """Remove a folder, if it is there, with all in it; what was made unreadable does not stop it.

    Raises:
        OSError: something in it cannot be removed.
    """
    if folder.is_symlink():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    if not folder.exists():
        return
    folder.chmod(stat.S_IRWXU)
    top = os.open(folder, READS)
    try:
        while entries := _entries(top):
            for name, is_folder in entries:
                if is_folder:
                    _empty(name, top)
                    os.rmdir(name, dir_fd=top)
                else:
                    os.unlink(name, dir_fd=top)
    finally:
        os.close(top)
    folder.rmdir()


def _empty(name: str, top: int) -> None:
    """Remove the files of a folder of the top, and move its folders up to the top."""
    os.chmod(name, stat.S_IRWXU, dir_fd=top)
    fd = os.open(name, READS, dir_fd=top)
    try:
        for inner, is_folder in _entries(fd):
            if is_folder:
                os.chmod(inner, stat.S_IRWXU, dir_fd=fd)  # to be moved it must be writable
                os.rename(inner, secrets.token_hex(8), src_dir_fd=fd, dst_dir_fd=top)
            else:
                os.unlink(inner, dir_fd=fd)
    finally:
        os.close(fd)


def _entries(folder: int) -> list[tuple[str, bool]]:
    """List an open folder: names, each with whether it is a folder."""
    with os.scandir(folder) as entries:
        return [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]


@contextmanager
def temporary_folder(parent: Path | None, prefix: str) -> Iterator[Path]:
    """Make a folder for commands to work in, and remove it afterwards as far as that can be."""
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        yield folder
    finally:
        with suppress(OSError):
            remove_tree(folder)


def size_of(folder: Path) -> int:
    """Count the bytes of all files below a folder; what cannot be seen counts nothing."""
    total, waiting = 0, [str(folder)]
    while waiting:
        with suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    with suppress(OSError):
                        total += entry.stat(follow_symlinks=False).st_size
    return total
