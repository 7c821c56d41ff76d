"""The source files of the workspace, by a walk that honours `.gitignore`; none is opened here.

Git is not asked: the walk also works where there is no repository, and again and again in a moment.
So a file that is ignored and tracked all the same is not found.
"""

import os
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from sandbox.workspace import Workspace
from tools.file_kinds import FOREIGN_FOLDERS
from tools.languages import language_of

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

MAX_FILES = 20_000
MAX_DEPTH = 40
"""Of folders in folders."""
MAX_RULES_BYTES = 64 * 1024
"""Of one `.gitignore`."""
ENVIRONMENT_MARKS = frozenset({"pyvenv.cfg", "conda-meta"})
"""A folder that holds one is a Python's, with its packages."""


Wanted = Callable[[str], bool]


class Stamp(NamedTuple):
    """Changes when the content of a file does."""

    modified_ns: int
    num_bytes: int
    inode: int


class _Ignored:
    """What the `.gitignore` of a folder says, and those above it where it says nothing."""

    def __init__(self, folder: str, spec: "GitIgnoreSpec", above: "_Ignored | None") -> None:
        self.above = above
        self._folder = folder
        self._spec = spec
        self._known: dict[str, bool] = {}

    def holds(self, path: str) -> bool:
        """Say whether a path is ignored; a folder's ends in a slash."""
        if path not in self._known:
            include = self._spec.check_file(path.removeprefix(self._folder)).include
            if include is None:
                include = self.above is not None and self.above.holds(path)
            self._known[path] = include
        return self._known[path]


def is_source(name: str) -> bool:
    """Say whether a file of this name is in a language that can be parsed."""
    return language_of(name) is not None


class SourceFiles:
    """Lists the source files of a workspace, and remembers what is ignored."""

    def __init__(self, workspace: Workspace, is_wanted: Wanted = is_source) -> None:
        """Take which names are listed; others than source files may be wanted, too."""
        self._workspace = workspace
        self._is_wanted = is_wanted
        self._ignored: dict[str, tuple[Stamp, _Ignored]] = {}

    def find(self) -> tuple[Mapping[str, Stamp], bool]:
        """Return the files by path, in the order of paths, and whether there are more."""
        files: dict[str, Stamp] = {}
        for path, stamp in self._walk():
            if len(files) == MAX_FILES:
                return files, True
            files[path] = stamp
        return dict(sorted(files.items())), False

    def _walk(self) -> Iterator[tuple[str, Stamp]]:
        ignored: dict[str, _Ignored | None] = {}
        with self._workspace.open_folder() as top:
            for where, folders, names, fd in os.fwalk(".", dir_fd=top):
                folder = where[2:] + "/" if where != "." else ""
                rules = ignored.pop(folder, None)
                if ENVIRONMENT_MARKS & {*names, *folders}:
                    folders.clear()
                    continue
                if ".gitignore" in names:
                    rules = self._read_rules(folder, fd, rules)
                folders[:] = _entered(folder, folders, rules)
                ignored |= {f"{folder}{name}/": rules for name in folders}
                wanted = [name for name in names if self._is_wanted(name)]
                yield from _files(folder, wanted, fd, rules)

    def _read_rules(self, folder: str, fd: int, above: _Ignored | None) -> _Ignored | None:
        """Read the `.gitignore` of an open folder, unless it is the one read before."""
        stamp = _stamp(".gitignore", fd)
        if stamp is None or stamp.num_bytes > MAX_RULES_BYTES:
            return above
        known = self._ignored.get(folder)
        if known is None or known[0] != stamp or known[1].above is not above:
            known = self._ignored[folder] = (stamp, _Ignored(folder, _read_spec(fd), above))
        return known[1]


def _entered(folder: str, names: Sequence[str], rules: _Ignored | None) -> list[str]:
    """Return the folders to walk into."""
    if folder.count("/") >= MAX_DEPTH:
        return []
    own = [name for name in sorted(names) if name not in FOREIGN_FOLDERS]
    return [name for name in own if rules is None or not rules.holds(f"{folder}{name}/")]


def _files(
    folder: str, names: Sequence[str], fd: int, rules: _Ignored | None
) -> Iterator[tuple[str, Stamp]]:
    for name in names:
        path = folder + name
        if not path.isprintable():
            continue
        if (rules is None or not rules.holds(path)) and (stamp := _stamp(name, fd)):
            yield path, stamp


def _read_spec(fd: int) -> "GitIgnoreSpec":
    from pathspec import GitIgnoreSpec  # 50 ms, for who walks

    text = ""
    with suppress(OSError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with os.fdopen(os.open(".gitignore", flags, dir_fd=fd), "rb") as file:
            text = file.read(MAX_RULES_BYTES).decode("utf-8", "replace")
    try:
        return GitIgnoreSpec.from_lines(text.split("\n"))
    except ValueError:  # a pattern that git would skip
        return GitIgnoreSpec.from_lines(_readable(text))


def _readable(text: str) -> Iterator[str]:
    """Return the lines that are patterns by themselves."""
    from pathspec import GitIgnoreSpec

    for line in text.split("\n"):
        with suppress(ValueError):
            GitIgnoreSpec.from_lines([line])
            yield line


def _stamp(name: str, fd: int) -> Stamp | None:
    """Return the stamp of a regular file; None for anything else."""
    try:
        status = os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stamp(status.st_mtime_ns, status.st_size, status.st_ino)
