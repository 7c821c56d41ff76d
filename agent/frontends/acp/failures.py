"""What went wrong, as the answer to a request."""

import logging

from agent.errors import KNOWN_ERRORS, RunCancelled, UsageError
from agent.frontends.acp.rpc import CANCELLED, INTERNAL_ERROR, INVALID_PARAMS, RpcError
from inference.errors import PictureUnreadable

log = logging.getLogger(__name__)
TOLD = (*KNOWN_ERRORS, OSError)
"""Those that say in one sentence what a person can do."""


def failure(error: Exception) -> RpcError:
    """Return the answer; what only a bug can bring about is written to the log, too."""
    if isinstance(error, RpcError):
        return error
    if isinstance(error, RunCancelled):
        return RpcError(CANCELLED, str(error))
    if isinstance(error, UsageError | PictureUnreadable):
        return RpcError(INVALID_PARAMS, str(error))
    if isinstance(error, TOLD):
        return RpcError(INTERNAL_ERROR, str(error))
    log.error("a bug", exc_info=error)
    return RpcError(INTERNAL_ERROR, f"a bug in qwen-agent ({type(error).__name__}); see its log")
