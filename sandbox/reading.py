"""Stores the files of a worktree as blobs while a command may be changing them.

Each file is opened once, beneath the worktree and through no link, and git reads what was opened.
So what goes away meanwhile is left out, and what is swapped for a link is never followed.
"""

import errno
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from tempfile import TemporaryFile
from typing import NamedTuple

from sandbox.beneath import open_beneath
from sandbox.errors import SandboxError
from sandbox.full_disk import is_full
from sandbox.shadow_git import ShadowGit
from sandbox.snapshot import Seen

NUM_OPEN = 256
"""Files given to one process of git."""
COPIED_BYTES = 1024 * 1024
GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.EACCES, errno.ENXIO)
"""What opening says of a path at which no file of the worktree is any more."""


class Stored(NamedTuple):
    """A file as it was when it was opened, and the blob that holds it."""

    status: os.stat_result
    blob: str


def store(git: ShadowGit, worktree: Path, seen: Seen, paths: Sequence[str]) -> dict[str, Stored]:
    """Store the files and links at `paths`; those that are gone are not in the answer.

    Raises:
        SandboxError: one cannot be read, or not be stored.
    """
    root = os.open(worktree, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        stored: dict[str, Stored] = {}
        for start in range(0, len(paths), NUM_OPEN):
            stored |= _store_some(git, root, seen, paths[start : start + NUM_OPEN])
        return stored
    except OSError as error:
        place, verb = (git.git_dir, "written") if is_full(error) else (error.filename, "read")
        raise SandboxError(f"{place} cannot be {verb}: {error.strerror}.") from error
    finally:
        os.close(root)


def _store_some(git: ShadowGit, root: int, seen: Seen, paths: Sequence[str]) -> dict[str, Stored]:
    with ExitStack() as held:
        opened: dict[str, int] = {}
        statuses: list[os.stat_result] = []
        for path, fd, status in _opened(root, seen, paths):
            held.callback(os.close, fd)
            opened[path] = fd
            statuses.append(status)
        try:
            blobs = _hash(git, list(opened.values()))
        except SandboxError:  # a file that shrinks while git reads it, perhaps
            blobs = _hash(git, [_copy(fd, git.git_dir, held) for fd in opened.values()])
    return dict(zip(opened, map(Stored, statuses, blobs), strict=True))


def _opened(
    root: int, seen: Seen, paths: Sequence[str]
) -> Iterator[tuple[str, int, os.stat_result]]:
    """Open what is still there; a link is a file of its own that holds the target."""
    for path in paths:
        try:
            if stat.S_ISLNK(seen.files[path].st_mode):
                yield path, _target_of(root, PurePosixPath(path)), seen.files[path]
                continue
            flags = os.O_RDONLY | os.O_NONBLOCK  # a FIFO in its place must not hold us
            fd = open_beneath(root, PurePosixPath(path), flags, follow=False)
        except OSError as error:
            if error.errno in (*GONE, errno.EINVAL):  # no link any more
                continue
            raise
        status = os.fstat(fd)
        if stat.S_ISREG(status.st_mode):
            yield path, fd, status
        else:
            os.close(fd)


def _target_of(root: int, path: PurePosixPath) -> int:
    folder = open_beneath(root, path.parent, os.O_PATH | os.O_DIRECTORY, follow=False)
    try:
        target = os.readlink(os.fsencode(path.name), dir_fd=folder)
    finally:
        os.close(folder)
    fd = os.memfd_create("link")
    os.write(fd, target)
    return fd


def _hash(git: ShadowGit, descriptors: Sequence[int]) -> list[str]:
    """Have git read what is open here, each from its beginning."""
    names = [str(fd) for fd in descriptors]
    seen = Seen({name: os.fstat(int(name)) for name in names})
    return git.store_files(Path(f"/proc/{os.getpid()}/fd"), names, seen)


def _copy(fd: int, folder: Path, held: ExitStack) -> int:
    """Copy a file as long as it is now, into one that nobody else has."""
    copy = held.enter_context(TemporaryFile(dir=folder))  # noqa: SIM115 - `held` closes it
    offset, size = 0, os.fstat(fd).st_size
    while data := os.pread(fd, min(COPIED_BYTES, size - offset), offset):
        copy.write(data)
        offset += len(data)
    copy.flush()
    return copy.fileno()
