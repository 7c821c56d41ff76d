"""The page of this machine that a login in the browser leads back to; open for one answer."""

import asyncio
from contextlib import suppress
from urllib.parse import parse_qs, urlsplit

LOOPBACK = "127.0.0.1"
PATH = "/callback"
REQUEST_S = 10.0
DONE = "You are logged in; this page can be closed."
NOT_DONE = "That was no login; see what qwen-agent says."


class Callback:
    """Listens from `async with` on; the address is `url`."""

    def __init__(self) -> None:
        self.url = ""
        self._told: asyncio.Future[dict[str, str]] = asyncio.get_running_loop().create_future()

    async def __aenter__(self) -> "Callback":
        self._server = await asyncio.start_server(self._serve, LOOPBACK, 0)
        self.url = f"http://{LOOPBACK}:{self._server.sockets[0].getsockname()[1]}{PATH}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def told(self) -> dict[str, str]:
        """Wait for what the login page sends back: a `code`, or an `error`."""
        return await self._told

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, ValueError, TimeoutError):  # whoever that was, it was no login
            told = _told(await asyncio.wait_for(reader.readline(), REQUEST_S))
            writer.write(_page(told))
            await writer.drain()
            if told and not self._told.done():
                self._told.set_result(told)
        writer.close()


def _told(first: bytes) -> dict[str, str]:
    """Read the first line of a request; empty if it is about something else."""
    words = first.decode("ascii", "replace").split()
    parts = urlsplit(words[1] if len(words) == 3 and words[0] == "GET" else "")
    told = {key: values[0] for key, values in parse_qs(parts.query).items()}
    return told if parts.path == PATH and {"code", "error"} & told.keys() else {}


def _page(told: dict[str, str]) -> bytes:
    text = DONE if "code" in told else NOT_DONE
    body = f"<!doctype html><title>qwen-agent</title><p>{text}".encode()
    head = (
        f"HTTP/1.1 {'200 OK' if told else '404 Not Found'}\r\nContent-Type: text/html\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body
