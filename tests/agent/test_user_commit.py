"""A repair as a commit: what is in it, what stays as it is, and that nothing configured is run."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from agent.errors import NotApplied, UsageError
from agent.request import FixRequest
from agent.user_commit import UserCommit, Work, check_commit, make_commit, message_of
from sandbox.checkpoint import Checkpoint
from sandbox.tree import apply_changes, copy_tree
from tests.agent.fakes import CART, make_repository, write

MENDED = CART.replace("price - tax", "price + tax")
WORDS = "Mend the total\n"


def git(repository: Path, *words: str) -> str:
    """Ask git; without anything that our own code sets."""
    done = subprocess.run(
        ["git", *words], cwd=repository, check=True, capture_output=True, text=True, timeout=30
    )
    return done.stdout


@dataclass(frozen=True)
class Repaired:
    """A repository, and a copy of it on which a repair was made."""

    repository: Path
    checkpoint: Checkpoint
    base: str
    final: str

    def made(self, branch: str = "") -> UserCommit:
        """Make the commit, and put it nowhere."""
        paths = self.checkpoint.changed(self.base, self.final)
        work = Work(self.checkpoint, dict.fromkeys(paths, self.base), self.final)
        return make_commit(self.repository, work, branch, WORDS)

    def commit(self, branch: str = "") -> str:
        """Do what `fix` does at its end; return the id."""
        request = FixRequest(self.repository, commit=not branch, branch=branch)
        check_commit(request, self.repository)
        made = self.made(branch)
        if not branch:
            apply_changes(self.checkpoint, self.base, self.final, self.repository)
        made.put_on(branch)
        return made.id


def repaired(repository: Path, files: Mapping[str, str | None]) -> Repaired:
    """Repair a copy of a repository: files with their new text, or None for those that go."""
    folder = repository.parent
    tree = folder / f"tree-of-{repository.name}"
    copy_tree(repository, tree)
    checkpoint = Checkpoint.create(folder / f"git-of-{repository.name}", tree)
    base = checkpoint.save("base")
    for name, text in files.items():
        if text is None:
            (tree / name).unlink()
        else:
            write(tree, {name: text})
    return Repaired(repository, checkpoint, base, checkpoint.save("final"))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo", {"old.txt": "old\n", "mine.txt": "mine\n"})


def test_a_commit_holds_the_repair_and_nothing_of_the_users(repository: Path) -> None:
    write(repository, {"mine.txt": "staged\n", "untracked.txt": "x\n"})
    git(repository, "add", "mine.txt")
    write(repository, {"mine.txt": "not staged\n"})
    parent, branch = git(repository, "rev-parse", "HEAD"), git(repository, "symbolic-ref", "HEAD")
    files = {"shop/cart.py": MENDED, "new/file.py": "x = 1\n", "old.txt": None}
    commit = repaired(repository, files).commit()
    assert git(repository, "rev-parse", "HEAD", "HEAD^").split() == [commit, parent.strip()]
    assert git(repository, "symbolic-ref", "HEAD") == branch
    shown = git(repository, "show", "--format=%an <%ae>%n%s", "--name-status", "HEAD")
    assert shown.split("\n") == [
        "qwen-agent <qwen-agent@localhost>",
        "Mend the total",
        "",
        "A\tnew/file.py",
        "D\told.txt",
        "M\tshop/cart.py",
        "",
    ]
    assert git(repository, "status", "--porcelain") == "MM mine.txt\n?? untracked.txt\n"
    assert git(repository, "show", ":mine.txt") == "staged\n"
    git(repository, "fsck", "--strict")


def test_a_branch_is_made_beside_the_current_one(repository: Path) -> None:
    head, index = git(repository, "rev-parse", "HEAD"), (repository / ".git/index").read_bytes()
    commit = repaired(repository, {"shop/cart.py": MENDED}).commit("fix/total")
    assert git(repository, "rev-parse", "fix/total").strip() == commit
    assert git(repository, "show", "fix/total:shop/cart.py") == MENDED
    assert git(repository, "rev-parse", "HEAD") == head
    assert (repository / ".git/index").read_bytes() == index
    assert (repository / "shop/cart.py").read_text() == CART
    assert git(repository, "status", "--porcelain") == ""


def test_a_commit_on_no_branch_moves_head_alone(repository: Path) -> None:
    git(repository, "checkout", "-q", "--detach")
    commit = repaired(repository, {"shop/cart.py": MENDED}).commit()
    assert git(repository, "rev-parse", "HEAD").strip() == commit
    assert git(repository, "status", "--porcelain") == ""


def test_nothing_that_the_repository_configures_is_run(repository: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was-run"
    script = tmp_path / "script"
    script.write_text(f"#!/bin/sh\necho $0 $@ >> {mark}\ncat\n")
    script.chmod(0o755)
    hooks = ("pre-commit", "commit-msg", "post-commit", "reference-transaction", "post-checkout")
    for name in (*hooks, "post-index-change", "prepare-commit-msg", "fsmonitor-watchman"):
        hook = repository / ".git/hooks" / name
        hook.parent.mkdir(exist_ok=True)
        hook.symlink_to(script)
    work = repaired(repository, {"shop/cart.py": MENDED, ".gitattributes": "* filter=x diff=x\n"})
    write(repository, {".git/info/attributes": "* filter=x diff=x\n"})
    names = ("filter.x.clean", "filter.x.smudge", "core.fsmonitor", "gpg.program", "core.editor")
    for name in (*names, "diff.x.textconv", "core.pager", "core.sshCommand"):
        git(repository, "config", name, str(script))
    git(repository, "config", "commit.gpgSign", "true")
    work.commit()
    assert not mark.exists(), mark.read_text()
    assert subprocess.run([script], input=b"", check=False).returncode == 0
    assert mark.exists(), "the script would have left its mark"


def test_a_file_that_the_user_has_changed_too_is_not_committed(repository: Path) -> None:
    write(repository, {"shop/cart.py": f"# mine\n{CART}"})
    work = repaired(repository, {"shop/cart.py": f"# mine\n{MENDED}"})
    for branch in ("", "b"):
        with pytest.raises(NotApplied, match=r"shop/cart\.py has changes of yours that are not"):
            work.commit(branch)
    write(repository, {"shop/cart.py": CART, "old.txt": "staged\n"})
    git(repository, "add", "old.txt")
    write(repository, {"old.txt": "old\n"})
    before = git(repository, "status", "--porcelain")
    work = Repaired(repository, *_again(repository, {"old.txt": "new\n"}))
    with pytest.raises(NotApplied, match=r"old\.txt has changes of yours that are staged"):
        work.commit()
    assert git(repository, "status", "--porcelain") == before
    assert git(repository, "log", "--format=%s") == "first\n"


def _again(repository: Path, files: Mapping[str, str | None]) -> tuple[Checkpoint, str, str]:
    folder = repository.parent
    (folder / "tree-of-repo").rename(folder / "tree-before")
    (folder / "git-of-repo").rename(folder / "git-before")
    work = repaired(repository, files)
    return work.checkpoint, work.base, work.final


def test_line_ends_of_the_working_tree_are_not_committed(repository: Path) -> None:
    write(repository, {"shop/cart.py": ""})
    (repository / "shop/cart.py").write_bytes(CART.replace("\n", "\r\n").encode())
    git(repository, "config", "core.autocrlf", "true")
    assert git(repository, "diff", "--stat") == ""
    work = repaired(repository, {"shop/cart.py": ""})
    (work.checkpoint.worktree / "shop/cart.py").write_bytes(MENDED.replace("\n", "\r\n").encode())
    work = Repaired(repository, work.checkpoint, work.base, work.checkpoint.save("again"))
    work.commit()
    shown = git(repository, "diff", "--numstat", "HEAD^", "HEAD")
    assert shown == "1\t1\tshop/cart.py\n"


def test_a_branch_that_moved_meanwhile_is_left_alone(repository: Path) -> None:
    work = repaired(repository, {"shop/cart.py": MENDED})
    made = work.made()
    git(
        repository,
        "-c",
        "user.name=t",
        "-c",
        "user.email=t@e",
        "commit",
        "-qm",
        "2",
        "--allow-empty",
    )
    head = git(repository, "rev-parse", "HEAD")
    with pytest.raises(NotApplied, match="not put in its place"):
        made.put_on("")
    assert git(repository, "rev-parse", "HEAD") == head


def test_a_stale_lock_of_the_index_is_named_before_anything_moves(repository: Path) -> None:
    work = repaired(repository, {"shop/cart.py": MENDED})
    request = FixRequest(repository, commit=True)
    made = work.made()
    head, lock = git(repository, "rev-parse", "HEAD"), repository / ".git" / "index.lock"
    lock.touch()
    with pytest.raises(UsageError, match=r"--commit: .*/\.git/index\.lock is there"):
        check_commit(request, repository)
    with pytest.raises(NotApplied, match=r"index\.lock is there"):
        work.made()
    with pytest.raises(NotApplied, match="not put in its place"):
        made.put_on("")
    assert git(repository, "rev-parse", "HEAD") == head
    check_commit(FixRequest(repository, branch="new"), repository)


def test_what_cannot_be_committed_is_refused_before(repository: Path, tmp_path: Path) -> None:
    git(repository, "branch", "there/is")
    names = ("there/is", "there", "there/is/sub", "a b", "-x", "x..y", "HEAD.lock", "HEAD", "@{-1}")
    for name in names:
        with pytest.raises(UsageError, match="--branch"):
            check_commit(FixRequest(repository, branch=name), repository)
    with pytest.raises(UsageError, match="--dry-run"):
        check_commit(FixRequest(repository, commit=True, dry_run=True), repository)
    check_commit(FixRequest(repository, branch="new"), repository)
    empty = tmp_path / "empty"
    empty.mkdir()
    git(empty, "init", "-q")
    with pytest.raises(UsageError, match="no commit to build on"):
        check_commit(FixRequest(empty, commit=True), empty)


def test_a_message_says_what_was_done_and_claims_no_more() -> None:
    summary = f"Mend the total {'which was wrong ' * 8}\x1b[31m\n\nSigned-off-by: A <a@b>\n"
    message = message_of(summary, "All pass on\na clean copy.", "nano", "python -m pytest")
    subject, blank, *rest = message.rstrip("\n").split("\n")
    assert len(subject) <= 72
    assert blank == ""
    assert max(map(len, rest)) <= 72
    assert rest[-3:] == ["", "Generated-by: qwen-agent (nano)", "Verified-with: python -m pytest"]
    assert "Signed-off-by" not in message.rpartition("\n\n")[2]
    assert "\x1b" not in message
    assert message_of("", "x", "m", "t").startswith("Repair what the tests complain of\n\nx\n")
