"""Copying a working tree aside, and bringing finished changes back into the user's repository.

The agent works on the copy. What comes back is the whole edit or nothing, and never over something
that the user changed meanwhile.
"""

import fcntl
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Collection
from contextlib import ExitStack, suppress
from pathlib import Path, PurePosixPath

from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError, SourceUnreadable
from sandbox.full_disk import is_full
from sandbox.protected import protected_part
from sandbox.rights import RIGHTS, make_readable, open_up
from sandbox.snapshot import EXECUTABLE, LINK, PLAIN, is_too_deep

FICLONE = 0x40049409
"""The ioctl that shares the blocks of another file, where the file system can."""

Skip = Callable[[Path], bool]
"""Asked with each folder; true leaves it where it is."""


def is_environment(folder: Path) -> bool:
    """Say whether a folder holds installed packages: a virtual environment or node_modules."""
    return (
        folder.name == "node_modules"
        or (folder / "pyvenv.cfg").is_file()
        or (folder / "conda-meta").is_dir()
    )


def _leads_to_environment(link: Path) -> bool:
    """Say whether a link is to a python's folder, which commands then see in its place.

    A repository is not trusted, so a link of its may not have anything else of the machine shown:
    nothing that only looks like an environment because all of the machine lies in it.
    """
    try:
        target = link.resolve(strict=True)
    except (OSError, RuntimeError):  # nowhere, or round in a circle
        return False
    inside = (Path.home(), link.parent.resolve())
    if any(folder.is_relative_to(target) for folder in inside) or not (target / "bin").is_dir():
        return False
    is_python = any(target.glob("bin/python*")) and any(target.glob("lib/python3*/os.py"))
    return is_python or (target.name != "node_modules" and is_environment(target))


def copy_tree(
    source: Path, target: Path, skip: Skip = is_environment, is_ours: bool = False
) -> tuple[Path, ...]:
    """Copy a working tree without any `.git`: bytes, permissions, times, links as links.

    Sockets, fifos and devices are left out. Returns what is left where it is, for the caller to
    show read-only: folders that `skip` names or that lie too deep, links to an environment, inner
    repositories' `.git`. Where `source` `is_ours`, what a command made unreadable is opened first.

    Raises:
        SourceUnreadable: a file or folder may not be read; the copy is incomplete.
        SandboxError: one cannot be copied for another reason.
    """
    try:
        target.mkdir(parents=True, exist_ok=True)
        if is_ours:
            open_up(source, PurePosixPath())
        skipped, waiting, copied = [], [""], []
        while waiting:
            folder = waiting.pop()
            copied.append(folder)
            inner, left = _copy_folder(source, target, folder, skip, is_ours)
            waiting += inner
            skipped += left
        for folder in reversed(copied):  # last: it may take away the right to write
            shutil.copystat(source / folder, target / folder)
        return tuple(path for path in skipped if path != source / ".git")
    except PermissionError as error:
        place = Path(error.filename or source)
        if not place.is_relative_to(source):
            raise SandboxError(f"{place} cannot be written: {error.strerror}.") from error
        raise SourceUnreadable(
            f"{place} cannot be read ({error.strerror}); make it readable or move it away."
        ) from error
    except OSError as error:
        if is_full(error):
            raise SandboxError(f"{target} cannot hold a copy: {error.strerror}.") from error
        place = error.filename or source
        raise SandboxError(f"{place} cannot be copied: {error.strerror}.") from error


