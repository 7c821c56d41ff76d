"""A kernel is used only where it answers as plain torch does; this asks it, and says so if not.

A kernel is made by a compiler, for a card, that we may never have seen: before it is used it is
asked questions whose answers are known. What cannot be compiled here, or means its arguments
otherwise in another version, is said once, and plain torch goes on. Which questions those are, and
what is then used, is known to whoever has the kernel.
"""

import logging
from collections.abc import Iterable

from inference.errors import first_line

LOG = logging.getLogger(__name__)


def passes(what: str, errors: Iterable[float], tolerance: float) -> bool:
    """Say whether every answer of a kernel is near the known one; one warning if not.

    Args:
        what: the kernel, as a sentence about it begins.
        errors: how far each answer is from the known one, as a share of its length; the kernel is
            asked as they are drawn.
        tolerance: how far it may be.
    """
    try:
        for error in errors:
            if not error <= tolerance:  # NaN is not near
                LOG.warning("%s is not used: an answer is %.1g off here.", what, error)
                return False
    except Exception as trouble:  # whatever a compiler raises; plain torch goes on
        reason = first_line(trouble)
        LOG.warning("%s is not used: it does not run here (%s).", what, reason)
        return False
    return True
