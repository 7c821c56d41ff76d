"""What tests of crashes and of full disks share: small disks, and waiting for processes."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@contextmanager
def mounted(folder: Path, size: str, mode: str = "700") -> Iterator[Path]:
    """A disk of its own at `folder`, a new one, as long as the context lasts."""
    folder.mkdir()
    options = f"size={size},mode={mode}"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    subprocess.run(command, check=True, timeout=30)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True, timeout=30)


def wait_for(what: Callable[[], bool], limit_s: float) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + limit_s
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


def is_ended(pid: int) -> bool:
    """Whether a process is gone, or waits only for init to take note of it."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"
