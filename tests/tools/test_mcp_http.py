"""A hostile server at an address: what it sends is counted, and it leads nowhere else (A50)."""

import json
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest

from sandbox.base import never
from tools.errors import ToolFailed
from tools.mcp_link import Link
from tools.mcp_loop import Loop
from tools.mcp_server import McpServer

MIB = 2**20


class Hostile(BaseHTTPRequestHandler):
    """Answers a call by the name of its tool."""

    protocol_version = "HTTP/1.1"
    heard: ClassVar[list[str | None]] = []

    def do_POST(self) -> None:
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append(self.headers["X-Key"])
        method, params = message["method"], message.get("params", {})
        if "id" not in message:
            self.answer(202, b"")
        elif method == "initialize":
            self.tell(
                message,
                protocolVersion=params["protocolVersion"],
                capabilities={"tools": {}},
                serverInfo={"name": "x", "version": "1"},
            )
        elif method == "tools/list":
            self.tell(message, tools=[{"name": "a", "inputSchema": {"type": "object"}}])
        elif method == "tools/call":
            with suppress(OSError):
                getattr(self, params["name"])(message)
        else:
            error = {"code": -32601, "message": "no"}
            self.answer(
                200, json.dumps({"jsonrpc": "2.0", "id": message["id"], "error": error}).encode()
            )

    def do_GET(self) -> None:
        self.answer(405, b"")

    def tell(self, message: dict[str, Any], **result: Any) -> None:
        record = {"jsonrpc": "2.0", "id": message["id"], "result": result}
        self.answer(200, json.dumps(record).encode())

    def answer(self, code: int, body: bytes, **headers: str) -> None:
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def huge(self, message: dict[str, Any]) -> None:
        self.begin("application/json")
        for _ in range(1024):
            self.wfile.write(b" " * MIB)

    def flood(self, message: dict[str, Any]) -> None:
        self.begin("text/event-stream")
        note = {"jsonrpc": "2.0", "method": "notifications/message"}
        note["params"] = {"level": "info", "data": "x" * 9999}
        while True:
            self.wfile.write(f"data: {json.dumps(note)}\n\n".encode())

    def elsewhere(self, message: dict[str, Any]) -> None:
        self.answer(307, b"", Location="http://localhost:1/mcp")

    def begin(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def link() -> Iterator[Link]:
    Hostile.heard.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hostile)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    loop = Loop()
    url = f"http://127.0.0.1:{server.server_port}/mcp"
    made = Link(McpServer("far", url=url, headers={"X-Key": "of the user"}), loop)
    yield made
    made.close()
    loop.close()
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("name", ["huge", "flood"])
def test_a50_an_answer_without_end_is_cut_off(link: Link, name: str) -> None:
    assert [offer.name for offer in link.listing(never).tools] == ["a"]
    with pytest.raises(ToolFailed, match="more than 8 MiB"):
        link.call(name, {}, never)
    with pytest.raises(ToolFailed, match="has ended: it sent more than 8 MiB"):
        link.call("a", {}, never)


def test_a50_a_redirect_takes_no_header_to_another_place(link: Link) -> None:
    link.listing(never)
    with pytest.raises(ToolFailed, match="not followed"):
        link.call("elsewhere", {}, never)
    assert set(Hostile.heard) == {"of the user"}


def test_an_address_where_nobody_listens_is_told_of() -> None:
    loop = Loop()
    link = Link(McpServer("far", url="http://127.0.0.1:9/mcp"), loop)
    with pytest.raises(ToolFailed, match=r"The MCP server far failed: .*connect"):
        link.listing(never)
    link.close()
    loop.close()
