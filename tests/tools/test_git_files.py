"""What git says of real repositories, read in the real sandboxes."""

from pathlib import Path

import pytest

from sandbox.base import Sandbox, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct
from tests.repositories import commit, new_repository, run_git
from tools.errors import ProjectError
from tools.git_files import GitFile, list_files


@pytest.fixture(params=["bubblewrap", "direct"])
def sandbox(request: pytest.FixtureRequest) -> Sandbox:
    return Bubblewrap() if request.param == "bubblewrap" else Direct()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return new_repository(tmp_path / "repo")


def listed(folder: Path, sandbox: Sandbox) -> dict[str, GitFile]:
    files = list_files(sandbox, View(folder, folder), folder / ".git")
    assert [file.path for file in files] == sorted(file.path for file in files)
    return {file.path: file for file in files}


def test_each_file_has_the_time_of_the_last_commit_that_touched_it(
    repository: Path, sandbox: Sandbox
) -> None:
    commit(repository, {"a.py": "1", 'b/ü "x\n.py': "1", "c.py": "1"}, at_s=100)
    commit(repository, {"c.py": "2"}, at_s=200)
    commit(repository, {"a.py": "2"}, at_s=300)
    files = listed(repository, sandbox)
    assert {path: file.committed_s for path, file in files.items()} == {
        "a.py": 300,
        'b/ü "x\n.py': 100,
        "c.py": 200,
    }
    assert all(file.is_committed((repository / path).read_bytes()) for path, file in files.items())


def test_ignored_files_links_and_submodules_are_left_out(
    repository: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    other = new_repository(tmp_path / "other")
    commit(other, {"inside.py": "1"}, at_s=100)
    commit(repository, {".gitignore": "*.log\nbuild/\n!keep.log\n", "a.py": "1"}, at_s=100)
    run_git(repository, "submodule", "add", "-q", str(other), "module")
    (repository / "link.py").symlink_to("/etc/passwd")
    run_git(repository, "add", "-A")
    run_git(repository, "commit", "-qm", "x")
    for name in ("x.log", "keep.log", "build/y.py", "new.py", "sub/.gitignore", "sub/z.py"):
        (repository / name).parent.mkdir(exist_ok=True)
        (repository / name).write_text("z.py\n")
    files = listed(repository, sandbox)
    assert set(files) == {
        ".gitignore",
        ".gitmodules",
        "a.py",
        "keep.log",
        "new.py",
        "sub/.gitignore",
    }
    assert files["new.py"].blob == ""
    assert not files["new.py"].is_committed(b"z.py\n")


def test_what_is_not_as_committed_is_told_whatever_the_line_endings(
    repository: Path, sandbox: Sandbox
) -> None:
    commit(repository, {"a.py": "one\ntwo\n"}, at_s=100)
    file = listed(repository, sandbox)["a.py"]
    assert file.is_committed(b"one\ntwo\n")
    assert file.is_committed(b"one\r\ntwo\r\n")
    assert not file.is_committed(b"one\ntwo")


def test_a_repository_without_a_commit_lists_its_files(repository: Path, sandbox: Sandbox) -> None:
    (repository / "a.py").write_text("1")
    assert list(listed(repository, sandbox).values()) == [GitFile("a.py")]


def test_a_worktree_is_read_through_its_git_file(
    repository: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    commit(repository, {"a.py": "1"}, at_s=100)
    run_git(repository, "worktree", "add", "-q", str(tmp_path / "tree"))
    view = View(tmp_path / "tree", tmp_path / "tree", read_only=(repository / ".git",))
    (file,) = list_files(sandbox, view, tmp_path / "tree" / ".git")
    assert (file.path, file.committed_s) == ("a.py", 100)


def test_a_copy_is_listed_by_the_git_folder_of_the_original(
    repository: Path, sandbox: Sandbox, tmp_path: Path
) -> None:
    commit(repository, {"a.py": "1"}, at_s=100)
    copy = tmp_path / "copy"
    copy.mkdir()
    (copy / "new.py").write_text("1")
    git = repository / ".git"
    seen_at = copy if sandbox.level == "direct" else repository
    files = list_files(sandbox, View(copy, seen_at, protected=((git, git),)), git)
    assert [file.path for file in files] == ["a.py", "new.py"]


def test_no_program_that_the_repository_names_is_run(repository: Path, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    commit(repository, {"a.py": "1", ".gitattributes": "*.py filter=evil diff=evil\n"}, at_s=100)
    program = tmp_path / "evil"
    program.write_text(f"#!/bin/sh\ntouch {trap}\ncat\n")
    program.chmod(0o755)
    for name in (
        *("core.fsmonitor", "core.pager", "pager.log", "gpg.program", "diff.external"),
        *("filter.evil.clean", "filter.evil.smudge", "diff.evil.textconv", "diff.evil.command"),
    ):
        run_git(repository, "config", name, str(program))
    run_git(repository, "config", "log.showSignature", "true")
    (repository / ".git/hooks/post-index-change").symlink_to(program)
    (repository / "a.py").write_text("2")
    trap.unlink(missing_ok=True)
    index = (repository / ".git/index").read_bytes()
    assert set(listed(repository, Direct())) == {"a.py", ".gitattributes"}
    assert not trap.exists()
    assert (repository / ".git/index").read_bytes() == index


def test_a_git_folder_that_is_none_is_refused_in_words(repository: Path, sandbox: Sandbox) -> None:
    (repository / ".git/HEAD").write_text("nonsense")
    with pytest.raises(ProjectError, match=r"git ls-files could not read the repository"):
        listed(repository, sandbox)


def test_a_setting_that_names_a_missing_order_does_not_hide_the_history(
    repository: Path, sandbox: Sandbox
) -> None:
    commit(repository, {"a.py": "1"}, at_s=100)
    run_git(repository, "config", "diff.orderFile", "/nowhere")
    assert listed(repository, sandbox)["a.py"].committed_s == 100
