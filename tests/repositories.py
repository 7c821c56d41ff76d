"""Real git repositories with a history of our own making."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path


def run_git(folder: Path, *words: str, at_s: int = 1_000_000_000) -> None:
    """Run git as a person would, at a time of our choice."""
    date = f"@{at_s} +0000"
    environment = {
        **{"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1"},
        **{"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date},
    }
    settings = ("user.name=t", "user.email=t@example.org", "protocol.file.allow=always")
    options = [word for setting in settings for word in ("-c", setting)]
    command = ["git", *options, *words]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr.decode()


def new_repository(folder: Path) -> Path:
    """Make an empty repository."""
    folder.mkdir()
    run_git(folder, "init", "-q")
    return folder


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


def commit(folder: Path, files: Mapping[str, str | bytes], at_s: int) -> None:
    """Commit files, and whatever else changed, at a time."""
    write_files(folder, files)
    run_git(folder, "add", "-A")
    run_git(folder, "commit", "-qm", "x", at_s=at_s)
