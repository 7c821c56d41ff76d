"""Whether a repository is small enough to be copied and kept in checkpoints; nothing is read of it.

Without a limit a run in the wrong folder would fill the disk: with a home folder, a data set, the
output of a build that nobody ignores.
"""

import os
from pathlib import Path

from agent.errors import UsageError
from agent.settings import SandboxConfig
from sandbox.tree import is_environment

GIB = 1024**3


def check_size(repository: Path, limits: SandboxConfig) -> None:
    """Make sure that a repository can be worked on.

    Raises:
        UsageError: it is a home folder or the root, or has more files or bytes than are meant.
    """
    if repository in (Path.home().resolve(), Path("/")):
        raise UsageError(
            f"{repository} is no project but all that you have; run `git init` in the folder of "
            "the project and name that"
        )
    num_files = num_bytes = 0
    folders = [repository]
    while folders:
        found, sizes = _look(folders.pop())
        folders += found
        num_files += len(sizes)
        num_bytes += sum(sizes)
        if num_files > limits.tree_files:
            raise UsageError(
                f"{repository} has more than {limits.tree_files:,} files beside its environments; "
                "move what is not of the project away, or raise sandbox.tree_files"
            )
        if num_bytes > limits.tree_gib * GIB:
            raise UsageError(
                f"{repository} has more than {limits.tree_gib:g} GiB of files beside its "
                "environments; move what is not of the project away, or raise sandbox.tree_gib"
            )


def _look(folder: Path) -> tuple[list[Path], list[int]]:
    """Return the folders in a folder, and the sizes of the files; what is closed counts nothing."""
    folders: list[Path] = []
    sizes: list[int] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    if entry.name != ".git" and not is_environment(Path(entry.path)):
                        folders.append(Path(entry.path))
                elif entry.is_file(follow_symlinks=False):
                    sizes.append(entry.stat(follow_symlinks=False).st_size)
    except OSError:  # who copies it says so
        return [], []
    return folders, sizes
