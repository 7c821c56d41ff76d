"""What the workspace was at some moments, what changed since, and the way back.

A shadow repository outside the workspace, used through git's plumbing only: no filter, hook or
attribute of the workspace ever runs, and the user's own repository is neither read nor written.
Each commit holds two entries: `files`, a plain tree, and `meta`, the permissions git does not keep.
"""

import os
import stat
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from secrets import token_hex

from sandbox.errors import SandboxError
from sandbox.reading import Stored, store
from sandbox.remove import remove_tree
from sandbox.shadow_git import ShadowGit, blob_id
from sandbox.snapshot import (
    LINK,
    File,
    Ignored,
    Snapshot,
    default_ignored,
    differs,
    git_mode,
    identity,
    is_too_deep,
    look,
)

NUM_REMEMBERED = 8
"""Commits whose lists of files are kept in memory."""
SETTLED_NS = 2_000_000_000
"""A file changed this shortly before it was hashed could change again within one clock tick."""


class Checkpoint:
    """The saved moments of one worktree."""

    def __init__(self, git_dir: Path, worktree: Path, ignored: Ignored | None) -> None:
        self.git_dir = git_dir
        self.worktree = worktree
        self._git = ShadowGit(git_dir)
        self._ignored = ignored or default_ignored(worktree)
        self._is_copy = ignored is None
        self._blobs: dict[str, tuple[tuple[int, ...], str]] = {}
        self._snapshots: dict[str, Snapshot] = {}

    @classmethod
    def create(cls, git_dir: Path, worktree: Path, ignored: Ignored | None = None) -> "Checkpoint":
        """Start a shadow repository in the new folder `git_dir`.

        Raises:
            SandboxError: it lies inside the worktree, or git is missing.
        """
        checkpoint = cls.open(git_dir, worktree, ignored)
        checkpoint._git.create()
        return checkpoint

    @classmethod
    def open(cls, git_dir: Path, worktree: Path, ignored: Ignored | None = None) -> "Checkpoint":
        """Go on with a shadow repository that `create` made, perhaps in an earlier process.

        With `ignored` the files are a person's own; without, all of them are a copy of ours.
        """
        git_dir, worktree = git_dir.absolute(), worktree.resolve(strict=True)
        if git_dir.resolve().is_relative_to(worktree):
            raise SandboxError(f"checkpoints cannot be kept in {git_dir}, inside the workspace.")
        return cls(git_dir, worktree, ignored)

    def save(self, label: str) -> str:
        """Keep the worktree as it is now; give the commit id.

        Raises:
            SandboxError: it cannot be read or stored.
        """
        now = self._current()
        commit = self._git.commit(now, label)
        self._remember(commit, now)
        return commit

    def latest(self) -> str | None:
        """Give the last saved commit, if there is one."""
        return self._git.latest()

    def mixed(self, commit: str, other: str, paths: Collection[str]) -> str:
        """Keep `commit` with these files as `other` has them; give the id of that commit."""
        both = self._at(commit).with_files_of(self._at(other), paths)
        mixed = self._git.commit(both, "mixed")
        self._remember(mixed, both)
        return mixed

    def changed(self, since: str, until: str | None = None) -> tuple[str, ...]:
        """Name the files that differ between two commits, or a commit and now, sorted."""
        old, new = self._at(since).files, self._at(until).files
        return tuple(sorted(path for path in {*old, *new} if differs(old, new, path)))

    def diff(self, since: str, until: str | None = None) -> str:
        """Give the patch from `since` to `until` (or now), as `git apply` takes it.

        Bytes that are no UTF-8 come as surrogates: encode with `errors="surrogateescape"`.
        """
        new = self._git.store_tree(self._at(None)).decode() if until is None else f"{until}:files"
        patch = self._git.run(
            *("diff-tree", "-r", "-p", "--binary", "--full-index", "--no-renames", "--no-color"),
            *("--no-ext-diff", "--no-textconv", "--src-prefix=a/", "--dst-prefix=b/"),
            f"{since}:files",
            new,
        )
        return patch.decode("utf-8", errors="surrogateescape")

    def entry(self, commit: str, path: str) -> File | None:
        """Give what a commit knows of one file; None if it had none."""
        return self._at(commit).files.get(path)

    def holds(self, commit: str, path: str, data: bytes) -> bool:
        """Say whether a file has exactly these bytes in a commit."""
        entry = self.entry(commit, path)
        return entry is not None and entry.blob == blob_id(data)

    def files(self, commit: str) -> Mapping[str, File]:
        """Give what a commit knows of all its files."""
        return self._at(commit).files

    def file(self, commit: str, path: str) -> bytes | None:
        """Give the bytes of one file (of a link: its target) in a commit; None if it had none."""
        entry = self.entry(commit, path)
        return None if entry is None else self._git.run("cat-file", "blob", entry.blob)

    def restore(self, commit: str, only: Collection[str] | None = None) -> None:
        """Make the worktree what it was: every byte and permission of what is not ignored.

        With `only` these files alone become what they were, and all others stay as they are now.
        Commands must have ended: it relies on no one making links while it writes.

        Raises:
            SandboxError: something cannot be written, where saving first makes that harmless; or
                a file would have to take the place of a repository, and nothing was changed.
        """
        wanted, now = self._at(commit), self._current()
        if only is not None:
            wanted = now.with_files_of(wanted, only)
        try:
            self._spare_repositories(wanted, now)
            self._clear(wanted, now)
            self._fill(wanted, now)
        except OSError as error:
            raise SandboxError(f"{error.filename} cannot be restored: {error.strerror}.") from error

    def _spare_repositories(self, wanted: Snapshot, now: Snapshot) -> None:
        """Refuse to remove a `.git`, which no snapshot holds."""
        for path in now.folders:
            if path in wanted.files:
                for folder, folders, names in os.walk(self.worktree / path):
                    if is_too_deep(os.path.relpath(folder, self.worktree)):
                        folders.clear()
                    if ".git" in map(str.lower, (*folders, *names)):
                        raise SandboxError(f"{folder} is a repository; move it away first.")

    def _clear(self, wanted: Snapshot, now: Snapshot) -> None:
        """Remove files that were not there, then folders that are empty now and were not there."""
        for path in now.files:
            if path not in wanted.files:
                (self.worktree / path).unlink()
        for path in sorted(now.folders, key=len, reverse=True):
            if path not in wanted.folders:
                folder = self.worktree / path
                if path in wanted.files:
                    remove_tree(folder)  # only ignored files can be left in it
                elif not any(folder.iterdir()):
                    folder.rmdir()

    def _fill(self, wanted: Snapshot, now: Snapshot) -> None:
        """Write what is missing or different, then set permissions."""
        for path in sorted(wanted.folders):
            _make_folder(self.worktree / path)
        stale = [path for path in wanted.files if differs(wanted.files, now.files, path)]
        for path, data in self._git.contents(stale, wanted.files):
            _write(self.worktree / path, data, wanted.files[path])
        for path, file in wanted.files.items():
            current = now.files.get(path)
            if file.mode != LINK and current and current.permissions != file.permissions:
                (self.worktree / path).chmod(file.permissions)
        for path in sorted(wanted.folders, reverse=True):
            if wanted.folders[path] != now.folders.get(path):
                (self.worktree / path).chmod(wanted.folders[path])

    def _at(self, commit: str | None) -> Snapshot:
        """Give the snapshot of a commit, or of now."""
        if commit is None:
            return self._current()
        if commit not in self._snapshots:
            self._remember(commit, self._git.load(commit))
        return self._snapshots[commit]

    def _remember(self, commit: str, snapshot: Snapshot) -> None:
        self._snapshots[commit] = snapshot
        while len(self._snapshots) > NUM_REMEMBERED:
            del self._snapshots[next(iter(self._snapshots))]

    def _current(self) -> Snapshot:
        """Read the worktree; a file whose times, size and inode stand still is not read again.

        What a command in the background makes or takes away meanwhile is in it or is not.
        """
        started = time.time_ns()
        seen = look(self.worktree, self._ignored, self._is_copy)
        known = {
            path: Stored(status, self._blobs[path][1])
            for path, status in seen.files.items()
            if path in self._blobs and self._blobs[path][0] == identity(status)
        }
        fresh = [path for path in seen.files if path not in known]
        stored = known | store(self._git, self.worktree, seen, fresh)
        files = {
            path: File(git_mode(one.status), one.blob, stat.S_IMODE(one.status.st_mode))
            for path, one in stored.items()
        }
        self._blobs = {
            path: (identity(one.status), one.blob)
            for path, one in stored.items()
            if max(one.status.st_ctime_ns, one.status.st_mtime_ns) < started - SETTLED_NS
        }
        return Snapshot(files, seen.folders)


def _make_folder(path: Path) -> None:
    """Make sure of a real folder, whatever has taken its place; its parent is one."""
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        path.unlink()
    path.mkdir(exist_ok=True)


def _write(path: Path, data: bytes, file: File) -> None:
    """Put a file or link in place at once, over whatever file is there."""
    fresh = path.with_name(f".{token_hex(8)}.tmp")
    try:
        if file.mode == LINK:
            fresh.symlink_to(os.fsdecode(data))
        else:
            with fresh.open("xb") as handle:
                handle.write(data)
            fresh.chmod(file.permissions)
        fresh.replace(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
