"""Which sandbox runs commands: the strongest that works here, and never none unasked."""

from typing import Literal

from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct
from sandbox.errors import SandboxUnavailable
from sandbox.landlock import Landlock

Level = Literal["bubblewrap", "direct"]
"""What a person may ask for: isolation, as much as can be had; or none."""

LEVELS = {
    "full": "namespaces, a user id of its own, a filter of system calls",
    "namespaces": "namespaces and a filter of system calls",
    "landlock": "Landlock and a filter of system calls",
    "direct": "none",
}
"""What can be in force, the strongest first."""
IN_PLACE = ("landlock", "direct")
"""Levels that can mount nothing: commands see the workspace only where it is on disk."""


def choose(level: Level) -> Bubblewrap | Landlock | Direct:
    """Give the strongest sandbox that works here, or none if a person asked for none.

    Its `level` names the level, its `why` says why it is no higher one.

    Raises:
        SandboxUnavailable: there is no isolation; the text says how to mend that.
    """
    if level == "direct":
        return Direct()
    try:
        return Bubblewrap()
    except SandboxUnavailable as no_namespaces:
        try:
            return Landlock(why=(f"namespaces: {no_namespaces}",))
        except SandboxUnavailable as no_landlock:
            raise SandboxUnavailable(f"{no_namespaces} {no_landlock}") from None
