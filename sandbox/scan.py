"""What a command left in its workspace that could act later, outside; found after each command.

Protected names that appeared (`protected.py`), links that lead to where nothing of the workspace is
and folders too deep to look into are put aside; setuid bits are taken away, and folders that were
closed are opened again. It prevents nothing: that is the mounts' work. A folder whose times stand
still is not read again, so a look costs one `stat` a folder. A bit that is set on an old file of
such a folder is not seen here; it never reaches the user, since `tree.py` brings back no such bit.
"""

import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.mounts import is_in_use
from sandbox.protected import is_git_name, is_protected_name, read_folder
from sandbox.rights import RIGHTS, open_up, opened
from sandbox.snapshot import is_too_deep

SETTLED_NS = 100_000_000
"""A folder changed this shortly before it was read could change again within one clock tick."""
MAX_LINKS = 40
"""Followed for one path, as many as the kernel does."""
MAX_NOTICES = 5
SYSTEM = tuple(Path(name) for name in ("/usr", "/bin", "/sbin", "/lib", "/lib64", "/dev/null"))
"""Where a link may lead: a virtual environment has such ones."""
MAX_NAME_BYTES = 200
"""Kept of the name of what is put aside; the file system takes 255, some of them ours."""
SPECIAL_BITS = stat.S_ISUID | stat.S_ISGID


@dataclass(frozen=True)
class Folder:
    """What was found in one folder, and the times it had then."""

    times: tuple[int, int, int]
    folders: tuple[str, ...]
    guarded: dict[str, int]
    """Protected paths and their inodes: one that was only moved is not a new one."""
    links: dict[str, str]
    setuid: tuple[str, ...]
    is_closed: bool
    """Whether even its owner may not see and change what is in it."""


@dataclass(frozen=True)
class Sight:
    """What of a tree could act outside, at one moment."""

    guarded: dict[str, int]
    links: dict[str, str]
    """Those that lead out, with their targets."""
    setuid: frozenset[str]
    closed: frozenset[str]
    deep: frozenset[str]
    """Folders too deep to look into."""


