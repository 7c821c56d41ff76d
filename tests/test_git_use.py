"""Whose repository is opened by what: GitPython only our own, and git in the sandbox the user's."""

import ast
from collections.abc import Sequence
from pathlib import Path

from sandbox.base import CommandResult, View
from sandbox.limits import Limits
from tests.test_imports import ROOT, imports, sources
from tools.git_files import list_files

ROOMS = ("agent", "tools", "sandbox", "inference")
SHADOW = "sandbox/shadow_git.py"


def files() -> list[Path]:
    return [path for room in ROOMS for path in sources(room)]


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_gitpython_is_imported_by_the_shadow_repository_alone() -> None:
    using = {name(path) for path in files() for module, _ in imports(path) if is_gitpython(module)}
    assert using == {SHADOW}


def is_gitpython(module: str) -> bool:
    return module.split(".")[0] in ("git", "gitdb")


def test_gitpython_is_only_told_to_run_a_command_on_the_folder_that_is_ours() -> None:
    tree = ast.parse((ROOT / SHADOW).read_text())
    uses = {
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "git"
    }
    assert uses == {"git.Git", "git.GitCommandError"}, "no Repo: nothing is found, only run"
    calls = [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "git.Git"
    ]
    assert calls == ["git.Git(self.git_dir)"]


class Watched:
    """A sandbox that runs nothing and remembers what it was asked."""

    level = "watched"

    def __init__(self) -> None:
        self.asked: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], view: View, limits: Limits, *_: object) -> CommandResult:
        self.asked.append(tuple(argv))
        return CommandResult(tuple(argv), 0, "", 0, False, False, 0.0)


def test_the_users_repository_is_read_by_git_inside_of_the_sandbox(tmp_path: Path) -> None:
    sandbox = Watched()
    list_files(sandbox, View(tmp_path, tmp_path), tmp_path / ".git")
    assert sandbox.asked
    assert all("git" in argv and f"--git-dir={tmp_path}/.git" in argv for argv in sandbox.asked)
