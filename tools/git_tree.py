"""Writes the files of a commit out, byte by byte: no filter, hook or attribute has a say in them.

Git runs in the sandbox, on the user's own `.git`. The names in a commit may come from a stranger:
none leads out of the folder, and links are made when everything else is written.
"""

import os
import shlex
from pathlib import Path, PurePosixPath

from sandbox.base import Cancel, Sandbox, View, never
from tools.errors import ProjectError
from tools.git_files import GitReader

LINK, PROGRAM, SUBMODULE = "120000", "100755", "160000"


def check_out(
    ref: str, folder: Path, sandbox: Sandbox, view: View, git: Path, cancel: Cancel = never
) -> tuple[str, ...]:
    """Write the files of the commit `ref` below the new `folder`; return their paths.

    Submodules are left out. `git` is the `.git` of the repository, as commands see it.

    Raises:
        ProjectError: there is no such commit, or it cannot be read whole.
    """
    reader = GitReader(sandbox, view, git, cancel)
    commit = _resolved(reader, ref)
    rows = [_row(row) for row in reader.rows("ls-tree", "-r", "-z", commit)]
    wanted = _Contents()
    ours = shlex.join(reader.command)
    # The same rows in the same order, of which the third word is the id of the content.
    ids = f"{ours} ls-tree -r {commit} | cut -d' ' -f3 | cut -f1"
    reader.pour(("sh", "-c", f"{ids} | {ours} cat-file --batch"), wanted.feed)
    if len(wanted.found) != len(rows):
        raise ProjectError(f"{ref} cannot be read whole; a part of it is missing here")
    files = [
        (mode, path, data)
        for (mode, path), data in zip(rows, wanted.found, strict=True)
        if mode != SUBMODULE and _is_inside(path)
    ]
    folder.mkdir()
    for mode, path, data in sorted(files, key=lambda file: file[0] == LINK):
        _write(folder / path, mode, data)
    return tuple(path for _, path, _ in files)


def _resolved(reader: GitReader, ref: str) -> str:
    """Return the id of the commit that `ref` names."""
    found: list[str] = []
    if not ref.startswith("-"):
        words = ("log", "-1", "-z", "--no-color", "--no-decorate", "--format=%H", ref, "--")
        try:
            found = reader.rows(*words)
        except ProjectError:
            found = []
    if not found:
        raise ProjectError(f"{ref} is no commit of this repository; fetch it first")
    return found[0]


class _Contents:
    """Reads what `git cat-file --batch` prints: `id type size`, a line end, so many bytes, another.

    Of what is not there, a submodule's commit among it, it prints `id missing`.
    """

    def __init__(self) -> None:
        self.found: list[bytes] = []
        self._rest = bytearray()

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._rest += data
        while (end := self._rest.find(b"\n")) >= 0:
            about = self._rest[:end].split(b" ")
            size = int(about[2]) if len(about) == 3 else -1
            if len(self._rest) < end + 1 + size + 1:
                return
            self.found.append(bytes(self._rest[end + 1 : end + 1 + size]) if size > 0 else b"")
            del self._rest[: end + 1 + size + 1]


def _row(row: str) -> tuple[str, str]:
    """Read `mode type blob TAB path`."""
    about, _, path = row.partition("\t")
    return about.split(" ")[0], path


def _is_inside(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return not path.startswith("/") and not any(
        part == ".." or part.lower() == ".git" for part in parts
    )


def _write(path: Path, mode: str, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if mode == LINK:
        path.symlink_to(os.fsdecode(data))
        return
    path.write_bytes(data)
    path.chmod(0o755 if mode == PROGRAM else 0o644)