class Survey:
    """Looks at one tree again and again."""

    def __init__(self, view: View) -> None:
        """Remember where commands see the tree of `view`, and what they see beside it."""
        self._root = view.source
        self._seen_as = view.workspace
        self._beside = {*SYSTEM, *view.read_only}
        self._obeyed = set(map(str, view.obeyed))
        self._folders: dict[str, Folder] = {}

    def shows(self, view: View) -> None:
        """Know what another view of the same tree shows beside it."""
        self._beside.update(view.read_only)

    def look(self) -> Sight:
        """Read what has changed; give all there is."""
        now_ns = time.time_ns()
        fresh: dict[str, Folder] = {}
        deep = set()
        waiting = [""]
        while waiting:
            path = waiting.pop()
            if is_too_deep(path):
                deep.add(path)
                continue
            folder = self._folder(path, now_ns)
            if folder is not None:
                fresh[path] = folder
                waiting += folder.folders
        self._folders = {
            path: folder for path, folder in fresh.items() if max(folder.times[1:]) < now_ns
        }
        links = {path: to for folder in fresh.values() for path, to in folder.links.items()}
        return Sight(
            {path: inode for folder in fresh.values() for path, inode in folder.guarded.items()},
            {path: to for path, to in links.items() if self._leads_out(path, links)},
            frozenset(path for folder in fresh.values() for path in folder.setuid),
            frozenset(path for path, folder in fresh.items() if folder.is_closed),
            frozenset(deep),
        )

    def _folder(self, path: str, now_ns: int) -> Folder | None:
        place = f"{self._root}/{path}"
        try:
            status = os.lstat(place)
        except OSError:
            return None
        if path and not stat.S_ISDIR(status.st_mode):  # a link has taken its place meanwhile
            return None
        times = (status.st_ino, status.st_mtime_ns, status.st_ctime_ns)
        known = self._folders.get(path)
        if known is not None and known.times == times:
            return known
        if max(times[1:]) > now_ns - SETTLED_NS:
            times = (times[0], now_ns, now_ns)  # not to be taken for settled at the next look
        return self._read(path, times, status.st_mode & RIGHTS != RIGHTS)

    def _read(self, path: str, times: tuple[int, int, int], is_closed: bool) -> Folder:
        listing = read_folder(Path(f"{self._root}/{path}"))
        start = f"{path}/" if path else ""
        guarded = {}
        for name in listing.guarded:
            if name != ".":
                guarded[start + name] = _inode(f"{self._root}/{start}{name}")
            elif path:  # the tree itself may be a repository
                guarded[path] = times[0]
        for name in (*listing.folders, *(entry.name for entry in listing.others)):
            if start + name in self._obeyed:
                guarded[start + name] = _inode(f"{self._root}/{start}{name}")
        links, setuid = {}, []
        for entry in listing.others:
            try:
                if entry.is_symlink():
                    links[start + entry.name] = str(Path(entry.path).readlink())
                elif entry.stat(follow_symlinks=False).st_mode & SPECIAL_BITS:
                    setuid.append(start + entry.name)
            except OSError:  # gone meanwhile
                continue
        folders = tuple(start + name for name in listing.folders if start + name not in guarded)
        return Folder(times, folders, guarded, links, tuple(setuid), is_closed)

    def _leads_out(self, path: str, links: dict[str, str]) -> bool:
        """Follow a link as the kernel would, other links of the tree included."""
        done: list[str] = []
        left = list(PurePosixPath(path).parts)
        for _ in range(MAX_LINKS):
            while left:
                part = left.pop(0)
                if part == ".." and not done:
                    return True
                if part == "..":
                    done.pop()
                    continue
                done.append(part)
                if "/".join(done) in links:
                    break
            else:
                return False
            target = PurePosixPath(links["/".join(done)])
            done.pop()
            if target.is_absolute():
                if not target.is_relative_to(self._seen_as):
                    is_plain = ".." not in target.parts
                    return not (is_plain and any(map(target.is_relative_to, self._beside)))
                target, done = target.relative_to(self._seen_as), []
            left = [*target.parts, *left]
        return False  # round in a circle: it leads nowhere


