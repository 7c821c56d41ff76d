"""The folders beside the repository that a person lets a talk read; which of them can be meant."""

from collections.abc import Iterable
from pathlib import Path

from agent.config import config_file, snapshots_folder, state_folder
from agent.errors import UsageError
from agent.packable import SECRET_FOLDERS
from sandbox.mounts import OURS

SHARED = tuple(Path(name) for name in ("/tmp", "/var", "/home"))
"""What several people or programs keep their things in."""
LIVE = tuple(Path(name) for name in ("/dev", "/proc", "/sys", "/run"))
"""What is no files: devices, processes, and sockets that a command could speak to."""
SECRETS = SECRET_FOLDERS | {".password-store", ".mozilla"}
"""What keys and logins are kept in."""


def further_folders(names: Iterable[str], repository: Path) -> tuple[Path, ...]:
    """Return the folders with no link on the way; what the repository holds is not listed.

    Raises:
        UsageError: one is no folder, or shows more than a project.
    """
    found = dict.fromkeys(_folder(name) for name in names)
    beside = [folder for folder in found if not folder.is_relative_to(repository)]
    for folder in beside:
        _check(folder, repository)
    return tuple(beside)


def _folder(name: str) -> Path:
    if name.startswith("/") and "\0" not in name:
        try:
            folder = Path(name).resolve(strict=True)
            if folder.is_dir():
                return folder
        except (OSError, ValueError, RuntimeError):  # too long, unreadable, links in a circle
            pass
    raise UsageError(f"{name!r} is no folder, named from the root, that could be read beside it")


def _check(folder: Path, repository: Path) -> None:
    if repository.is_relative_to(folder):
        raise UsageError(f"{folder} holds the repository; name the folders in it that are needed")
    is_wide = Path.home().resolve().is_relative_to(folder) or folder in (*OURS, *SHARED)
    if is_wide or any(folder.is_relative_to(one) for one in LIVE):
        raise UsageError(f"{folder} holds more than a project; name a folder in it")
    if {part.lower() for part in folder.parts} & SECRETS:
        raise UsageError(f"{folder} is where secrets are kept; it cannot be read beside a project")
    own = (state_folder(), snapshots_folder().parent, config_file().parent)
    if any(_overlap(folder, one.resolve()) for one in own):
        raise UsageError(f"{folder} holds what qwen-agent keeps for you; no command may read that")


def _overlap(one: Path, other: Path) -> bool:
    return one.is_relative_to(other) or other.is_relative_to(one)
