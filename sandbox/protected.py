"""Which paths of a tree only a person may write: what other programs obey later, outside.

A hook in a git folder, a task of an editor, an `.envrc`, the settings of an agent: nobody starts
them here, but whoever writes them from inside is executed outside. `mounts.py` shows such paths
read-only, `workspace.py` refuses to write them, and `scan.py` puts aside those that appear. An
absent one is not masked: the mask would be seen inside, by git and by the model, as a file that is
not there.

Workflows of a forge (`.github/workflows`) are not among them: they run elsewhere, after a person
has pushed them, and to mend one is ordinary work.
"""

import os
import re
import unicodedata
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from sandbox.snapshot import IGNORED_NAMES

GIT_NAMES = frozenset((".git", "git~1"))
"""The second is what Windows' file systems call the first in eight characters."""
OURS = ".qwen-agent.toml"
EDITORS = (
    *(".vscode", ".idea", ".fleet", ".zed", ".devcontainer", ".devcontainer.json", ".vs", ".run"),
)
OTHER_HISTORIES = (".hg", ".svn")
AGENTS = (
    *(".mcp.json", ".claude", ".cursor", ".codex", ".gemini", ".qwen", ".agents", ".continue"),
    *(".windsurf", ".kiro", ".roo", ".amazonq", ".opencode", "opencode.json", "opencode.jsonc"),
    *(".aider.conf.yml", ".clinerules", ".trae", ".junie", "crush.json", ".crush.json"),
)
ON_ENTRY = (
    *(".envrc", ".mise", ".lvimrc", ".exrc", ".nvim.lua", ".dir-locals.el", ".dir-locals-2.el"),
    *(".vimrc", "_vimrc", ".gvimrc", "_gvimrc"),
)
"""Obeyed by shells and editors that are started in the folder."""
ON_COMMIT = (*(".husky", ".pre-commit-config.yaml", ".pre-commit-config.yml", ".overcommit.yml"),)
NAMES = frozenset((*GIT_NAMES, OURS, *EDITORS, *AGENTS, *ON_ENTRY, *ON_COMMIT, *OTHER_HISTORIES))
PATTERNS = re.compile(
    r"\.?lefthook(-local)?\.(ya?ml|toml|json)"
    r"|\.?mise(\.[\w-]+)*\.toml"  # `mise.local.toml`, `mise.production.toml`
    r"|.+\.code-workspace"
)
"""Names of which there are many of one kind."""


def folded(name: str) -> str:
    """Return a name as the most forgiving file systems compare it: case, unseen letters, tails."""
    if name.isascii():
        visible = name
    else:
        plain = unicodedata.normalize("NFKC", name)
        visible = "".join(letter for letter in plain if unicodedata.category(letter) != "Cf")
    return visible.partition(":")[0].casefold().rstrip(" .")  # `.git::$INDEX_ALLOCATION` is a name


def is_git_name(name: str) -> bool:
    """Say whether some file system takes this for `.git`."""
    return folded(name) in GIT_NAMES


def is_protected_name(name: str) -> bool:
    """Say whether some file system takes this for a name that other programs obey."""
    plain = folded(name)
    return plain in NAMES or PATTERNS.fullmatch(plain) is not None


def protected_part(path: PurePosixPath) -> str | None:
    """Return the part of a path that makes it protected; None if it is not."""
    return next((part for part in path.parts if is_protected_name(part)), None)


@dataclass(frozen=True)
class Listing:
    """What one folder holds, sorted by what is to be done about it."""

    guarded: tuple[str, ...] = ()
    """Names of protected entries; `.` alone where the folder itself is a git folder."""
    folders: tuple[str, ...] = ()
    """Names of folders to look into."""
    others: tuple[os.DirEntry[str], ...] = ()


def read_folder(folder: Path) -> Listing:
    """List a folder of a tree; what tools make and can make again is left out.

    Caches and environments are never brought back to the user, and hold thousands of files.
    """
    try:
        with os.scandir(folder) as listing:
            entries = list(listing)
    except OSError:  # gone meanwhile, or closed to us as to everyone
        return Listing()
    if _is_git_layout({entry.name for entry in entries}):
        return Listing((".",))
    guarded, folders, others = [], [], []
    for entry in entries:
        if is_protected_name(entry.name):
            guarded.append(entry.name)
        elif not entry.is_dir(follow_symlinks=False):
            others.append(entry)
        elif entry.name not in IGNORED_NAMES:
            folders.append(entry.name)
    return Listing(tuple(guarded), tuple(folders), tuple(others))


def protected_below(root: Path) -> tuple[PurePosixPath, ...]:
    """Find all protected paths of a tree, the outermost of each; it reads every folder of it."""
    found: list[PurePosixPath] = []
    folders = [PurePosixPath()]
    while folders:
        folder = folders.pop()
        listing = read_folder(root / folder)
        found += [folder / name for name in listing.guarded if folder.parts or name != "."]
        folders += [folder / name for name in listing.folders]
    return tuple(found)


def _is_git_layout(names: set[str]) -> bool:
    """Say whether git would take a folder for a repository, or for the git folder of a worktree."""
    return "HEAD" in names and ({"objects", "refs"} <= names or "commondir" in names)
