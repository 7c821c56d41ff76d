"""The files of the workspace, for tools: read, written and listed, and nothing outside of it.

These calls run in the agent, not in the sandbox, on files that a sandboxed command has just made: a
link it left must not be followed out, and nothing may be written that runs later outside
(`protected.py`).
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from sandbox.beneath import open_beneath
from sandbox.errors import PathRefused
from sandbox.protected import is_git_name, protected_part

NEW_FILE_MODE = 0o644
MAX_READ_BYTES = 256 * 1024 * 1024
LEADS_OUT = (errno.EXDEV, errno.ELOOP)
HERE = PurePosixPath()


class Workspace:
    """One folder on disk, called by the path under which commands see it."""

    def __init__(
        self,
        root: Path,
        seen_as: Path,
        folder: PurePosixPath = HERE,
        obeyed: tuple[PurePosixPath, ...] = (),
    ) -> None:
        """Open the folder `root`; paths of tools are relative or begin with `seen_as`.

        With `folder` they are those of a folder in `root`, and lead nowhere else. Commands may put
        a link in its place, so it is found anew, beneath `root`, for every call.
        """
        self.root = root.resolve(strict=True)
        self.folder = folder
        self._obeyed = obeyed
        self.seen_as = seen_as / folder

    def resolve(self, text: str) -> PurePosixPath:
        """Turn a path as a model writes it into one relative to the workspace.

        Raises:
            PathRefused: it lies elsewhere, by its words alone.
        """
        if "\0" in text or not text.strip() or not _can_be_a_name(text):
            raise PathRefused(f"{text!r} is not a path.")
        if text.startswith("~"):
            raise PathRefused(f"{text} is outside the workspace; use a path below {self.seen_as}.")
        path = PurePosixPath(text)
        if path.is_absolute():
            # The same text twice, since `//etc` is an own kind of root to pathlib.
            path = PurePosixPath("/", *path.parts[1:])
            if not path.is_relative_to(self.seen_as):
                raise PathRefused(f"{text} is outside the workspace {self.seen_as}.")
            path = path.relative_to(self.seen_as)
        parts: list[str] = []
        for part in path.parts:
            if part == "..":
                if not parts:
                    raise PathRefused(f"{text} is outside the workspace {self.seen_as}.")
                parts.pop()
            else:
                parts.append(part)
        return PurePosixPath(*parts)

    def real(self, text: str) -> PurePosixPath:
        """Turn a path into that of what it leads to, so that one file has one name.

        Raises:
            PathRefused: it lies elsewhere, or leads there.
        """
        relative = self.resolve(text)
        try:
            return self._real(text, relative)
        except OSError:  # what comes next says what is wrong with it
            return relative

    def read(self, path: str) -> bytes:
        """Give the content of a regular file.

        Raises:
            PathRefused: it leads out, or is no regular file.
            FileNotFoundError: there is none.
        """
        with self._opened(self.resolve(path), os.O_RDONLY | os.O_NONBLOCK) as fd:
            status = os.fstat(fd)
            _refuse_unless_regular(path, status)
            if status.st_size > MAX_READ_BYTES:
                raise PathRefused(f"{path} is too large to read ({status.st_size} bytes).")
            with os.fdopen(os.dup(fd), "rb") as file:
                return file.read(MAX_READ_BYTES + 1)

    def exists(self, path: str) -> bool:
        """Say whether something is there: a file, a folder, or a link that stays inside.

        Raises:
            PathRefused: it leads out.
        """
        try:
            with self._opened(self.resolve(path), os.O_PATH):
                return True
        except (FileNotFoundError, NotADirectoryError):
            return False

    def is_folder(self, path: str) -> bool:
        """Say whether a folder is there.

        Raises:
            PathRefused: it leads out.
        """
        try:
            with self._opened(self.resolve(path), os.O_PATH) as fd:
                return stat.S_ISDIR(os.fstat(fd).st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False

    def write_atomic(self, path: str, data: bytes) -> bytes:
        """Give a file this content, all of it or none; missing folders are made.

        An existing file keeps its mode; a link inside the workspace stays, its target is written.
        Returns what the file holds then: this, unless somebody who writes for us made more of it.

        Raises:
            PathRefused: it leads out, is no regular file, has another hard link, or is protected.
        """
        with self._to_write(path) as (folder, target, old):
            replace_file(folder, target.name, data, old)
        return data

    def settle(self, path: str) -> bool:
        """Bring to the disk what a file holds elsewhere alone; say whether there was any."""
        return False

    def remove(self, path: str) -> None:
        """Delete a regular file; of a link inside the workspace, its target.

        Raises:
            PathRefused: it leads out, is no regular file, or is protected.
            FileNotFoundError: there is none.
        """
        target = self._target(path)
        with self._opened(target.parent, os.O_RDONLY | os.O_DIRECTORY, follow=False) as folder:
            status = os.stat(target.name, dir_fd=folder, follow_symlinks=False)
            _refuse_unless_regular(path, status)
            os.unlink(target.name, dir_fd=folder)

    def listing(self, path: str = ".", depth: int = 2) -> tuple[str, ...]:
        """Name what lies below a folder, relative to the workspace; folders end in `/`.

        Links are named and not followed; `.git` is left out.

        Raises:
            PathRefused: it leads out.
            FileNotFoundError, NotADirectoryError: there is no such folder.
        """
        with self.open_folder(path) as fd:
            return tuple(_walk(fd, self.resolve(path), depth))

    @contextmanager
    def open_folder(self, path: str = ".") -> Iterator[int]:
        """Open a folder to look around in; from there on, links are the caller's to refuse.

        Raises:
            PathRefused: it leads out.
            FileNotFoundError, NotADirectoryError: there is no such folder.
        """
        with self._opened(self.resolve(path), os.O_RDONLY | os.O_DIRECTORY) as fd:
            yield fd

    @contextmanager
    def _to_write(self, path: str) -> Iterator[tuple[int, PurePosixPath, os.stat_result | None]]:
        """Open the folder of what is to be written; give its real path, and what is there now.

        Raises:
            PathRefused: as `write_atomic`.
        """
        try:
            target = self._target(path)
        except NotADirectoryError as error:
            raise PathRefused(f"{path}: a file stands where a folder is needed.") from error
        with self._folder(target.parent) as folder:
            try:
                old = os.stat(target.name, dir_fd=folder, follow_symlinks=False)
            except FileNotFoundError:
                old = None
            if old is not None:
                _refuse_unless_regular(path, old)
                if old.st_nlink > 1:
                    raise PathRefused(f"{path} is a hard link: other files would change with it.")
            yield folder, target, old

    def _target(self, path: str) -> PurePosixPath:
        """Find the file that writing `path` would really change."""
        relative = self.resolve(path)
        if not relative.parts:
            raise PathRefused(f"{path} is the workspace itself, not a file.")
        self._refuse_protected(path, relative)
        target = self._real(path, relative)
        self._refuse_protected(path, target)
        return target

    def _refuse_protected(self, path: str, relative: PurePosixPath) -> None:
        place = self.folder / relative
        obeyed = (str(around) for around in self._obeyed if place.is_relative_to(around))
        part = protected_part(relative) or next(obeyed, None)
        if part is None:
            return
        if is_git_name(part):
            raise PathRefused(f"{path} belongs to git and is read-only.")
        raise PathRefused(
            f"{path} is read-only: other programs obey {part}. Only the user changes it."
        )

    def _real(self, path: str, relative: PurePosixPath) -> PurePosixPath:
        """Take every link on the way, so that what follows need follow none."""
        for existing in (relative, *relative.parents):
            try:
                with self._opened(existing, os.O_PATH) as fd:
                    real = Path(f"/proc/self/fd/{fd}").readlink()
                break
            except FileNotFoundError:
                continue
        else:  # a command has taken the folder itself away
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        root = self.root / self.folder
        if not real.is_relative_to(root):
            raise PathRefused(f"{path} leads out of the workspace.")
        return PurePosixPath(real.relative_to(root), relative.relative_to(existing))

    @contextmanager
    def _folder(self, path: PurePosixPath) -> Iterator[int]:
        """Open a folder to write in, making what is missing; no link on the way."""
        for part in (*reversed(path.parents), path):
            try:
                with self._opened(part, os.O_PATH | os.O_DIRECTORY, follow=False):
                    pass
            except FileNotFoundError:
                with self._opened(part.parent, os.O_RDONLY | os.O_DIRECTORY, follow=False) as fd:
                    os.mkdir(part.name, dir_fd=fd)
        with self._opened(path, os.O_RDONLY | os.O_DIRECTORY, follow=False) as fd:
            yield fd

    @contextmanager
    def _opened(self, path: PurePosixPath, flags: int, follow: bool = True) -> Iterator[int]:
        root = os.open(self.root, os.O_PATH | os.O_DIRECTORY)
        try:
            fd = open_beneath(root, self.folder / path, flags, follow)
        except OSError as error:
            if error.errno in LEADS_OUT:
                raise PathRefused(f"{path} leads out of the workspace by a link.") from error
            if error.errno in (errno.ENXIO, errno.ENODEV):
                raise PathRefused(f"{path} is not a regular file.") from error
            if error.errno == errno.ENAMETOOLONG:
                raise PathRefused(f"{str(path)[:60]}... is too long a name.") from error
            raise
        finally:
            os.close(root)
        try:
            yield fd
        finally:
            os.close(fd)


def _can_be_a_name(text: str) -> bool:
    """Say whether the text has bytes at all: a lone surrogate has none."""
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        return False
    return True


def replace_file(folder: int, name: str, data: bytes, old: os.stat_result | None) -> None:
    """Put a file into an open folder: a new one beside it, safely on disk, then renamed over it."""
    fresh = f".{secrets.token_hex(8)}.tmp"
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            if old is not None and (old.st_uid, old.st_gid) != (os.geteuid(), os.getegid()):
                with suppress(PermissionError):  # an ordinary user's file stays its writer's
                    os.fchown(fd, old.st_uid, old.st_gid)
            os.fchmod(fd, stat.S_IMODE(old.st_mode) if old else NEW_FILE_MODE)
            os.fsync(fd)
        os.rename(fresh, name, src_dir_fd=folder, dst_dir_fd=folder)
    except BaseException:
        os.unlink(fresh, dir_fd=folder)
        raise
    os.fsync(folder)


def _refuse_unless_regular(path: str, status: os.stat_result) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise PathRefused(f"{path} is a folder, not a file.")
    if not stat.S_ISREG(status.st_mode):
        raise PathRefused(f"{path} is not a regular file.")


def _walk(folder: int, relative: PurePosixPath, depth: int) -> Iterator[str]:
    """Name the entries of an open folder, each folder followed by its own."""
    with os.scandir(folder) as entries:
        found = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries)
    for name, is_folder in found:
        if name == ".git":
            continue
        yield f"{relative / name}/" if is_folder else str(relative / name)
        if is_folder and depth > 1:
            flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
            with suppress(OSError):  # unreadable, or replaced since: named, and no more
                below = os.open(name, flags, dir_fd=folder)
                try:
                    yield from _walk(below, relative / name, depth - 1)
                finally:
                    os.close(below)
