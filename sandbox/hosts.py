"""Names of hosts that may be reached: how they are written, and what they cover. Pure."""

import re
from collections.abc import Sequence

_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_NAME = re.compile(rf"(?:{_LABEL}\.)+[a-z][a-z0-9-]{{0,61}}[a-z0-9]")
"""Its last part begins with a letter, so no way of writing an address is a name."""


def check_host(text: str) -> str:
    """Return a host as a person may allow it: a name, or `*.` and a name for all below it.

    Raises:
        ValueError: it is an address, or no name.
    """
    host = text.strip().lower().rstrip(".")
    if not _NAME.fullmatch(host.removeprefix("*.")):
        raise ValueError(f"{text!r} is no host to allow; give a name such as pypi.org")
    return host


def is_allowed(host: str, allowed: Sequence[str]) -> bool:
    """Say whether a name is one of those, or below one that is written with `*.`."""
    if not _NAME.fullmatch(host):
        return False
    return any(host.endswith(one[1:]) if one.startswith("*.") else host == one for one in allowed)
