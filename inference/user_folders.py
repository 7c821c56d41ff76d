"""The folders in which this program keeps things for its user, where XDG says that they are."""

import os
from collections.abc import Mapping
from pathlib import Path

PROGRAM = "qwen-agent"


def cache_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where things lie that can be made again."""
    return base_folder(environment, "XDG_CACHE_HOME", ".cache") / PROGRAM


def state_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return where things lie that cannot."""
    return base_folder(environment, "XDG_STATE_HOME", ".local/state") / PROGRAM


def base_folder(environment: Mapping[str, str], name: str, default: str) -> Path:
    """Return the base folder `name`; the specification says that a relative one is ignored.

    Raises:
        RuntimeError: it is not set, and the user has no home folder.
    """
    value = environment.get(name, "")
    return Path(value) if value.startswith("/") else Path.home() / default
