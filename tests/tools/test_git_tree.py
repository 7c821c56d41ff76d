"""The files of a commit, written out as they are stored, with nothing of the repository run."""

import os
import subprocess
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from tests.repositories import commit, new_repository, run_git, write_files
from tools.errors import ProjectError
from tools.git_tree import check_out


def written(repository: Path, ref: str, folder: Path) -> tuple[str, ...]:
    """Write the files of a commit, as `fix --base` does."""
    git = repository / ".git"
    view = View(repository, repository, protected=((git, git),))
    return check_out(ref, folder, Bubblewrap(), view, git)


def test_every_byte_mode_and_link_of_a_commit_is_written(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "repo")
    files = {
        "a b/c\n\t\u00e9.txt": "odd\n",
        "empty": b"",
        "crlf.txt": b"a\r\nb\0\xff" * 50_000,
        "run.sh": "#!/bin/sh\n",
        ".gitattributes": "* text eol=lf export-subst export-ignore filter=x\n",
    }
    write_files(repository, files)
    (repository / "run.sh").chmod(0o755)
    (repository / "link").symlink_to("run.sh")
    run_git(repository, "-c", "core.autocrlf=false", "add", "-A")
    stored = {name: read_blob(repository, f":{name}") for name in files}
    commit(repository, {}, at_s=1_000_000_000)
    commit(repository, {"later.txt": "x\n"}, at_s=1_000_000_100)
    run_git(repository, "config", "filter.x.smudge", "false")
    run_git(repository, "config", "filter.x.required", "true")
    paths = written(repository, "HEAD^", tmp_path / "out")
    assert sorted(paths) == sorted([*files, "link"])
    assert {name: (tmp_path / "out" / name).read_bytes() for name in files} == stored
    assert os.access(tmp_path / "out/run.sh", os.X_OK)
    assert not os.access(tmp_path / "out/empty", os.X_OK)
    assert (tmp_path / "out/link").readlink() == Path("run.sh")


def read_blob(repository: Path, name: str) -> bytes:
    words = ["git", "cat-file", "blob", name]
    return subprocess.run(
        words, cwd=repository, capture_output=True, check=True, timeout=120
    ).stdout


def test_a_submodule_is_left_out_and_the_rest_is_whole(tmp_path: Path) -> None:
    inner = new_repository(tmp_path / "inner")
    commit(inner, {"x": "x"}, at_s=1_000_000_000)
    repository = new_repository(tmp_path / "repo")
    run_git(repository, "submodule", "--quiet", "add", str(inner), "m")
    commit(repository, {"a": "1\n", "z": "2\n"}, at_s=1_000_000_000)
    assert written(repository, "HEAD", tmp_path / "out") == (".gitmodules", "a", "z")
    assert (tmp_path / "out/z").read_text() == "2\n"


def test_names_that_lead_out_are_not_written(tmp_path: Path) -> None:
    repository = new_repository(tmp_path / "repo")
    commit(repository, {"good": "1\n"}, at_s=1_000_000_000)
    blob = git_output(repository, "rev-parse", "HEAD:good")
    entry = f"100644 blob {blob}\t"
    inner = made_tree(repository, f"{entry}evil\n")
    link = f"120000 blob {git_output(repository, 'hash-object', '-w', '--stdin', given='/tmp')}"
    tree = made_tree(
        repository,
        f"040000 tree {inner}\t..\n040000 tree {inner}\t.GIT\n{entry}good\n{link}\tlink\n",
    )
    ref = git_output(repository, "commit-tree", "-m", "x", tree)
    assert written(repository, ref, tmp_path / "out") == ("good", "link")
    assert not (tmp_path / "evil").exists()


def made_tree(repository: Path, entries: str) -> str:
    """Write a tree object as no git of today would make it."""
    raw = b""
    for line in entries.strip("\n").split("\n"):
        about, _, name = line.partition("\t")
        mode, _, blob = about.split(" ")
        raw += f"{mode.lstrip('0')} {name}\0".encode() + bytes.fromhex(blob)
    words = ["git", "hash-object", "-w", "--literally", "-t", "tree", "--stdin"]
    done = subprocess.run(words, cwd=repository, input=raw, capture_output=True, timeout=120)
    return done.stdout.decode().strip()


def git_output(repository: Path, *words: str, given: str = "") -> str:
    person = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(
        ["git", *person, *words],
        cwd=repository,
        input=given,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout.strip()


@pytest.mark.parametrize("ref", ["nowhere", "--help", "HEAD:a", ""])
def test_what_is_no_commit_is_refused(tmp_path: Path, ref: str) -> None:
    repository = new_repository(tmp_path / "repo")
    commit(repository, {"a": "1\n"}, at_s=1_000_000_000)
    with pytest.raises(ProjectError, match="is no commit of this repository"):
        written(repository, ref, tmp_path / "out")
