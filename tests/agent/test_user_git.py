"""Git on the user's repository, outside of the sandbox: nothing that a stranger named is run."""

import os
import subprocess
from pathlib import Path

import pytest

from agent.errors import NotApplied
from agent.patch import check_target
from agent.request import FixRequest
from agent.user_commit import Work, check_commit, make_commit
from agent.user_git import ignored, run_git
from sandbox.base import View
from sandbox.checkpoint import Checkpoint
from sandbox.direct import Direct
from sandbox.tree import apply_changes, copy_tree
from tests.agent.fakes import CART, make_repository, write
from tools.git_files import list_files

MENDED = CART.replace("price - tax", "price + tax")
HOOKS = (
    *("pre-commit", "commit-msg", "post-commit", "prepare-commit-msg", "post-checkout"),
    *("reference-transaction", "post-index-change", "fsmonitor-watchman", "post-rewrite"),
)
PROGRAMS = (
    *("core.fsmonitor", "core.pager", "core.editor", "core.sshCommand", "core.askPass"),
    *("core.gitProxy", "core.alternateRefsCommand", "sequence.editor", "gpg.program"),
    *("gpg.ssh.program", "diff.external", "diff.x.command", "diff.x.textconv", "merge.x.driver"),
    *("filter.x.clean", "filter.x.smudge", "filter.p.process", "interactive.diffFilter"),
    *("trailer.x.command", "remote.origin.uploadpack", "hook.x.command"),
)
COMMANDS = (
    *("ls-files", "check-ignore", "config", "rev-parse", "for-each-ref", "read-tree", "ls-tree"),
    *("update-index", "update-ref", "write-tree", "commit-tree", "hash-object", "status"),
)
VARIABLES = ("GIT_EXTERNAL_DIFF", "GIT_SSH_COMMAND", "GIT_PAGER", "GIT_EDITOR", "GIT_ASKPASS")


class Traps:
    """Programs that leave a mark each, and the names of those that were run."""

    def __init__(self, folder: Path) -> None:
        self.programs, self._marks = folder / "programs", folder / "marks"
        self.programs.mkdir()
        self._marks.mkdir()

    def program(self, name: str, folder: Path | None = None) -> str:
        """Make one; its mark has its name, which need not be that of its file."""
        path = (folder or self.programs) / name
        path.parent.mkdir(exist_ok=True, parents=True)
        then = "exit 1" if name.endswith(".process") else "exec /bin/cat"  # no talk that can stall
        path.write_text(f"#!/bin/sh\n/usr/bin/touch '{self._marks}/{name}'\n{then}\n")
        path.chmod(0o755)
        return str(path)

    def sprung(self) -> set[str]:
        """Return the names of those that were run since this was asked last."""
        found = {path.name for path in self._marks.iterdir()}
        for name in found:
            (self._marks / name).unlink()
        return found


def git(folder: Path, *words: str) -> None:
    """Run git as a person would, with all that is configured."""
    command = ["git", *words]
    no_input = subprocess.DEVNULL
    subprocess.run(
        command, cwd=folder, stdin=no_input, capture_output=True, timeout=120, check=False
    )


@pytest.fixture
def traps(tmp_path: Path) -> Traps:
    return Traps(tmp_path)


def settings(values: dict[str, str]) -> str:
    """Write settings down as git reads them."""
    rows = []
    for name, value in values.items():
        section, *middle, key = name.split(".")
        title = f'{section} "{".".join(middle)}"' if middle else section
        rows.append(f'[{title}]\n\t{key} = "{value}"\n')
    return "".join(rows)


def trapped(repository: Path, traps: Traps) -> dict[str, str]:
    """Name a program in every setting that takes one."""
    named = {name: traps.program(name) for name in PROGRAMS}
    for command in COMMANDS:
        named[f"alias.{command}"] = f"!{traps.program(f'alias.{command}')}"
        named[f"pager.{command}"] = traps.program(f"pager.{command}")
    return named | {
        "core.hooksPath": str(repository / "hooks"),
        "core.attributesFile": str(repository / ".git/info/attributes"),
        "credential.helper": f"!{traps.program('credential.helper')}",
        "commit.gpgSign": "true",
        "submodule.recurse": "true",
        "hook.x.event": "post-index-change",
        "remote.origin.url": "ssh://nobody@host.invalid/x",  # by core.sshCommand
        "remote.origin.promisor": "true",
        "core.repositoryFormatVersion": "1",
        "extensions.partialClone": "origin",
    }


