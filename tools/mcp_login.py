"""Logging in at a remote MCP server by the SDK's OAuth client; a person does the browser's part.

The login page leads back to a port of this machine that is open for that one answer. What comes of
it is kept by `mcp_tokens.py`, and used and renewed without a person from then on.
"""

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import CancelledError
from typing import TYPE_CHECKING, Any

import httpx2

from sandbox.base import Cancel
from tools.errors import ToolFailed
from tools.mcp_allowance import Allowance
from tools.mcp_callback import LOOPBACK, PATH, Callback
from tools.mcp_http import check_address, http_client
from tools.mcp_loop import Loop, innermost, wait_for
from tools.mcp_server import McpServer
from tools.mcp_tokens import Tokens
from tools.mcp_words import line

if TYPE_CHECKING:
    from mcp.client.auth import OAuthClientProvider

LOGIN_S = 300.0
"""How long a person may take in their browser."""
HELLO = {"jsonrpc": "2.0", "id": 0, "method": "ping"}
"""A request that a server may answer as it likes, once it knows who asks."""
ACCEPTS = {"Accept": "application/json, text/event-stream"}
ShowPage = Callable[[str], None]
"""Shows a person the address of a login page; called in another thread."""


class LoginWanted(Exception):
    """A server wants to know who asks."""


def wanted(server: McpServer) -> LoginWanted:
    """Say what a person can do."""
    if server.login is None:
        return LoginWanted("it wants a login; name a header for it in your settings")
    return LoginWanted(
        f"it wants a login; type /mcp login {server.name} in the session at a terminal"
    )


def signing(server: McpServer) -> httpx2.Auth | None:
    """Return what signs requests and renews what it signs with; None if nobody has logged in."""
    if server.login is None or not (tokens := Tokens(server.login)).are_there:
        return None
    made = _provider(server, tokens, f"http://{LOOPBACK}{PATH}")
    made.context.token_expiry_time = tokens.expires_at
    made.context.oauth_metadata = tokens.metadata
    return made


def log_in(server: McpServer, show_page: ShowPage, cancel: Cancel) -> None:
    """Have a person log in, and keep what that gives.

    Raises:
        ToolFailed: it is no server to log in at, or it came to nothing.
    """
    if server.login is None:
        raise ToolFailed(f"{server.name} is no remote server without a header that says who asks.")
    logging.getLogger("mcp").addHandler(logging.NullHandler())  # else it prints tracebacks
    loop = Loop()
    done = loop.begin(_logged_in(server, Tokens(server.login), show_page))
    try:
        if not wait_for(done, LOGIN_S, cancel):
            raise ToolFailed("nobody has logged in")
        done.result()
    except (Exception, CancelledError) as error:  # the SDK names no common error
        why = line(innermost(error), 300)
        raise ToolFailed(f"The login at {server.name} failed: {why}.") from error
    finally:
        done.cancel()
        loop.close()


async def _logged_in(server: McpServer, tokens: Tokens, show_page: ShowPage) -> None:
    async def show(url: str) -> None:
        check_address(httpx2.URL(url))
        await asyncio.to_thread(show_page, url)

    async def answer() -> Any:
        from mcp.shared.auth import AuthorizationCodeResult

        told = await callback.told()
        if "code" not in told:
            raise ToolFailed(f"the login page said {told['error']}")
        return AuthorizationCodeResult.model_validate(told)

    tokens.forget()
    async with Callback() as callback:
        auth = _provider(server, tokens, callback.url, show, answer)
        async with (
            http_client(server, Allowance(lambda: None), auth) as client,
            client.stream("POST", server.url, json=HELLO, headers=ACCEPTS) as response,
        ):
            status = response.status_code
    if not tokens.are_there:
        raise ToolFailed(f"it wants none, and answered with status {status}")
    tokens.keep_metadata(auth.context.oauth_metadata)


def _provider(
    server: McpServer, tokens: Tokens, back: str, *handlers: Any
) -> "OAuthClientProvider":
    """Make the SDK's client; `back` is where a login page leads to."""
    from mcp.client.auth import OAuthClientProvider
    from mcp.shared.auth import OAuthClientMetadata

    about = {
        "client_name": "qwen-agent",
        "redirect_uris": [back],
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
    }
    return OAuthClientProvider(
        server.url, OAuthClientMetadata.model_validate(about), tokens, *handlers
    )
