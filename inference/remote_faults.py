"""What can go wrong between us and a server: a sentence for the person, and is it worth a retry.

The errors of the SDK and of its HTTP client come in; nothing is sent here, and no sentence holds
the key.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.errors import ContextOverflow, InferenceError, ModelUnavailable, NoSuchModel

if TYPE_CHECKING:
    from inference.remote_server import Server

PASSING = (408, 409, 425, 429, 500, 502, 503, 504)
"""Statuses that may be others in a moment."""
MAX_WAIT_S = 60.0
"""A server may ask for so much patience; more is as good as no answer."""
MAX_SAID = 300
"""Characters of a server's own words."""
_OVERFLOW = re.compile(
    r"context (?:length|size|window)|context_length|exceed_context|maximum context|"
    r"longer than the model|too many tokens|prompt is too long",
    re.IGNORECASE,
)


@dataclass
class Fault(Exception):
    """An answer that is none."""

    error: InferenceError
    """What is raised if nothing can be done about it."""
    is_passing: bool = False
    """Whether asking again may help."""
    wait_s: float = 0.0
    """How long the server asks to wait with that."""
    status: int = 0
    """Of HTTP; 0 if it came to none."""
    said: str = ""
    """The server's own words."""


def fault_of(error: Exception, server: "Server") -> Fault:
    """Read an error of the SDK, or of the HTTP client under it."""
    response: Any = getattr(error, "response", None)
    if response is not None:
        return _answered(response, server)
    text = _chain(error)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        words = (
            f"The certificate of {server.url} is not trusted; SSL_CERT_FILE may name its issuer."
        )
        return Fault(ModelUnavailable(words))
    if "SSL" in text or "WRONG_VERSION_NUMBER" in text:
        return Fault(ModelUnavailable(f"{server.url} speaks no TLS that can be used here."))
    if isinstance(error, ValueError):
        return Fault(ModelUnavailable(f"{server.url} answers, but not as OpenAI's API does."))
    if _is_of_connection(error):
        words = f"No server answers at {server.url} ({_cause(error)})."
        return Fault(ModelUnavailable(words), is_passing=True)
    said = _shown(str(error))
    return Fault(_overflow(said) or ModelUnavailable(f"{server.url} gave up: {said}"), said=said)


def _answered(response: Any, server: "Server") -> Fault:
    """Read an answer that is an error by its status."""
    status, said = int(response.status_code), _said(response)
    if status in (401, 403):
        held = "refuses the key" if server.key else "wants a key"
        words = f"{server.url} {held}; QWEN_AGENT_ENGINE_KEY in the environment holds it."
        return Fault(ModelUnavailable(words), status=status)
    if status == 404:
        return Fault(NoSuchModel(f"{server.url} does not know that: {said}"), status=404, said=said)
    overflow = _overflow(said)
    error = overflow or ModelUnavailable(f"{server.url} answers with {status}: {said}")
    is_passing = status in PASSING and overflow is None
    return Fault(error, is_passing, _retry_after(response), status, said)


def _overflow(said: str) -> ContextOverflow | None:
    """Tell whether a server complains that there is no room."""
    return ContextOverflow(f"The window is full: {said}") if _OVERFLOW.search(said) else None


def _said(response: Any) -> str:
    """Return the server's own words, in the forms that servers have for them."""
    try:
        body: Any = response.json()
    except Exception:  # of a stream that was not read, or no JSON
        try:
            return _shown(response.text)
        except Exception:  # there is no more to be had than its status
            return "nothing else"
    while isinstance(body, dict):
        body = body.get("error") or body.get("message") or body.get("detail") or str(body)
    return _shown(str(body))


def _retry_after(response: Any) -> float:
    """Return the seconds that a server asks to wait."""
    try:
        return min(MAX_WAIT_S, max(0.0, float(response.headers.get("retry-after", 0))))
    except ValueError:  # a date
        return 0.0


def _is_of_connection(error: Exception) -> bool:
    """Say whether the wire broke, whichever library tells of it."""
    names = {kind.__name__ for kind in type(error).__mro__}
    return bool(names & {"APIConnectionError", "TransportError", "OSError"})


def _cause(error: BaseException) -> str:
    """Say in a few words why there is no connection."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return _shown(str(error)) or type(error).__name__


def _chain(error: BaseException | None) -> str:
    """Return all that is said from an error down to what it came from."""
    words = []
    while error is not None:
        words.append(f"{type(error).__name__} {error}")
        error = error.__cause__ or error.__context__
    return " ".join(words)


def _shown(text: str) -> str:
    """Return words of a server as one line, not too long."""
    line = " ".join(text.split())
    return line if len(line) <= MAX_SAID else f"{line[:MAX_SAID]} ..."