def _copy_folder(
    source: Path, target: Path, folder: str, skip: Skip, is_ours: bool
) -> tuple[list[str], list[Path]]:
    """Copy what is in one folder; give the folders in it, made and empty, and what was left."""
    inner: list[str] = []
    left: list[Path] = []
    with os.scandir(source / folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    for entry in found:
        path = f"{folder}/{entry.name}" if folder else entry.name
        old, new = source / path, target / path
        mode = entry.stat(follow_symlinks=False).st_mode
        if is_ours and stat.S_ISDIR(mode) and mode & RIGHTS != RIGHTS:
            open_up(source, PurePosixPath(path))
        if entry.name == ".git":
            if stat.S_ISDIR(mode) or stat.S_ISREG(mode):  # a link could lead anywhere
                left.append(old)
        elif stat.S_ISLNK(mode) and _leads_to_environment(old):
            left.append(old)
        elif stat.S_ISLNK(mode):
            new.symlink_to(old.readlink())
        elif stat.S_ISREG(mode):
            if is_ours and not mode & stat.S_IRUSR:
                make_readable(source, PurePosixPath(path))
            _copy_file(old, new)
        elif stat.S_ISDIR(mode) and (is_too_deep(path) or skip(old)):
            left.append(old)
        elif stat.S_ISDIR(mode):
            new.mkdir()
            inner.append(path)
    return inner, left


def _copy_file(source: Path, target: Path) -> None:
    with source.open("rb") as old, target.open("xb") as new:
        try:
            fcntl.ioctl(new.fileno(), FICLONE, old.fileno())
        except OSError:  # another file system, or one that cannot share
            shutil.copyfileobj(old, new, 1024 * 1024)
    shutil.copystat(source, target)


def apply_changes(checkpoint: Checkpoint, base: str, final: str, target: Path) -> tuple[str, ...]:
    """Bring what changed from `base` to `final` into `target`: all of it, or nothing.

    Returns the paths written or removed.

    Raises:
        SandboxError: a file in `target` is no longer as in `base`, or cannot be written;
            `target` is as it was.
    """
    check_changes(checkpoint, base, final)
    paths = checkpoint.changed(base, final)
    for path in paths:
        _check_unchanged(checkpoint, base, path, target)
    removed = [path for path in paths if checkpoint.entry(final, path) is None]
    written = [path for path in paths if checkpoint.entry(final, path) is not None]
    aside = target / f".qwen-agent-{secrets.token_hex(8)}"  # inside: renaming needs one file system
    try:
        aside.mkdir(mode=0o700)
        # 1. Everything that takes space, before the first file changes.
        staged = {
            path: _stage(checkpoint, final, path, target / path, aside / f"{number}.new")
            for number, path in enumerate(written)
        }
        with ExitStack() as undo:
            # 2. Removals, with the folders they empty: a file may take the place of one.
            for number, path in enumerate(removed):
                kept = aside / f"{number}.removed"
                (target / path).rename(kept)
                undo.callback(kept.rename, target / path)
                _remove_emptied(target, PurePosixPath(path).parent, undo)
            # 3. New content, each file by one rename.
            for number, (path, fresh) in enumerate(staged.items()):
                _make_folders(target, PurePosixPath(path).parent, undo)
                _place(fresh, target / path, aside / f"{number}.old", undo)
            undo.pop_all()  # done: nothing to take back
    except OSError as error:
        raise SandboxError(
            f"{error.filename} cannot be written ({error.strerror}); nothing was changed."
        ) from error
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return paths


def check_changes(checkpoint: Checkpoint, base: str, final: str) -> None:
    """Refuse changes that would act by themselves among the user's files.

    Raises:
        SandboxError: one of a path that other programs obey, or a link that leads out.
    """
    for path in checkpoint.changed(base, final):
        entry = checkpoint.entry(final, path)
        is_link = entry is not None and entry.mode == LINK
        target = os.fsdecode(checkpoint.file(final, path) or b"") if is_link else None
        if why := why_refused(PurePosixPath(path), target):
            raise SandboxError(f"{path} cannot be changed, for {why}; nothing was changed.")


def why_refused(
    path: PurePosixPath, target: str | None, obeyed: Collection[PurePosixPath] = ()
) -> str:
    """Say why a change would act by itself among the user's files; empty if it would not.

    Args:
        path: what was changed.
        target: where it leads if it now is a link.
        obeyed: paths that other programs obey whatever their names are.
    """
    if part := protected_part(path):
        return f"other programs obey {part}"
    if around := next(filter(path.is_relative_to, obeyed), None):
        return f"other programs obey {around}"
    if target is not None and _leads_out(path, target):
        return f"it is a link out, to {target}"
    return ""


def _leads_out(link: PurePosixPath, target: str) -> bool:
    depth = len(link.parent.parts)
    for part in PurePosixPath(target).parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return target.startswith("/")


def _check_unchanged(checkpoint: Checkpoint, base: str, path: str, target: Path) -> None:
    """Refuse to write over what is not the version that the edit began with."""
    for folder in list(PurePosixPath(path).parents)[-2::-1]:
        place = target / folder
        is_other = place.is_symlink() or (place.exists() and not place.is_dir())
        # A file of the base is checked under its own name; the edit puts a folder there.
        if is_other and checkpoint.entry(base, str(folder)) is None:
            raise SandboxError(f"{folder} is no folder any more; nothing was changed.")
    entry, now = checkpoint.entry(base, path), _look_at(target / path)
    if entry is None:
        if now is not None:
            raise SandboxError(f"{path} was made by someone else meanwhile; nothing was changed.")
    elif now != (entry.mode, checkpoint.file(base, path)):
        raise SandboxError(f"{path} was changed by someone else meanwhile; nothing was changed.")


def _stage(checkpoint: Checkpoint, commit: str, path: str, place: Path, fresh: Path) -> Path:
    """Write a file's new content to disk under another name, with the permissions it will have."""
    entry, data = checkpoint.entry(commit, path), checkpoint.file(commit, path)
    assert entry is not None, "only a file of the commit is staged"
    assert data is not None, "only a file of the commit is staged"
    if entry.mode == LINK:
        fresh.symlink_to(os.fsdecode(data))
        return fresh
    with fresh.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    now = _look_at(place)
    _keep_owner(place if now is not None else _nearest(place), fresh)
    if now is not None and now[0] == entry.mode:  # finer permissions stay the user's
        shutil.copymode(place, fresh)
    else:
        fresh.chmod(entry.permissions & 0o777)  # no setuid bit
    return fresh


def _keep_owner(old: Path, fresh: Path) -> None:
    """Let something new belong to whom the old belongs to, or the folder around it, if we may."""
    owner, own = old.lstat(), fresh.lstat()
    if (owner.st_uid, owner.st_gid) != (own.st_uid, own.st_gid):
        with suppress(PermissionError):  # an ordinary user's file stays its writer's
            os.chown(fresh, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _nearest(place: Path) -> Path:
    """Give the innermost folder around a place that is there already."""
    return next(folder for folder in place.parents if folder.is_dir())


def _place(fresh: Path, place: Path, kept: Path, undo: ExitStack) -> None:
    """Rename new content into its place, so that it can be taken back."""
    if place.is_symlink() or place.exists():
        _keep(place, kept)
        fresh.replace(place)
        undo.callback(kept.replace, place)
    else:
        fresh.rename(place)
        undo.callback(place.unlink)


def _keep(place: Path, kept: Path) -> None:
    """Give a file a second name, or a copy where a file system has no hard links."""
    try:
        os.link(place, kept, follow_symlinks=False)
    except OSError:
        shutil.copy2(place, kept, follow_symlinks=False)


def _make_folders(target: Path, folder: PurePosixPath, undo: ExitStack) -> None:
    for part in (*list(folder.parents)[-2::-1], folder):
        place = target / part
        if not place.is_dir():
            place.mkdir()
            undo.callback(place.rmdir)
            _keep_owner(place.parent, place)


def _remove_emptied(target: Path, folder: PurePosixPath, undo: ExitStack) -> None:
    """Remove a folder and those around it as long as nothing is left in them, as git does."""
    while folder.parts:
        place = target / folder
        if any(place.iterdir()):
            return
        mode = stat.S_IMODE(place.stat().st_mode)
        place.rmdir()
        undo.callback(place.chmod, mode)
        undo.callback(place.mkdir)
        folder = folder.parent


def _look_at(path: Path) -> tuple[str, bytes] | None:
    """Read what stands at a path, as a checkpoint would: its kind and its bytes."""
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None
    if stat.S_ISLNK(mode):
        return LINK, os.fsencode(path.readlink())
    if stat.S_ISDIR(mode):  # a file can take its place if the same edit empties it
        return None
    if not stat.S_ISREG(mode):
        return "special", b""
    return EXECUTABLE if mode & stat.S_IXUSR else PLAIN, path.read_bytes()
