"""Which sandbox runs commands; it never picks a weaker one than was asked for."""

from typing import Literal

from sandbox.base import Sandbox
from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct

Level = Literal["bubblewrap", "direct"]


def choose(level: Level) -> Sandbox:
    """Give the sandbox of this level.

    Raises:
        SandboxUnavailable: it cannot be had here; the text says how to mend that.
    """
    return Direct() if level == "direct" else Bubblewrap()