class Watched:
    """A sandbox after each of whose commands the workspace is looked at; itself a sandbox."""

    def __init__(self, inner: Sandbox, aside: Path) -> None:
        """Run commands in `inner`; what may not stay goes to the folder `aside`."""
        self._inner = inner
        self._aside = aside
        self._watches: dict[tuple[Path, Path], _Watch] = {}
        self._lock = threading.Lock()

    @property
    def level(self) -> str:
        """Say what isolation is in force."""
        return self._inner.level

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv`; what it left that could act outside is put aside and told of.

        Raises:
            SandboxError: it did not run, or something cannot be put aside.
        """
        with self._lock:
            key = (view.source, view.workspace)
            if key not in self._watches:
                self._watches[key] = _Watch(view)
            watch = self._watches[key]
            watch.survey.shows(view)
            guarded = watch.begin()
        try:
            shown = replace(view, guarded=guarded)
            result = self._inner.run(argv, shown, limits, cancel, on_output)
        finally:
            with self._lock:
                notices = watch.settle(self._aside)
        return replace(result, notices=(*result.notices, *notices))


class _Watch:
    """What one tree held before the commands that run in it, and what has been found since."""

    def __init__(self, view: View) -> None:
        self._root = view.source
        self._obeyed = set(map(str, view.obeyed))
        self.survey = Survey(view)
        self._before = self.survey.look()
        self._num_running = 0

    def begin(self) -> tuple[PurePosixPath, ...]:
        """Look before a command; give the protected paths, to be shown read-only.

        What is there while nothing runs is of the user, or was put back: no command has made it.
        """
        now = self.survey.look()
        if not self._num_running:
            self._before = now
        self._num_running += 1
        return tuple(map(PurePosixPath, now.guarded))

    def settle(self, aside: Path) -> tuple[str, ...]:
        """Look again, and put aside what may not stay; tell of it."""
        self._num_running -= 1
        told = self._open_closed()
        before, now = self._before, self.survey.look()
        known = set(before.guarded.values())
        for path, inode in now.guarded.items():
            # A known path is not enough: the folder around it may be another one now.
            is_new = inode not in known
            if is_new and not is_in_use(self._root / path) and _put_aside(self._root, path, aside):
                told.append(_words(path, path in self._obeyed))
        for path, target in now.links.items():
            if before.links.get(path) != target and _put_aside(self._root, path, aside):
                told.append(f"The link {path} to {target} was taken away: it leads out.")
        for path in sorted(now.deep - before.deep):
            if _put_aside(self._root, path, aside):
                told.append(f"{path[:80]}... was taken out of the workspace: it lies too deep.")
        for path in sorted(now.setuid - before.setuid):
            if _take_bits(self._root, path):
                told.append(f"{path} is no longer setuid or setgid: such a file may not stay.")
        more = [f"The same was done to {len(told) - MAX_NOTICES} more."]
        return tuple(told[:MAX_NOTICES] + (more if len(told) > MAX_NOTICES else []))

    def _open_closed(self) -> list[str]:
        """Open the folders that a command has closed, each before those in it; tell of them."""
        tried: set[str] = set(self._before.closed)
        told = []
        while closed := self.survey.look().closed - tried:
            for path in sorted(closed):
                open_up(self._root, PurePosixPath(path))
                name = path or "The workspace"
                told.append(f"{name} is open again (u+rwx): it may not be closed to its owner.")
            tried |= closed
        return told


def _words(path: str, is_obeyed: bool) -> str:
    name = PurePosixPath(path).name
    if is_obeyed or (is_protected_name(name) and not is_git_name(name)):
        return f"{path} was taken out of the workspace: other programs obey it; ask the user."
    return (
        f"{path} was taken out of the workspace: a repository made here is not kept. "
        "Make it in /tmp and use it in the same command."
    )


def _inode(path: str) -> int:
    try:
        return os.lstat(path).st_ino
    except OSError:
        return 0


def _put_aside(root: Path, path: str, aside: Path) -> bool:
    """Move an entry out of the tree; say whether it was still there.

    Raises:
        SandboxError: it cannot be moved.
    """
    place = PurePosixPath(path)
    try:
        aside.mkdir(mode=0o700, exist_ok=True)
        open_up(root, place.parent)
        kept = os.fsencode(f"{secrets.token_hex(4)}-{place.name}")[:MAX_NAME_BYTES]
        with opened(root, place.parent, os.O_PATH | os.O_DIRECTORY) as folder:
            _allow_move(place.name, folder)
            os.rename(place.name, aside / os.fsdecode(kept), src_dir_fd=folder)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SandboxError(f"{path} may not stay and cannot be moved: {error.strerror}.") from error
    return True


def _allow_move(name: str, folder: int) -> None:
    """Make a folder writable, as a move of it to another folder asks for."""
    mode = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    if stat.S_ISDIR(mode) and mode & RIGHTS != RIGHTS:
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder)
        try:
            Path(f"/proc/self/fd/{fd}").chmod(stat.S_IMODE(mode) | RIGHTS)
        finally:
            os.close(fd)


def _take_bits(root: Path, path: str) -> bool:
    """Take the setuid and setgid bits off a file; say whether it was still there."""
    try:
        with opened(root, PurePosixPath(path), os.O_PATH) as fd:
            mode = os.fstat(fd).st_mode
            if stat.S_ISREG(mode):
                # An O_PATH descriptor can be changed by its name alone, and no link is in that.
                Path(f"/proc/self/fd/{fd}").chmod(stat.S_IMODE(mode) & ~SPECIAL_BITS)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise SandboxError(f"{path} cannot lose its setuid bit: {error.strerror}.") from error
    return True
