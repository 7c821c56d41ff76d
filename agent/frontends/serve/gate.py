"""Lets in who may ask: with the key, or, where there is none, programs of this machine.

A page in a browser can send requests to this machine too. It can set neither a key nor, without
being asked first, the content type of JSON; and one whose name was made to point here (DNS
rebinding) is known by the name that it asks for.
"""

import hmac
import re

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from agent.frontends.serve.answer import error_body

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:@\[\]]+))(?::\d+)?")


class Gate:
    """An ASGI application around another."""

    def __init__(self, app: ASGIApp, key: str, hosts: tuple[str, ...] = LOOPBACK) -> None:
        """Ask for `key`; where it is empty, let in who calls this machine by one of `hosts`."""
        self._app = app
        self._key = key
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        refusal = self._refusal(scope) if scope["type"] == "http" else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers = Headers(scope=scope)
        if self._key:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            is_right = hmac.compare_digest(given.strip().encode(), self._key.encode())
            if scheme.lower() != "bearer" or not is_right:
                return _refuse(401, "the key is missing or wrong; send Authorization: Bearer KEY")
        elif host_of(headers.get("host", "")) not in self._hosts:
            return _refuse(403, "ask for localhost: without a key only this machine is answered")
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind != "application/json":
            return _refuse(415, "the body must be JSON, with Content-Type: application/json")
        return None


def host_of(header: str) -> str:
    """Return the name in a `Host` header, without its port; "" if it has none such."""
    found = _HOST.fullmatch(header)
    return (found[1] or found[2]).lower() if found else ""


def _refuse(status: int, sentence: str) -> JSONResponse:
    return JSONResponse(error_body(sentence, "invalid_request_error"), status)
