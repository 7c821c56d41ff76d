"""Copies of working trees, and edits that arrive whole or not at all."""

import os
import resource
import stat
import subprocess
from pathlib import Path

import pytest

from sandbox.checkpoint import Checkpoint
from sandbox.errors import SandboxError
from sandbox.tree import apply_changes, copy_tree

Tree = dict[str, tuple[int, bytes]]


def tree_of(folder: Path) -> Tree:
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        name = str(path.relative_to(folder))
        if stat.S_ISLNK(mode):
            found[name] = (0, os.fsencode(path.readlink()))
        else:
            found[name] = (mode, path.read_bytes() if stat.S_ISREG(mode) else b"")
    return found


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "pkg" / "sub").mkdir(parents=True)
    (folder / "pkg" / "a.py").write_bytes(b"a = 1\r\n")
    (folder / "pkg" / "sub" / "only").write_text("only\n")
    (folder / "b.py").write_text("b = 1\n")
    (folder / "c.py").write_text("c = 1\n")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o750)
    (folder / "link").symlink_to("pkg/a.py")
    (folder / "empty").mkdir(mode=0o700)
    return folder


class Edit:
    """A copy of a repository with a checkpoint of it, to be edited and brought back."""

    def __init__(self, repository: Path, tmp_path: Path) -> None:
        self.copy = tmp_path / "copy"
        self.repository = repository
        copy_tree(repository, self.copy)
        self.checkpoint = Checkpoint.create(tmp_path / "shadow", self.copy)
        self.base = self.checkpoint.save("base")

    def bring_back(self) -> tuple[str, ...]:
        final = self.checkpoint.save("final")
        return apply_changes(self.checkpoint, self.base, final, self.repository)


@pytest.fixture
def edit(repository: Path, tmp_path: Path) -> Edit:
    return Edit(repository, tmp_path)


def test_a_copy_is_exact(repository: Path, tmp_path: Path) -> None:
    assert copy_tree(repository, tmp_path / "copy") == ()
    assert tree_of(tmp_path / "copy") == tree_of(repository)
    old, new = (folder / "pkg" / "a.py" for folder in (repository, tmp_path / "copy"))
    assert old.stat().st_mtime_ns == new.stat().st_mtime_ns
    assert old.stat().st_ino != new.stat().st_ino


def test_a_copy_leaves_out_git_environments_and_special_files(
    repository: Path, tmp_path: Path
) -> None:
    before = tree_of(repository)
    (repository / ".git").mkdir()
    (repository / "pkg" / ".git").write_text("gitdir: elsewhere\n")
    (repository / "env" / "bin").mkdir(parents=True)
    (repository / "env" / "pyvenv.cfg").touch()
    (repository / "pkg" / "node_modules").mkdir()
    os.mkfifo(repository / "fifo")
    skipped = copy_tree(repository, tmp_path / "copy")
    inner = repository / "pkg"
    assert skipped == (repository / "env", inner / ".git", inner / "node_modules")
    assert tree_of(tmp_path / "copy") == before


def test_links_to_an_environment_stay_where_they_are_and_no_others(
    repository: Path, tmp_path: Path
) -> None:
    real = tmp_path / "environments" / "shop"
    (real / "bin").mkdir(parents=True)
    (real / "pyvenv.cfg").touch()
    (repository / ".venv").symlink_to(real)
    # Whatever such a link leads to would be shown to every command.
    (tmp_path / "pyvenv.cfg").touch()
    (tmp_path / "bin").mkdir()
    secret = tmp_path / "node_modules"
    (secret / "bin").mkdir(parents=True)
    links = {"all": Path("/"), "around": tmp_path, "home": Path.home(), "node_modules": secret}
    links |= {"gone": tmp_path / "gone", "round": Path("round"), "file": real / "pyvenv.cfg"}
    for name, target in links.items():
        (repository / name).symlink_to(target)
    assert copy_tree(repository, tmp_path / "copy") == (repository / ".venv",)
    assert not (tmp_path / "copy" / ".venv").is_symlink()
    for name, target in links.items():
        assert (tmp_path / "copy" / name).readlink() == target


def test_the_caller_says_which_folders_stay(repository: Path, tmp_path: Path) -> None:
    skipped = copy_tree(repository, tmp_path / "copy", skip=lambda folder: folder.name == "sub")
    assert skipped == (repository / "pkg" / "sub",)
    assert not (tmp_path / "copy" / "pkg" / "sub").exists()


