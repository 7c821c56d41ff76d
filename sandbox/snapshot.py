"""What a worktree holds at one moment, as values; and looking at a disk to find that out.

It knows nothing of where snapshots are kept: that is `shadow_git.py`.
"""

import json
import os
import stat
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sandbox.errors import SandboxError

Ignored = Callable[[str], bool]
"""Asked with a path relative to the worktree; true leaves it, and all below it, alone."""

IGNORED_NAMES = frozenset(
    ("__pycache__", ".pytest_cache", "node_modules", ".venv", "venv", ".tox", ".git")
)
MAX_FILES = 200_000

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


def look(worktree: Path, ignored: Ignored) -> Seen:
    """List a worktree; links are not followed, special and unreadable files not seen.

    Raises:
        SandboxError: a folder cannot be read, or there are too many files.
    """
    seen = Seen()
    try:
        _look_into("", worktree, ignored, seen)
    except OSError as error:
        raise SandboxError(f"{error.filename} cannot be read: {error.strerror}.") from error
    return seen


def _look_into(folder: str, worktree: Path, ignored: Ignored, seen: Seen) -> None:
    """List a folder and those below it; what goes away meanwhile is not seen."""
    with os.scandir(worktree / folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{folder}/{entry.name}" if folder else entry.name
        # Git's index takes no `.git` in any case, and no link called `.gitmodules`.
        if entry.name.lower() == ".git" or ignored(path):
            continue
        try:
            _look_at(entry, path, worktree, ignored, seen)
        except (FileNotFoundError, NotADirectoryError):  # a command took it away meanwhile
            seen.folders.pop(path, None)
        if len(seen.files) > MAX_FILES:
            raise SandboxError(f"{worktree} has more than {MAX_FILES} files.")


def _look_at(
    entry: "os.DirEntry[str]", path: str, worktree: Path, ignored: Ignored, seen: Seen
) -> None:
    status = entry.stat(follow_symlinks=False)
    if stat.S_ISDIR(status.st_mode):
        seen.folders[path] = stat.S_IMODE(status.st_mode)
        _look_into(path, worktree, ignored, seen)
    elif stat.S_ISLNK(status.st_mode):
        if entry.name.lower() != ".gitmodules":
            seen.files[path] = status
    elif stat.S_ISREG(status.st_mode) and os.access(entry.path, os.R_OK):
        seen.files[path] = status


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
