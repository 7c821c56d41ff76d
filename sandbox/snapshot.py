"""What a worktree holds at one moment, as values; and looking at a disk to find that out.

It knows nothing of where snapshots are kept: that is `shadow_git.py`.
"""

import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from sandbox.errors import SandboxError
from sandbox.rights import make_readable

Ignored = Callable[[str], bool]
"""Asked with a path relative to the worktree; true leaves it, and all below it, alone."""

IGNORED_NAMES = frozenset(
    ("__pycache__", ".pytest_cache", "node_modules", ".venv", "venv", ".tox", ".git")
)
MAX_FILES = 200_000
MAX_DEPTH = 256
"""Folders inside one another that are looked into."""
MAX_PATH_BYTES = 2048
"""Of a folder, relative to the worktree; the system takes 4,096 with all that comes before."""

LINK, PLAIN, EXECUTABLE = "120000", "100644", "100755"
USUAL = {PLAIN: 0o644, EXECUTABLE: 0o755}


@dataclass(frozen=True)
class File:
    """One file or link of a snapshot."""

    mode: str
    """As git writes it: `LINK`, `PLAIN` or `EXECUTABLE`."""
    blob: str
    permissions: int
    """The exact permission bits; those of a link mean nothing."""


@dataclass(frozen=True)
class Snapshot:
    """All files and folders at one moment, by path relative to the worktree."""

    files: Mapping[str, File]
    folders: Mapping[str, int]
    """Permission bits of every folder, the empty ones too."""

    def with_files_of(self, other: "Snapshot", paths: Collection[str]) -> "Snapshot":
        """Give this snapshot with some files as another has them; a folder left empty by it goes.

        A folder that is empty in the other one as well stays.
        """
        files = {path: file for path, file in self.files.items() if path not in paths}
        files |= {path: other.files[path] for path in paths if path in other.files}
        needed = _folders_of(files)
        left = _folders_of(self.files.keys() - files.keys()) - needed - other.folders.keys()
        folders = {path: bits for path, bits in self.folders.items() if path not in left}
        folders |= {path: other.folders[path] for path in needed - folders.keys()}
        return Snapshot(files, folders)


@dataclass
class Seen:
    """Files and folders as found on disk, not yet read."""

    files: dict[str, os.stat_result] = field(default_factory=dict)
    folders: dict[str, int] = field(default_factory=dict)


def _folders_of(paths: Iterable[str]) -> set[str]:
    """Name every folder that one of the paths lies in."""
    return {path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"}


def differs(old: Mapping[str, File], new: Mapping[str, File], path: str) -> bool:
    """Compare as git does: content and kind, not the finer permissions."""
    one, other = old.get(path), new.get(path)
    return one is None or other is None or (one.mode, one.blob) != (other.mode, other.blob)


def default_ignored(worktree: Path) -> Ignored:
    """Leave alone what tools make and can make again: caches, environments, build output."""

    def ignored(path: str) -> bool:
        name = os.path.basename(path)  # noqa: PTH119 - asked for each file
        if name in IGNORED_NAMES or name.endswith(".pyc"):
            return True
        return name == "target" and (worktree / path / "CACHEDIR.TAG").exists()

    return ignored


def is_too_deep(folder: str) -> bool:
    """Say whether a folder, relative to its tree, lies so deep that it is not looked into."""
    return folder.count("/") >= MAX_DEPTH or len(os.fsencode(folder)) > MAX_PATH_BYTES


def look(worktree: Path, ignored: Ignored, is_ours: bool = False) -> Seen:
    """List a worktree; links are not followed, special and unreadable files not seen.

    Where all files are ours, those that a command made unreadable are made readable.

    Raises:
        SandboxError: a folder cannot be read, or there are too many files.
    """
    seen, waiting = Seen(), [""]
    try:
        while waiting:
            waiting += _look_into(waiting.pop(), worktree, ignored, is_ours, seen)
    except OSError as error:
        raise SandboxError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return seen


def _look_into(
    folder: str, worktree: Path, ignored: Ignored, is_ours: bool, seen: Seen
) -> list[str]:
    """List a folder and give those in it; what goes away meanwhile is not seen."""
    folders = []
    try:
        with os.scandir(worktree / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):  # a command took it away meanwhile
        if not folder:
            raise
        del seen.folders[folder]
        return []
    for entry in found:
        path = f"{folder}/{entry.name}" if folder else entry.name
        # Git's index takes no `.git` in any case, and no link called `.gitmodules`.
        if entry.name.lower() == ".git" or ignored(path):
            continue
        with suppress(FileNotFoundError, NotADirectoryError):
            status = entry.stat(follow_symlinks=False)
            if stat.S_ISDIR(status.st_mode):
                if not is_too_deep(path):
                    seen.folders[path] = stat.S_IMODE(status.st_mode)
                    folders.append(path)
            elif _is_seen(status.st_mode, worktree, path, is_ours):
                seen.files[path] = status
        if len(seen.files) > MAX_FILES:
            raise SandboxError(f"{worktree} has more than {MAX_FILES} files.")
    return folders


def _is_seen(mode: int, worktree: Path, path: str, is_ours: bool) -> bool:
    """Say whether an entry that is no folder is a link or file that can be read."""
    if stat.S_ISLNK(mode):
        return os.path.basename(path).lower() != ".gitmodules"  # noqa: PTH119 - as above
    if not stat.S_ISREG(mode) or os.access(worktree / path, os.R_OK):
        return stat.S_ISREG(mode)
    return is_ours and make_readable(worktree, PurePosixPath(path))


def git_mode(status: os.stat_result) -> str:
    """Give the kind of a file as git writes it."""
    if stat.S_ISLNK(status.st_mode):
        return LINK
    return EXECUTABLE if status.st_mode & stat.S_IXUSR else PLAIN


def write_meta(snapshot: Snapshot) -> bytes:
    """Write down the permissions that a git tree forgets."""
    unusual = {
        path: file.permissions
        for path, file in snapshot.files.items()
        if file.mode != LINK and file.permissions != USUAL[file.mode]
    }
    meta = {
        "permissions": _by_permissions(unusual.items()),
        "folders": _by_permissions(snapshot.folders.items()),
    }
    return json.dumps(meta).encode()


def _by_permissions(items: Iterable[tuple[str, int]]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for path, permissions in items:
        grouped.setdefault(f"{permissions:04o}", []).append(path)
    return grouped


def read_meta(data: bytes) -> tuple[dict[str, int], dict[str, int]]:
    """Read back the permissions of unusual files and of all folders."""
    meta = json.loads(data)
    return _by_path(meta["permissions"]), _by_path(meta["folders"])


def _by_path(grouped: Mapping[str, list[str]]) -> dict[str, int]:
    return {path: int(bits, 8) for bits, paths in grouped.items() for path in paths}


def identity(status: os.stat_result) -> tuple[int, ...]:
    """Give what changes whenever the content does; the last cannot be set by a program."""
    return (status.st_mode, status.st_size, status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