def test_a_copy_that_cannot_be_made_is_a_sentence(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(SandboxError, match="nothing cannot be copied"):
        copy_tree(tmp_path / "nothing", tmp_path / "copy")


def test_an_edit_arrives_whole(edit: Edit) -> None:
    (edit.copy / "pkg" / "a.py").write_bytes(b"a = 2\r\n")
    (edit.copy / "c.py").unlink()
    (edit.copy / "pkg" / "sub" / "only").unlink()
    (edit.copy / "pkg" / "sub").rmdir()
    (edit.copy / "new" / "deep").mkdir(parents=True)
    (edit.copy / "new" / "deep" / "x").write_bytes(b"\0\xff")
    (edit.copy / "link").unlink()
    (edit.copy / "link").symlink_to("b.py")
    paths = edit.bring_back()
    assert paths == ("c.py", "link", "new/deep/x", "pkg/a.py", "pkg/sub/only")
    assert tree_of(edit.repository) == tree_of(edit.copy)


def test_files_and_folders_may_take_each_others_place(edit: Edit) -> None:
    (edit.copy / "b.py").unlink()
    (edit.copy / "b.py").mkdir()
    (edit.copy / "b.py" / "x").touch()
    (edit.copy / "pkg" / "sub" / "only").unlink()
    (edit.copy / "pkg" / "sub").rmdir()
    (edit.copy / "pkg" / "sub").write_text("a file now\n")
    edit.bring_back()
    assert tree_of(edit.repository) == tree_of(edit.copy)


def test_permissions_of_the_user_stay_but_for_the_right_to_run(edit: Edit) -> None:
    (edit.repository / "b.py").chmod(0o600)
    (edit.copy / "b.py").write_text("b = 2\n")
    (edit.copy / "c.py").chmod(0o755)
    edit.bring_back()
    assert stat.S_IMODE((edit.repository / "b.py").stat().st_mode) == 0o600
    assert stat.S_IMODE((edit.repository / "c.py").stat().st_mode) == 0o755


@pytest.mark.parametrize(
    "meanwhile",
    [
        "echo mine > pkg/a.py",
        "rm pkg/a.py",
        "rm pkg/a.py; ln -s ../b.py pkg/a.py",
        "rm pkg/a.py; mkdir pkg/a.py",
        "rm pkg/a.py; mkfifo pkg/a.py",
        "chmod +x pkg/a.py",
        "echo mine > new.py",
        "mv pkg moved; ln -s moved pkg",
        "rm -r pkg; echo x > pkg",
        "echo mine > c.py",
    ],
)
def test_a_file_changed_meanwhile_stops_the_whole_edit(edit: Edit, meanwhile: str) -> None:
    (edit.copy / "b.py").write_text("b = 2\n")
    (edit.copy / "pkg" / "a.py").write_text("a = 2\n")
    (edit.copy / "new.py").touch()
    (edit.copy / "c.py").unlink()
    subprocess.run(["sh", "-c", meanwhile], cwd=edit.repository, check=True)
    before = tree_of(edit.repository)
    with pytest.raises(SandboxError, match=r"(pkg|new\.py|c\.py).*nothing was changed"):
        edit.bring_back()
    assert tree_of(edit.repository) == before


def test_a_file_changed_meanwhile_that_the_edit_leaves_alone_is_no_matter(edit: Edit) -> None:
    (edit.copy / "b.py").write_text("b = 2\n")
    (edit.repository / "c.py").write_text("mine\n")
    assert edit.bring_back() == ("b.py",)
    assert (edit.repository / "c.py").read_text() == "mine\n"


def test_no_change_touches_nothing(edit: Edit) -> None:
    assert edit.bring_back() == ()


@pytest.mark.fault
def test_a_disk_full_in_the_middle_changes_nothing(edit: Edit) -> None:
    (edit.copy / "b.py").write_text("b = 2\n")
    (edit.copy / "c.py").unlink()
    (edit.copy / "zzz").write_bytes(b"x" * 100_000)
    final = edit.checkpoint.save("final")
    edit.checkpoint.file(final, "zzz")
    before = tree_of(edit.repository)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, hard))
    try:
        with pytest.raises(SandboxError, match="nothing was changed"):
            apply_changes(edit.checkpoint, edit.base, final, edit.repository)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert tree_of(edit.repository) == before


@pytest.mark.fault
def test_a_failure_after_some_files_were_placed_takes_them_back(edit: Edit) -> None:
    """An ignored file keeps a folder from being emptied, so a file cannot take its place."""
    (edit.repository / "pkg" / "sub" / "x.pyc").touch()
    (edit.copy / "b.py").write_text("b = 2\n")
    (edit.copy / "c.py").unlink()
    (edit.copy / "new" / "deep").mkdir(parents=True)
    (edit.copy / "new" / "deep" / "x").touch()
    (edit.copy / "pkg" / "a.py").write_text("a = 2\n")
    (edit.copy / "pkg" / "sub" / "only").unlink()
    (edit.copy / "pkg" / "sub").rmdir()
    (edit.copy / "pkg" / "sub").write_text("a file now\n")
    before = tree_of(edit.repository)
    with pytest.raises(SandboxError, match="nothing was changed"):
        edit.bring_back()
    assert tree_of(edit.repository) == before


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can write for another user")
def test_files_that_root_mends_stay_those_of_their_owner(edit: Edit) -> None:
    for path in (edit.repository, *edit.repository.rglob("*")):
        os.chown(path, 65534, 65533, follow_symlinks=False)
    (edit.copy / "pkg" / "a.py").write_text("mended\n")
    (edit.copy / "new" / "inner").mkdir(parents=True)
    (edit.copy / "new" / "inner" / "c.py").write_text("new\n")
    edit.bring_back()
    for name in ("pkg/a.py", "new", "new/inner", "new/inner/c.py"):
        status = (edit.repository / name).stat()
        assert (status.st_uid, status.st_gid) == (65534, 65533), name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a small disk")
def test_a_full_disk_is_named_by_the_folder_that_is_full(tmp_path: Path) -> None:
    small, source = tmp_path / "small", tmp_path / "source"
    small.mkdir()
    source.mkdir()
    (source / "big").write_bytes(b"x" * 100_000)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", small], check=True)
    try:
        with pytest.raises(SandboxError, match=r"small/tree cannot hold a copy: No space left"):
            copy_tree(source, small / "tree")
    finally:
        subprocess.run(["umount", small], check=True)
