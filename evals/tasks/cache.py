"""What suites keep between runs: libraries fetched, mutants tried, a Python to run tests with."""

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path

from agent.config import snapshots_folder
from evals.nano.plain_python import make_plain_python
from inference.whole_files import locked
from sandbox.remove import remove_tree

WAIT_S = 3600.0
"""For another process that is making the same thing: mutants of a slow suite take that long."""


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where all of it lies; whatever is removed there is made again."""
    return snapshots_folder(environment).with_name("evals")


def alone_in(folder: Path) -> AbstractContextManager[None]:
    """Make a folder, and be the only process that makes what is in it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return locked(folder / ".lock", WAIT_S)


def plain_python() -> Path:
    """Return a Python with our pytest and nothing else, made when it is first asked for."""
    numbers = "".join(f"-{number}" for number in sys.version_info[:3])
    folder = cache_folder() / f"python{numbers}-pytest-{version('pytest')}"
    done = folder / "whole"
    with alone_in(folder):
        if not done.exists():
            remove_tree(folder / "venv")
            make_plain_python(folder / "venv")
            done.touch()
    return folder / "venv" / "bin" / "python"
