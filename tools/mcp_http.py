"""How HTTP is spoken with a remote MCP server: every byte counted, nothing sent in the open."""

from collections.abc import AsyncIterator, Callable

import httpx2

from tools.errors import ToolFailed
from tools.mcp_allowance import Allowance
from tools.mcp_server import LOCAL, McpServer
from tools.mcp_words import line

CONNECT_S = 15.0
Look = Callable[[httpx2.Response], None]


def nothing(response: httpx2.Response) -> None:
    """Be what looks at responses where nobody does."""


def http_client(
    server: McpServer, allowance: Allowance, auth: httpx2.Auth | None = None, look: Look = nothing
) -> httpx2.AsyncClient:
    """Make a client for one server; `look` sees each response before its body, and may raise."""

    async def checks(request: httpx2.Request) -> None:
        check_address(request.url)

    async def counts(response: httpx2.Response) -> None:
        look(response)
        stream = response.stream
        assert isinstance(stream, httpx2.AsyncByteStream), "it is an asynchronous client"
        response.stream = _Counted(stream, allowance)

    return httpx2.AsyncClient(
        headers=dict(server.headers),
        auth=auth,
        timeout=httpx2.Timeout(CONNECT_S, read=None),
        event_hooks={"request": [checks], "response": [counts]},
    )


def check_address(url: httpx2.URL) -> None:
    """See that no secret goes over a wire as it is.

    Raises:
        ToolFailed: it would.
    """
    if url.scheme != "https" and not (url.scheme == "http" and url.host in LOCAL):
        raise ToolFailed(f"{line(str(url), 200)} is not encrypted, so nothing is sent there")


class _Counted(httpx2.AsyncByteStream):
    """The body of a response, as long as it is allowed to be."""

    def __init__(self, stream: httpx2.AsyncByteStream, allowance: Allowance) -> None:
        self._stream = stream
        self._allowance = allowance

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._allowance.spend(len(data))
            yield data

    async def aclose(self) -> None:
        await self._stream.aclose()
