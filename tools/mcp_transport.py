"""The two ways to an MCP server: a socket to a local one, HTTP to a remote one. Bytes are counted.

A server that says too much is cut off, so what it can make us hold or read has a limit. What the
messages mean is the SDK's, which is imported when the first server is, since it takes a second.
"""

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import anyio
import httpx2

from sandbox.limits import MIB
from tools.mcp_allowance import MAX_MESSAGE_BYTES, Allowance, SaidTooMuch
from tools.mcp_http import http_client
from tools.mcp_login import signing, wanted
from tools.mcp_server import McpServer

if TYPE_CHECKING:
    from mcp.client import Transport
    from mcp.client._transport import TransportStreams
    from mcp.shared.message import SessionMessage


@asynccontextmanager
async def over_socket(
    ours: socket.socket, allowance: Allowance
) -> AsyncGenerator["TransportStreams", None]:
    """Exchange messages with a local server, a line of JSON each."""
    from mcp.shared.message import SessionMessage

    reader, writer = await asyncio.open_connection(sock=ours, limit=MAX_MESSAGE_BYTES)
    arriving, inbox = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    outbox, leaving = anyio.create_memory_object_stream[SessionMessage](0)

    async def receive() -> None:
        async with arriving:  # closed, it tells the session that the server is gone
            with suppress(SaidTooMuch, anyio.ClosedResourceError, anyio.BrokenResourceError):
                async for line in _lines(reader, allowance):
                    await arriving.send(_parsed(line))

    async def send() -> None:
        async with leaving:
            with suppress(OSError):
                async for message in leaving:
                    text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                    writer.write(text.encode() + b"\n")
                    await writer.drain()

    async with inbox, outbox, anyio.create_task_group() as group:
        group.start_soon(receive)
        group.start_soon(send)
        try:
            yield inbox, outbox
        finally:
            group.cancel_scope.cancel()
            writer.close()


def over_http(server: McpServer, allowance: Allowance) -> "Transport":
    """Exchange messages with a remote server, by streamable HTTP or the older way."""
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client

    def client(
        headers: object = None, timeout: object = None, auth: object = None
    ) -> httpx2.AsyncClient:
        return http_client(server, allowance, signing(server), knows_us)

    def knows_us(response: httpx2.Response) -> None:
        if response.status_code == 401 and response.request.url == server.url:
            raise wanted(server)  # before anything is done that needs a person

    @asynccontextmanager
    async def connected() -> AsyncGenerator["TransportStreams", None]:
        async with (
            client() as made,
            streamable_http_client(
                server.url, http_client=made, max_sse_event_size=MAX_MESSAGE_BYTES
            ) as streams,
        ):
            yield streams

    if server.is_sse:
        return sse_client(server.url, httpx_client_factory=client)
    return connected()


async def _lines(reader: asyncio.StreamReader, allowance: Allowance) -> AsyncIterator[bytes]:
    """Give line after line until the server is gone.

    Raises:
        SaidTooMuch: a line, or all of them, are too long.
    """
    while True:
        try:
            line = await reader.readuntil(b"\n")
        except asyncio.LimitOverrunError:
            allowance.cut_off(f"a message of it is longer than {MAX_MESSAGE_BYTES // MIB} MiB")
        except (asyncio.IncompleteReadError, OSError):
            return
        allowance.spend(len(line))
        yield line


def _parsed(line: bytes) -> "SessionMessage | Exception":
    """Read a message; what is none is handed to the session, which goes on without it."""
    from mcp.shared.message import SessionMessage
    from mcp_types import jsonrpc_message_adapter

    try:
        return SessionMessage(jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error
