"""Opening a path so that it cannot lead out of a folder: `openat2`, or one component at a time.

Python has no wrapper of the system call, so this is one. It knows no rule but "beneath".
"""

import ctypes
import errno
import os
import stat
from pathlib import PurePosixPath

SYS_OPENAT2 = 437  # the same number on every architecture
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
NOT_THERE = (errno.ENOSYS, errno.EPERM)
"""What a kernel before 5.6 says, and a container that filters system calls."""


class _OpenHow(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


_libc = ctypes.CDLL(None, use_errno=True)


def open_beneath(folder: int, path: PurePosixPath, flags: int, follow: bool = True) -> int:
    """Open `path` below the open folder; links are followed as long as they stay below it.

    Without `openat2` no link is followed at all, which refuses more and never less.

    Raises:
        OSError: EXDEV or ELOOP for a path that leads out or through a refused link, else as `open`.
    """
    resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
    if not follow:
        resolve |= RESOLVE_NO_SYMLINKS
    how = _OpenHow(flags | os.O_CLOEXEC, 0, resolve)
    name = os.fsencode(path)
    fd: int = _libc.syscall(SYS_OPENAT2, folder, name, ctypes.byref(how), ctypes.sizeof(how))
    if fd >= 0:
        return fd
    error = ctypes.get_errno()
    if error in NOT_THERE:
        return open_by_component(folder, path, flags)
    raise OSError(error, os.strerror(error), str(path))


def open_by_component(folder: int, path: PurePosixPath, flags: int) -> int:
    """Open `path` below the open folder, following no link anywhere."""
    if path.is_absolute() or ".." in path.parts:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), str(path))
    here = os.dup(folder)
    try:
        for name in path.parts[:-1]:
            there = _open_no_link(name, os.O_PATH, here)
            os.close(here)
            here = there
        return _open_no_link(path.name or ".", flags, here)
    finally:
        os.close(here)


def _open_no_link(name: str, flags: int, folder: int) -> int:
    """Open one entry of a folder; ELOOP if it is a link, also where `open` would say other."""
    link = OSError(errno.ELOOP, os.strerror(errno.ELOOP), name)
    if stat.S_ISLNK(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        raise link
    fd = os.open(name, flags | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
    if stat.S_ISLNK(os.fstat(fd).st_mode):  # O_PATH opens a link that came just now
        os.close(fd)
        raise link
    return fd
