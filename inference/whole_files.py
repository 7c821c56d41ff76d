"""Files that appear whole or not at all, and locks between processes; knows no state.

A file being written has a temporary name and a lock on itself, which ends with its process: who
gets that lock knows that the file was abandoned. Links are not followed, neither to a file nor to
the folder it lies in: what they lead to is somebody else's.
"""

import errno
import fcntl
import os
import stat
import time
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp"
LOCK_TIMEOUT_S = 30.0
"""A busy machine is not to look like a process that was stopped in the middle."""
WRITE_BYTES = 1 << 24


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file to be read, without waiting should it be a pipe."""
    flags = os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | flags)
    try:
        fd = os.open(path.name, os.O_RDONLY | os.O_NONBLOCK | flags, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        yield fd
    finally:
        os.close(fd)


def regular(path: Path) -> os.stat_result | None:
    """Return what is known of a regular file; None where it is gone, out of reach or none."""
    try:
        status = path.lstat()
    except OSError:
        return None
    return status if stat.S_ISREG(status.st_mode) and not path.parent.is_symlink() else None


@contextmanager
def locked(file: Path, timeout_s: float | None = None) -> Iterator[None]:
    """Hold the lock on `file` against all other threads and processes.

    Raises:
        TimeoutError: another one holds it, perhaps stopped in the middle.
    """
    deadline = time.monotonic() + (LOCK_TIMEOUT_S if timeout_s is None else timeout_s)
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        while not _try_lock(fd):
            if time.monotonic() > deadline:
                raise TimeoutError(errno.ETIMEDOUT, "another process holds its lock")
            time.sleep(0.002)
        yield
    finally:
        os.close(fd)


def make_private(folder: Path) -> None:
    """Make a folder that only its owner may enter, and those above it that are missing."""
    folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.mkdir(exist_ok=True, mode=0o700)
    if folder.stat().st_mode & 0o077:
        folder.chmod(0o700)


def write_whole(
    path: Path,
    parts: Sequence[bytes | bytearray | memoryview],
    lock: Path,
    *,
    replaces: os.stat_result | None = None,
) -> bool:
    """Write a file so that at any moment, even of a power cut, its name shows all or the old one.

    Given `replaces`, the file is still that one or nothing is done; its time of change is kept.

    Raises:
        OSError: it cannot be written; nothing is left of it.
    """
    temporary = path.with_name(f"{path.stem}.{uuid.uuid4().hex[:8]}{TEMPORARY}")
    with locked(lock):  # else it could be taken for abandoned before it has its own lock
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        _try_lock(fd)
    try:
        for part in parts:
            _write_all(fd, memoryview(part))
        if replaces is not None:
            os.utime(fd, ns=(replaces.st_atime_ns, replaces.st_mtime_ns))
        os.fsync(fd)
        with locked(lock):
            if replaces is not None and not _is_same(path, replaces):
                return False
            temporary.rename(path)
    finally:
        os.close(fd)
        with suppress(OSError):  # renamed, or the folder is gone; any other is swept up later
            temporary.unlink()
    sync_folder(path.parent)
    return True


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a new file is lost with its name.

    Raises:
        OSError: the disk failed.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_if_same(path: Path, status: os.stat_result, lock: Path) -> bool:
    """Remove a file unless another has taken its name since `status` was read."""
    with locked(lock):
        if not _is_same(path, status):
            return False
        path.unlink()
        return True


def remove_abandoned(temporaries: Iterable[Path], lock: Path) -> None:
    """Remove those of these files that processes were writing that have died."""
    with locked(lock):
        for temporary in temporaries:
            with suppress(FileNotFoundError), opened(temporary) as fd:
                if _try_lock(fd):
                    temporary.unlink()


def _try_lock(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_same(path: Path, status: os.stat_result) -> bool:
    now = regular(path)
    return now is not None and os.path.samestat(now, status)


def _write_all(fd: int, content: memoryview) -> None:
    start = 0
    while start < content.nbytes:
        start += os.write(fd, content[start : start + WRITE_BYTES])
