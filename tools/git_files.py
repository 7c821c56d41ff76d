"""What git knows of a repository: its files, what is committed of them, and when each last changed.

Git runs in the sandbox, on the user's own `.git`, which may come from a stranger: no hook, filter,
monitor or pager of it is started, nothing is fetched or written. No file is opened here.
"""

import hashlib
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from sandbox.base import Cancel, Sandbox, View, never
from sandbox.limits import Limits
from tools.errors import ProjectError

LIMITS = Limits(wall_s=60.0)
MAX_COMMITS = 20_000
"""How far back the history is read; a file not touched since counts as older than all others."""
MAX_OUTPUT_BYTES = 256 * 1024 * 1024

ENVIRONMENT = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}
SETTINGS = (
    *("-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"),
    *("-c", "core.quotePath=false", "-c", "core.untrackedCache=false"),
    *("-c", "core.attributesFile=/dev/null", "-c", "log.showSignature=false"),
    *("-c", "log.mailmap=false", "-c", "protocol.allow=never"),
)
QUIETLY = ("sh", "-c", 'exec "$@" 2>/dev/null', "sh")
"""A warning of git is not to be read as the name of a file."""

PLAIN_MODES = ("100644", "100755")
SUBMODULE_MODE = "160000"
_COMMIT = re.compile(rb"\n?\x01(\d{1,18})")


@dataclass(frozen=True)
class GitFile:
    """A regular file of the working tree that git tracks, or would track."""

    path: str
    blob: str = ""
    """The id of its content in the last commit; empty if it is not in there."""
    committed_s: int = 0
    """When a commit last touched it, in seconds since 1970; 0 is before all that was read."""

    def is_committed(self, data: bytes) -> bool:
        """Say whether `data` is what the last commit has, whatever the line endings."""
        return is_blob_of(data, self.blob)


def blob_id(data: bytes, like: str) -> str:
    """Return git's id of this content, in the hash that `like` is written in."""
    name = "sha256" if len(like) == 64 else "sha1"
    return hashlib.new(name, b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def is_blob_of(data: bytes, blob: str) -> bool:
    """Say whether a blob has this content, whatever the line endings of a working tree."""
    return blob in (blob_id(data, blob), blob_id(with_unix_ends(data), blob))


def with_unix_ends(data: bytes) -> bytes:
    """Return a text with the line endings that it is committed with."""
    return data.replace(b"\r\n", b"\n")


def list_files(
    sandbox: Sandbox, view: View, git: Path, cancel: Cancel = never
) -> tuple[GitFile, ...]:
    """Return the files of the workspace that are tracked, or neither tracked nor ignored.

    Links and submodules are left out. `git` is the `.git` of the repository, folder or file, as
    commands see it.

    Raises:
        ProjectError: git cannot read the repository.
    """
    reader = GitReader(sandbox, view, git, cancel)
    entries = [_entry(row) for row in reader.rows("ls-files", "--stage", "-z")]
    modules = {path for mode, _, path in entries if mode == SUBMODULE_MODE}
    tracked = {path for mode, _, path in entries if mode in PLAIN_MODES}
    others = {*reader.rows("ls-files", "--others", "--exclude-standard", "-z")}
    known = {path for _, _, path in entries}
    untracked = {path for path in others - known if not path.endswith("/")}
    names = sorted(path for path in tracked | untracked if not _is_below(path, modules))
    try:
        committed = [_tree_entry(row) for row in reader.rows("ls-tree", "-r", "-z", "HEAD")]
    except ProjectError:  # no commit yet
        return tuple(GitFile(path) for path in names)
    blobs = {path: blob for mode, blob, path in committed if mode in PLAIN_MODES}
    times = reader.times(set(names) & blobs.keys())
    return tuple(GitFile(path, blobs.get(path, ""), times.get(path, 0)) for path in names)


class GitReader:
    """Asks one repository; `command` is what its questions begin with."""

    def __init__(self, sandbox: Sandbox, view: View, git: Path, cancel: Cancel) -> None:
        self._sandbox = sandbox
        environment = {**view.environment, **ENVIRONMENT}
        self._view = replace(view, writable=False, environment=environment)
        where = ("--no-pager", f"--git-dir={git}", "--work-tree=.")
        self.command = ("git", *where, *SETTINGS)
        self._cancel = cancel

    def rows(self, *words: str) -> list[str]:
        """Return the NUL-ended rows that a command prints.

        Raises:
            ProjectError: it failed, and not because the person stopped it.
        """
        rows: list[str] = []
        exit_code = self._run(words, lambda row: rows.append(_name(row)), never)
        if exit_code != 0 and not self._cancel():
            raise ProjectError(f"git {words[0]} could not read the repository")
        return rows

    def times(self, wanted: Collection[str]) -> dict[str, int]:
        """Return when each path was last touched by a commit, from one walk back in history."""
        times: dict[str, int] = {}
        missing = set(wanted)
        now = 0

        def take(row: bytes) -> None:
            nonlocal now
            if commit := _COMMIT.fullmatch(row):
                now = int(commit[1])
            elif (path := _name(row.removeprefix(b"\n"))) in missing:
                times[path] = now
                missing.remove(path)

        log = ("log", "-z", "--name-only", "--no-renames", "--no-notes", "--no-color")
        order = ("-O/dev/null",)  # a setting may name a file of an order, which may not be there
        limits = (f"--max-count={MAX_COMMITS}", "--format=%x01%ct", "HEAD")
        # A history cut short (a shallow clone, a missing object) still orders what it tells of.
        self._run((*log, *order, *limits), take, lambda: not missing)
        return times

    def pour(
        self, argv: Sequence[str], feed: Callable[[bytes], None], is_enough: Cancel = never
    ) -> int | None:
        """Run a command and hand on what it prints; return its exit code, None if stopped."""
        num_bytes = 0

        def count(data: bytes) -> None:
            nonlocal num_bytes
            num_bytes += len(data)
            feed(data)

        def stop() -> bool:
            return self._cancel() or is_enough() or num_bytes > MAX_OUTPUT_BYTES

        return self._sandbox.run((*QUIETLY, *argv), self._view, LIMITS, stop, count).exit_code

    def _run(
        self, words: tuple[str, ...], take: Callable[[bytes], None], is_enough: Cancel
    ) -> int | None:
        """Run git and hand on each row; return its exit code, None if it was stopped."""
        rest = bytearray()

        def feed(data: bytes) -> None:
            nonlocal rest
            *rows, rest = (rest + data).split(b"\0")
            for row in rows:
                take(bytes(row))

        return self.pour((*self.command, *words), feed, is_enough)


def _name(row: bytes) -> str:
    return row.decode("utf-8", "surrogateescape")


def _entry(row: str) -> tuple[str, str, str]:
    """Read `mode blob stage TAB path`."""
    about, _, path = row.partition("\t")
    mode, blob, _ = about.split(" ")
    return mode, blob, path


def _tree_entry(row: str) -> tuple[str, str, str]:
    """Read `mode type blob TAB path`."""
    about, _, path = row.partition("\t")
    mode, _, blob = about.split(" ")
    return mode, blob, path


def _is_below(path: str, folders: Collection[str]) -> bool:
    return bool(folders) and any(parent in folders for parent in _parents(path))


def _parents(path: str) -> Iterator[str]:
    parts = path.split("/")
    return ("/".join(parts[:n]) for n in range(1, len(parts)))
