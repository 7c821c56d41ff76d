"""Files that appear whole or not at all, and locks between processes; knows no state.

A file being written has a temporary name and a lock on itself, which ends with its process: who
gets that lock knows that the file was abandoned.
"""

import errno
import fcntl
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

TEMPORARY = ".tmp"
LOCK_TIMEOUT_S = 10.0
WRITE_BYTES = 1 << 24


@contextmanager
def opened(path: Path) -> Iterator[int]:
    """Open a file to be read, without waiting should it be a pipe."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def locked(file: Path, timeout_s: float = LOCK_TIMEOUT_S) -> Iterator[None]:
    """Hold the lock on `file` against all other threads and processes.

    Raises:
        TimeoutError: another one holds it, perhaps stopped in the middle.
    """
    deadline = time.monotonic() + timeout_s
    fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
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
    with opened(path.parent) as folder:
        os.fsync(folder)
    return True


def remove_if_same(path: Path, status: os.stat_result, lock: Path) -> bool:
    """Remove a file unless another has taken its name since `status` was read."""
    with locked(lock):
        if not _is_same(path, status):
            return False
        path.unlink()
        return True


def remove_abandoned(folder: Path, lock: Path) -> None:
    """Remove what processes that have died were writing in the folders below this one."""
    with locked(lock):
        for temporary in folder.glob(f"*/*{TEMPORARY}"):
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
    try:
        return os.path.samestat(path.stat(), status)
    except FileNotFoundError:
        return False


def _write_all(fd: int, content: memoryview) -> None:
    start = 0
    while start < content.nbytes:
        start += os.write(fd, content[start : start + WRITE_BYTES])
