"""Asks the person at the terminal before something is removed for good."""

import sys

from agent.errors import UsageError


def agreed(question: str) -> bool:
    """Ask the person; anything but a yes is a no.

    Raises:
        UsageError: nobody is there to ask.
    """
    if sys.stdin is None or not sys.stdin.isatty():
        raise UsageError("nobody is there to ask, so nothing was removed; --yes does without")
    return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
