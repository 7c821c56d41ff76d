"""Takes out of a repair what git does not keep: ignored files, and what a submodule or link holds.

Such files could not be had back, and no commit of the repository can hold them.
"""

from pathlib import Path, PurePosixPath

from agent.clean_copy import put_back
from agent.errors import GitFailed, NotApplied
from agent.user_git import ignored, out_of_reach
from sandbox.checkpoint import Checkpoint


def leave_out(repository: Path, checkpoint: Checkpoint, base: str) -> tuple[str, ...]:
    """Make such files of the worktree what they were; return those that nobody would expect.

    Raises:
        NotApplied: git cannot tell which they are.
    """
    changed = checkpoint.changed(base)
    try:
        outside = out_of_reach(repository, changed)
        names = ignored(repository, [path for path in changed if path not in outside])
    except GitFailed as error:
        raise NotApplied(f"git cannot tell which files of the repair it keeps: {error}") from error
    # A folder that has taken the place of a link goes with what is in it.
    above = {str(folder) for path in outside for folder in PurePosixPath(path).parents}
    links = [path for path in changed if path in above]
    put_back(checkpoint.worktree, checkpoint, base, (*names, *outside, *links))
    return outside
