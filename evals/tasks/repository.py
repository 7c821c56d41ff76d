"""A task's files as a git repository of one commit, and patches between two states of a file.

Git is run with no setting of the machine's: the same files give the same commit everywhere, and no
filter or hook that a repository or a person has is started.
"""

import hashlib
import re
from collections.abc import Mapping
from difflib import unified_diff
from pathlib import Path

from git import Git, GitCommandError

from agent.errors import UsageError
from sandbox.remove import temporary_folder
from sandbox.shadow_git import ENVIRONMENT

DATE = "2001-01-01T00:00:00Z"
CHANGED = re.compile(r"(?m)^(?:--- a|\+\+\+ b)/([^\t\n]+)")
LINES = re.compile(r"[^\n]*\n|[^\n]+")


def run_git(folder: Path, *words: str, more: Mapping[str, str] | None = None) -> str:
    """Run git in a folder; return what it prints.

    Raises:
        UsageError: it does not do what it is asked.
    """
    dates = {"GIT_AUTHOR_DATE": DATE, "GIT_COMMITTER_DATE": DATE}
    variables = {**ENVIRONMENT, **dates, **(more or {})}
    try:
        said = Git(folder).execute(
            ["git", "-c", "core.hooksPath=/dev/null", "-c", "safe.directory=*", *words],
            env=variables,
            strip_newline_in_stdout=False,  # a patch without its last one is corrupt
        )
    except GitCommandError as error:
        why = str(error.stderr).strip().removeprefix("stderr:").strip(" '\n")
        raise UsageError(f"git {words[0]} failed in {folder}: {why}") from error
    return str(said)


def commit_all(folder: Path) -> None:
    """Make a repository of a folder, all that is in it one commit; installed packages stay out."""
    run_git(folder, "init", "--quiet", "--template=")
    info = folder / ".git" / "info"
    info.mkdir(exist_ok=True)
    (info / "exclude").write_text("node_modules\n__pycache__\n", encoding="utf-8")
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--allow-empty", "--message", "A project")


def export(repository: Path, commit: str, folder: Path) -> None:
    """Write the files of a commit into an empty folder; `repository` may be a bundle.

    Raises:
        UsageError: there is no such commit.
    """
    with temporary_folder(None, "export-") as here:
        if repository.is_file():
            run_git(here, "clone", "--quiet", "--mirror", str(repository.resolve()), "mirror.git")
            repository = here / "mirror.git"
        tree = f"--work-tree={folder.resolve()}"
        more = {"GIT_INDEX_FILE": str(here / "index")}
        run_git(repository, tree, "read-tree", f"{commit}^{{commit}}", more=more)
        run_git(repository, tree, "checkout-index", "--all", "--quiet", more=more)


def apply_patch(folder: Path, patch: str) -> None:
    """Apply a patch to the files of a repository.

    Raises:
        UsageError: it does not fit.
    """
    file = folder / ".git" / "task.patch"
    file.write_text(patch, encoding="utf-8", errors="surrogateescape", newline="")
    run_git(folder, "apply", "--whitespace=nowarn", str(file))
    file.unlink()


def patch_of(path: str, old: str, new: str) -> str:
    """Return the patch that turns one text of a file into another."""
    lines = unified_diff(LINES.findall(old), LINES.findall(new), f"a/{path}", f"b/{path}")
    return "".join(map(_ended, lines))


def _ended(line: str) -> str:
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def paths_in(patch: str) -> tuple[str, ...]:
    """Return the files that a patch changes, makes or removes."""
    return tuple(dict.fromkeys(CHANGED.findall(patch)))


def digest_of(folder: Path) -> str:
    """Name the files of a folder, by their paths and bytes; links and git's own are not seen."""
    whole = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        if path.is_file() and not path.is_symlink() and not _is_foreign(inside):
            one = hashlib.sha256(path.read_bytes()).hexdigest()
            whole.update(f"{inside.as_posix()}\0{one}\n".encode("utf-8", "surrogateescape"))
    return whole.hexdigest()


def _is_foreign(path: Path) -> bool:
    return bool({".git", "node_modules", ".venv", "venv", "__pycache__"} & set(path.parts))
