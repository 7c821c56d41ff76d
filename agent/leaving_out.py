"""Takes out of a repair what may not or cannot be in one, so that the rest of it is not lost.

Git keeps no ignored files, nor what a submodule or link holds: they could not be had back, and no
commit can hold them. What other programs obey, and links that lead out, would act by themselves.
"""

from collections.abc import Collection
from pathlib import Path, PurePosixPath

from agent.clean_copy import put_back
from agent.errors import GitFailed, NotApplied
from agent.user_git import ignored, out_of_reach
from sandbox.checkpoint import Checkpoint
from sandbox.tree import why_refused


def leave_out(
    repository: Path,
    checkpoint: Checkpoint,
    base: str,
    obeyed: Collection[PurePosixPath] = (),
) -> tuple[str, ...]:
    """Make such files of the worktree what they were; say of those nobody would expect why.

    `obeyed` are paths that other programs obey whatever their names are.

    Raises:
        NotApplied: git cannot tell which they are.
    """
    changed = checkpoint.changed(base)
    reasons = {path: _why_refused(checkpoint.worktree, path, obeyed) for path in changed}
    refused = {path: why for path, why in reasons.items() if why}
    try:
        outside = out_of_reach(repository, changed)
        names = ignored(repository, [path for path in changed if path not in outside])
    except GitFailed as error:
        raise NotApplied(f"git cannot tell which files of the repair it keeps: {error}") from error
    # A folder that has taken the place of a link goes with what is in it.
    above = {str(folder) for path in outside for folder in PurePosixPath(path).parents}
    links = [path for path in changed if path in above]
    put_back(checkpoint.worktree, checkpoint, base, (*names, *outside, *links, *refused))
    return (
        *(f"{path}, for it is in a submodule or a link" for path in outside),
        *(f"{path}, for {why}" for path, why in refused.items() if path not in names),
    )


def _why_refused(worktree: Path, path: str, obeyed: Collection[PurePosixPath]) -> str:
    place = worktree / path
    target = str(place.readlink()) if place.is_symlink() else None
    return why_refused(PurePosixPath(path), target, obeyed)