@pytest.fixture
def hostile(tmp_path: Path, traps: Traps, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository that names a program wherever git lets it, in an environment that does too."""
    repository = make_repository(tmp_path / "repo", {"old.txt": "old\n", ".gitignore": "*.log\n"})
    git(repository, "clone", "-q", str(repository), "module")
    git(repository, "add", "module")
    git(repository, "-c", "user.name=t", "-c", "user.email=t@e.org", "commit", "-qm", "module")
    for name in HOOKS:
        traps.program(name, repository / ".git/hooks")
        traps.program(name, repository / "hooks")
    named = trapped(repository, traps)
    for number, name in enumerate(("include.path", "includeIf.gitdir:**.path")):
        named[name] = str(tmp_path / f"more{number}")
        more = settings({f"filter.{number}.clean": traps.program(name)})
        write(tmp_path, {f"more{number}": more})
    with (repository / ".git/config").open("a") as config:
        config.write(settings(named))
    with (repository / "module/.git/config").open("a") as config:
        config.write(settings({"core.fsmonitor": traps.program("module")}))
    attributes = "* filter=x diff=x merge=x\n*.txt filter=p\n*.md filter=0\n*.rst filter=1\n"
    write(repository, {".git/info/attributes": attributes, ".gitattributes": attributes})
    write(tmp_path, {"home/.gitconfig": settings({"core.fsmonitor": traps.program("home")})})
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in VARIABLES:
        monkeypatch.setenv(name, traps.program(name))
    traps.program("git", repository)  # found before the real one where PATH has a dot
    monkeypatch.setenv("PATH", f".:{os.environ['PATH']}")
    for name in ("shop/cart.py", "old.txt"):  # so that an index written now is in doubt of them
        os.utime(repository / name)
    traps.sprung()
    return repository


def repair(repository: Path, branch: str) -> None:
    """Do all that `fix` does with git outside of the sandbox."""
    check_target(repository / "shop/new.patch", repository)
    assert ignored(repository, ["a.log", "shop/cart.py"]) == ("a.log",)
    tree = repository.parent / f"tree-{branch}"
    copy_tree(repository, tree)
    checkpoint = Checkpoint.create(repository.parent / f"shadow-{branch}", tree)
    base = checkpoint.save("base")
    write(tree, {"shop/cart.py": MENDED})
    final = checkpoint.save("final")
    request = FixRequest(repository, commit=not branch, branch=branch)
    check_commit(request, repository)
    made = make_commit(
        repository, Work(checkpoint, {"shop/cart.py": base}, final), branch, "Mend it\n"
    )
    if not branch:
        apply_changes(checkpoint, base, final, repository)
    made.put_on(branch)


def test_a37_no_program_that_a_hostile_repository_names_is_run_on_the_host(
    hostile: Path, traps: Traps
) -> None:
    repair(hostile, "mended")
    repair(hostile, "")
    list_files(Direct(), View(hostile, hostile), hostile / ".git")
    assert traps.sprung() == set()
    run_git(hostile, "cat-file", "-e", "HEAD:shop/cart.py")


def test_a37_a_missing_object_is_not_fetched_by_a_program(hostile: Path, traps: Traps) -> None:
    tree = run_git(hostile, "rev-parse", "HEAD:shop").decode().strip()
    (hostile / ".git/objects" / tree[:2] / tree[2:]).unlink()
    with pytest.raises(NotApplied):
        repair(hostile, "mended")
    assert traps.sprung() == set()


def test_a37_files_that_are_said_to_lie_elsewhere_run_nothing(
    hostile: Path, traps: Traps, tmp_path: Path
) -> None:
    (tmp_path / "elsewhere").mkdir()
    git(hostile, "config", "core.worktree", str(tmp_path / "elsewhere"))
    traps.sprung()
    repair(hostile, "mended")
    assert traps.sprung() == set()


def test_a37_the_traps_are_sprung_by_git_as_people_run_it(
    hostile: Path, traps: Traps, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run(["git", "status"], cwd=hostile, capture_output=True, timeout=30, check=False)
    assert traps.sprung() == {"git"}
    monkeypatch.setenv("PATH", os.environ["PATH"].removeprefix(".:"))
    write(hostile, {"old.txt": "new\n", "shop/cart.py": "x\n", "a.md": "x\n", "a.rst": "x\n"})
    for words in (["status"], ["diff"], ["add", "--all", "."]):
        git(hostile, "-c", "filter.p.process=", *words)  # git gives up at a trap that cannot talk
    write(hostile, {"old.txt": "newer\n"})
    git(hostile, "add", "old.txt")
    assert traps.sprung() >= {
        *("core.fsmonitor", "diff.x.command", "filter.x.clean", "filter.p.process"),
        *("include.path", "includeIf.gitdir:**.path", "post-index-change"),
    }
