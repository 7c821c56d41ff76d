"""Random edits and undos against a model of the file system: after each undo every byte agrees.

The model is a dict of what a checkpoint promises to bring back: files with their bytes and
permissions, links, folders. What it promises to leave alone, repositories in the tree and caches,
is looked at after every step.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError

Tree = dict[str, tuple[str, int, bytes]]

NAMES = (
    "a.py",
    "b.bin",
    "run.sh",
    "l\u00f6we",
    "new\nline",
    "-rf",
    ".hidden",
    "deep",
    "CON",
    "x y",
)
FOLDERS = ("", "pkg/", "pkg/sub/", "deep/", "vendor/")
MODES = (0o644, 0o755, 0o600, 0o640)
NESTED = {"vendor/.git/HEAD": b"ref: refs/heads/main\n", "pkg/__pycache__/a.pyc": b"\x00cache"}
NUM_STEPS = 5


def seen(worktree: Path) -> Tree:
    """What a checkpoint is to bring back."""
    found: Tree = {}
    for path in sorted(worktree.rglob("*")):
        name = path.relative_to(worktree).as_posix()
        if {".git", "__pycache__"} & set(name.split("/")):
            continue
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            found[name] = ("link", 0, os.fsencode(path.readlink()))
        elif stat.S_ISDIR(status.st_mode):
            found[name] = ("folder", stat.S_IMODE(status.st_mode), b"")
        else:
            found[name] = ("file", stat.S_IMODE(status.st_mode), path.read_bytes())
    return found


def some_path(worktree: Path, random: Random) -> Path:
    return worktree / (random.choice(FOLDERS) + random.choice(NAMES))


def some_file(worktree: Path, random: Random) -> Path | None:
    found = [name for name, (kind, _, _) in seen(worktree).items() if kind != "folder"]
    return worktree / random.choice(found) if found else None


def clear(path: Path) -> bool:
    """Make room for a file; say whether there is any."""
    for parent in path.parents:
        if parent.is_symlink() or parent.is_file():
            parent.unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() and not path.is_symlink():
        return False
    path.unlink(missing_ok=True)
    return True


def write(worktree: Path, random: Random) -> None:
    path = some_path(worktree, random)
    if clear(path):
        path.write_bytes(random.randbytes(random.choice((0, 1, 40, 5000))))
        path.chmod(random.choice(MODES))


def append(worktree: Path, random: Random) -> None:
    path = some_file(worktree, random)
    if path is not None and not path.is_symlink():
        path.write_bytes(path.read_bytes() + b"more\r\n")


def link(worktree: Path, random: Random) -> None:
    path = some_path(worktree, random)
    if clear(path):
        path.symlink_to(random.choice(("a.py", "../pkg", "/etc/passwd", "nowhere", ".")))


def rename(worktree: Path, random: Random) -> None:
    old, new = some_file(worktree, random), some_path(worktree, random)
    if old is not None and old not in new.parents and old != new and clear(new) and old.exists():
        old.rename(new)


def delete(worktree: Path, random: Random) -> None:
    path = some_file(worktree, random)
    if path is not None:
        path.unlink()


def change_mode(worktree: Path, random: Random) -> None:
    path = some_file(worktree, random)
    if path is not None and not path.is_symlink():
        path.chmod(random.choice(MODES))


def empty_folder(worktree: Path, random: Random) -> None:
    path = some_path(worktree, random)
    if clear(path):
        path.mkdir()
        path.chmod(random.choice((0o755, 0o700)))


def remove_folder(worktree: Path, random: Random) -> None:
    path = worktree / random.choice(("deep", "pkg/sub", "pkg/deep"))
    if path.is_dir() and not path.is_symlink() and not any(path.iterdir()):
        path.rmdir()


EDITS: tuple[Callable[[Path, Random], None], ...] = (
    *(write, write, write, append, link, rename, rename, delete, delete),
    *(change_mode, empty_folder, remove_folder),
)


def run_sequence(checkpoint: Checkpoint, random: Random) -> None:
    """Edit and save, go back to any saved moment, and compare each time."""
    worktree = checkpoint.worktree
    saved = [(checkpoint.save("start"), seen(worktree))]
    for _ in range(NUM_STEPS):
        for _ in range(random.randrange(1, 5)):
            random.choice(EDITS)(worktree, random)
        if random.random() < 0.5:
            saved.append((checkpoint.save("step"), seen(worktree)))
        else:
            commit, expected = random.choice(saved)
            checkpoint.restore(commit)
            assert seen(worktree) == expected
            assert checkpoint.changed(commit) == ()
        for name, data in NESTED.items():
            assert (worktree / name).read_bytes() == data


def sequences(folder: Path, seeds: range) -> None:
    worktree = folder / "work"
    for name, data in NESTED.items():
        (worktree / name).parent.mkdir(parents=True)
        (worktree / name).write_bytes(data)
    checkpoint = Checkpoint.create(folder / "shadow", worktree)
    for seed in seeds:
        try:
            run_sequence(checkpoint, Random(seed))
        except (AssertionError, OSError, SandboxError) as error:
            raise AssertionError(f"sequence {seed} went wrong") from error


def test_random_edits_are_undone_to_the_byte(tmp_path: Path) -> None:
    sequences(tmp_path, range(10))


@pytest.mark.slow
def test_five_hundred_sequences_of_random_edits_are_undone_to_the_byte(tmp_path: Path) -> None:
    sequences(tmp_path, range(1_000, 1_500))
