"""Which folders of the host a view shows, in the order to mount them; it mounts nothing itself."""

import stat
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sandbox.base import View
from sandbox.errors import SandboxError
from sandbox.protected import protected_below

OURS = tuple(Path(name) for name in ("/", "/usr", "/etc", "/dev", "/proc", "/sys"))
"""No folder of a view may hide what the sandbox itself puts there."""
SYSTEM = Path("/usr")
PROXY, FORWARD = Path("/run/proxy"), Path("/run/forward.py")
"""Where a sandbox with a way out sees the proxy's socket, and the program that leads there."""
FORWARD_SOURCE = Path(__file__).with_name("forward.py")

_lock = threading.Lock()
_in_use: Counter[Path] = Counter()
"""Mount points that were made here, by the number of commands that still need them."""


@dataclass(frozen=True)
class Mount:
    """A folder or file of the host, and where it is seen."""

    source: Path
    target: Path
    writable: bool = False


def mounts_of(view: View, guards: bool = True) -> tuple[Mount, ...]:
    """List what to mount, every folder before what lies in it.

    What other programs obey is read-only whether the view names it or not: a hook written there
    would run later, outside. Not so without `guards`, a layer left out.
    """
    protected = dict((target, source) for source, target in view.protected)
    for path in _guarded(view) if guards else ():
        if _can_be_mounted(view.source / path):
            protected.setdefault(view.workspace / path, view.source / path)
    # The base of a virtual environment may be /usr itself, which every command sees anyway.
    mounts = [Mount(path, path) for path in view.read_only if not path.is_relative_to(SYSTEM)]
    mounts.append(Mount(view.source, view.workspace, view.writable))
    mounts += [Mount(source, target) for target, source in protected.items()]
    if view.network:
        mounts += [Mount(view.network, PROXY), Mount(FORWARD_SOURCE, FORWARD)]
    if view.scratch:
        mounts.append(Mount(view.scratch, view.scratch, writable=True))
    return tuple(sorted(mounts, key=lambda mount: len(mount.target.parts)))  # stable: ties as above


def _guarded(view: View) -> Sequence[PurePosixPath]:
    named = protected_below(view.source) if view.guarded is None else view.guarded
    return (*named, *view.obeyed)


def _can_be_mounted(path: Path) -> bool:
    """Say whether a path is there to mount on: not a link, unless it is git's, which is refused."""
    return path.exists() if path.name == ".git" else path.exists() and not path.is_symlink()


def check_mounts(mounts: Sequence[Mount]) -> None:
    """Refuse a view that cannot be shown, or that a link planted in it would turn elsewhere.

    Raises:
        SandboxError: one sentence naming the path.
    """
    for mount in mounts:
        if not mount.target.is_absolute() or ".." in mount.target.parts or mount.target in OURS:
            raise SandboxError(f"{mount.target} cannot be a place in the sandbox.")
        if not mount.source.exists():
            raise SandboxError(f"{mount.source} does not exist, so no command can see it.")
        for path in _on_disk(mount, mounts):
            if path.is_symlink():
                raise SandboxError(f"{path} is a symbolic link where the sandbox must mount.")


@contextmanager
def mount_points(mounts: Sequence[Mount]) -> Iterator[None]:
    """Make the empty files and folders to mount on, and take them away again afterwards.

    The last command that needs one takes it away: where a mount point is removed from outside, the
    kernel drops what is mounted on it, and a command that still ran could write there.
    """
    needed: list[Path] = []
    try:
        with _lock:
            for mount in mounts:
                for path in _on_disk(mount, mounts):
                    is_there = path.exists()
                    if not is_there:
                        _make(path, _is_folder(path, mount))
                    if not is_there or path in _in_use:
                        _in_use[path] += 1
                        needed.append(path)
        yield
    finally:
        with _lock:
            for path in reversed(needed):
                _in_use[path] -= 1
                if not _in_use[path]:
                    del _in_use[path]
                    with suppress(OSError):  # gone, or the command has put something into it
                        _take_away(path)


def is_in_use(path: Path) -> bool:
    """Say whether a path is a mount point that was made here and that a command still needs."""
    with _lock:
        return path in _in_use


def _is_folder(path: Path, mount: Mount) -> bool:
    return path.name != mount.target.name or mount.source.is_dir()


def _on_disk(mount: Mount, mounts: Sequence[Mount]) -> list[Path]:
    """Give the paths on disk, outermost first, that lead to a mount point inside another mount."""
    around = [
        other
        for other in mounts
        if other.target != mount.target and mount.target.is_relative_to(other.target)
    ]
    if not around:
        return []
    outer = max(around, key=lambda other: len(other.target.parts))
    parts = mount.target.relative_to(outer.target).parts
    return [outer.source.joinpath(*parts[: n + 1]) for n in range(len(parts))]


def _make(path: Path, is_folder: bool) -> None:
    try:
        if is_folder:
            path.mkdir()
        else:
            path.touch(exist_ok=False)
    except OSError as error:
        raise SandboxError(f"{path} cannot be made for the sandbox: {error.strerror}.") from error


def _take_away(path: Path) -> None:
    """Take a mount point away, also where the command has closed the folder around it."""
    try:
        _remove_if_empty(path)
    except PermissionError:
        mode = stat.S_IMODE(path.parent.stat().st_mode)
        path.parent.chmod(mode | stat.S_IRWXU)
        try:
            _remove_if_empty(path)
        finally:
            path.parent.chmod(mode)


def _remove_if_empty(path: Path) -> None:
    if path.is_dir():
        path.rmdir()
    elif path.stat().st_size == 0:
        path.unlink()
