"""What a command closes, names oddly or nests without end is dealt with, and the run goes on.

Nothing is closed to root, so all of it is done as an ordinary user.
"""

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.limits import Limits
from sandbox.mounts import Mount, mount_points
from sandbox.remove import remove_tree, size_of
from sandbox.scan import Watched
from sandbox.snapshot import default_ignored, look
from sandbox.tree import copy_tree

NOBODY = 65534
Act = Callable[[Path], object]
"""What a command does, given the workspace."""


class Acting:
    """In place of a sandbox: it does something here, as the user who this process is."""

    level = "none"

    def __init__(self) -> None:
        self.act: Act = Path.touch

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        self.act(view.source)
        return CommandResult(tuple(argv), 0, "", 0, False, False, 0.0)


def shell(script: str) -> Act:
    return lambda folder: subprocess.run(["/bin/sh", "-c", script], cwd=folder)


def nested(names: Sequence[str], last: str) -> Act:
    """Make folders inside one another, and a file in the innermost."""

    def act(folder: Path) -> None:
        fd = os.open(folder, os.O_RDONLY)
        for name in names:
            os.mkdir(name, dir_fd=fd)
            inner = os.open(name, os.O_RDONLY, dir_fd=fd)
            os.close(fd)
            fd = inner
        os.close(os.open(last, os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=fd))
        os.close(fd)

    return act


class Place:
    """A workspace that is watched."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.source, self.aside = folder, folder / "ws", folder / "aside"
        self.source.mkdir()
        self._acting = Acting()
        self._sandbox = Watched(self._acting, self.aside)

    def run(self, act: Act) -> tuple[str, ...]:
        self._acting.act = act
        return self._sandbox.run(["act"], View(self.source, self.source), Limits()).notices

    def names(self) -> list[str]:
        return [path.name for path in self.source.iterdir()]


@pytest.fixture
def place() -> Iterator[Place]:
    """A place of an ordinary user, who this process is for a while if it is root."""
    folder = Path(tempfile.mkdtemp(dir="/tmp"))
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.setresuid(NOBODY, NOBODY, 0)
    try:
        yield Place(folder)
    finally:
        if is_root:
            os.setresuid(0, 0, 0)
        remove_tree(folder)


@pytest.mark.parametrize(
    "act",
    [lambda folder: (folder / ("é" * 127)).symlink_to("/etc/shadow"),
     lambda folder: (folder / (".git" + "\u200c" * 83)).mkdir(),
     shell("mkdir d; mkdir d/.vscode; chmod 555 d"),
     shell("mkdir d; mkdir d/.vscode; chmod 0 d/.vscode"),
     shell("mkdir .vscode; chmod 500 .")],
)  # fmt: skip
def test_what_may_not_stay_is_put_aside_however_it_is_named_or_closed(
    place: Place, act: Act
) -> None:
    assert [notice for notice in place.run(act) if " taken " in notice]
    assert len(list(place.aside.iterdir())) == 1
    assert set(place.names()) <= {"d"}


def test_folders_that_a_command_closed_are_opened_and_looked_into(place: Place) -> None:
    notices = place.run(shell("mkdir -p a/b/c; touch a/b/.envrc; chmod 555 a/b/c; chmod 0 a/b a"))
    assert [notice.split()[0] for notice in notices] == ["a", "a/b", "a/b/c", "a/b/.envrc"]
    assert list((place.source / "a" / "b" / "c").iterdir()) == []
    assert place.run(shell("true")) == ()


def test_a_folder_that_the_user_closed_stays_closed(place: Place) -> None:
    closed = place.source / "mine"
    closed.mkdir(mode=0)
    assert place.run(shell("true")) == ()
    assert closed.stat().st_mode & 0o777 == 0


def test_a_file_that_a_command_closed_is_saved_and_copied(place: Place) -> None:
    (place.source / "shop.py").write_text("x = 1\n")
    place.run(shell("chmod 0 shop.py; mkdir .tox; echo x > .tox/f; chmod 0 .tox/f .tox"))
    assert list(look(place.source, default_ignored(place.source), is_ours=True).files) == [
        "shop.py"
    ]
    copy_tree(place.source, place.folder / "copy", is_ours=True)
    assert (place.folder / "copy" / "shop.py").read_text() == "x = 1\n"
    assert (place.folder / "copy" / ".tox" / "f").read_text() == "x\n"


def test_a_mount_point_goes_although_the_folder_around_it_was_closed(place: Place) -> None:
    git, seen = place.folder / "git", Path("/seen")
    git.mkdir()
    with mount_points([Mount(place.source, seen, writable=True), Mount(git, seen / ".git")]):
        place.source.chmod(0o500)
    assert place.names() == []
    assert place.source.stat().st_mode & 0o777 == 0o500


@pytest.mark.parametrize("name", ["here", "__pycache__"])
def test_folders_without_end_are_taken_out_copied_in_part_and_removed(
    place: Place, name: str
) -> None:
    notices = place.run(nested([name] * 1100, "f"))
    assert ["it lies too deep" in notice for notice in notices] == [True] * (name == "here")
    assert not look(place.source, default_ignored(place.source)).files
    copy_tree(place.source, place.folder / "copy", is_ours=True)
    assert size_of(place.source) == 0
    for folder in ("copy", "ws", "aside"):
        remove_tree(place.folder / folder)
        assert not (place.folder / folder).exists()


def test_folders_whose_path_is_longer_than_a_path_may_be_are_taken_out(place: Place) -> None:
    notices = place.run(nested(["n" * 250] * 40, ".envrc"))
    assert ["it lies too deep" in notice for notice in notices] == [True]
    assert sum(1 for _ in place.source.rglob("*")) < 12


def test_a_closed_folder_is_removed_with_what_is_in_it(place: Place) -> None:
    shell("mkdir -p a/b/c; touch a/b/c/f; ln -s / a/b/root; chmod 0 a/b/c a/b a .")(place.source)
    remove_tree(place.source)
    assert not place.source.exists()
