"""Names that other programs obey: known in any spelling, found at any depth, shown read-only."""

from pathlib import Path, PurePosixPath

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.errors import PathRefused
from sandbox.limits import Limits
from sandbox.protected import is_git_name, is_protected_name, protected_below, protected_part
from sandbox.workspace import Workspace

SHORT = Limits(wall_s=60)


@pytest.mark.parametrize(
    "name",
    [".git", ".GIT", ".git\u200c", "\ufeff.git", ".g\u0131t".replace("\u0131", "i"), ".git.",
     ".git ", "GIT~1", ".git::$INDEX_ALLOCATION", "\uff0egit", ".\u2060vscode", ".VSCode", ".Envrc",
     ".mcp.json", ".qwen-agent.toml", ".pre-commit-config.yaml", ".husky", ".claude",
     "lefthook-local.yaml", ".lefthook.toml", "mise.ci.toml", ".mise.toml", ".mise", ".clinerules",
     "shop.code-workspace", ".VS", "_vimrc", ".dir-locals.el", ".hg", ".run", "opencode.jsonc"],
)  # fmt: skip
def test_names_are_known_however_a_file_system_may_fold_them(name: str) -> None:
    assert is_protected_name(name)


@pytest.mark.parametrize(
    "name",
    [
        ".gitignore",
        ".github",
        "git",
        "a.git",
        "vscode",
        ".env",
        "envrc",
        "AGENTS.md",
        "compromise.toml",
        "lefthook.txt",
        "code-workspace",
        "run",
    ],
)
def test_ordinary_names_are_not_protected(name: str) -> None:
    assert not is_protected_name(name)


def test_a_path_is_protected_by_any_of_its_parts() -> None:
    assert protected_part(PurePosixPath("pkg/.vscode/tasks.json")) == ".vscode"
    assert protected_part(PurePosixPath(".github/workflows/ci.yml")) is None
    assert is_git_name(".GIT")
    assert not is_git_name(".vscode")


def test_they_are_found_at_any_depth_with_repositories_of_any_name(tmp_path: Path) -> None:
    for folder in ("a/b/.git/hooks", "sub", ".vscode/x", "fixtures/bare/objects",
                   "fixtures/bare/refs", "node_modules/p/.vscode", "plain/objects"):  # fmt: skip
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "fixtures" / "bare" / "HEAD").touch()
    (tmp_path / "sub" / ".git").write_text("gitdir: ../elsewhere\n")
    (tmp_path / "sub" / ".envrc").touch()
    (tmp_path / "loop").symlink_to(".")
    found = {str(path) for path in protected_below(tmp_path)}
    assert found == {"a/b/.git", "sub/.git", "sub/.envrc", ".vscode", "fixtures/bare"}


def test_what_is_there_is_read_only_for_commands_and_absent_names_leave_no_trace(
    bubblewrap: Bubblewrap, tmp_path: Path
) -> None:
    source = tmp_path / "ws"
    (source / "pkg" / ".vscode").mkdir(parents=True)
    (source / "pkg" / ".vscode" / "tasks.json").write_text("{}")
    (source / ".envrc").write_text("export A=1\n")
    script = "for f in pkg/.vscode/tasks.json .envrc; do echo x > $f; rm -f $f; done; ls -A"
    result = bubblewrap.run(["sh", "-c", script], View(source, source), SHORT)
    assert result.output.split("\n")[-3:] == [".envrc", "pkg", ""]
    assert (source / "pkg" / ".vscode" / "tasks.json").read_text() == "{}"
    assert sorted(path.name for path in source.iterdir()) == [".envrc", "pkg"]


def test_the_file_tools_refuse_them_with_the_reason(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path)
    for path in (".vscode/tasks.json", "pkg/.envrc", ".MCP.json", ".qwen-agent.toml"):
        with pytest.raises(PathRefused, match="is read-only: other programs obey"):
            workspace.write_atomic(path, b"x")
    assert list(tmp_path.iterdir()) == []
