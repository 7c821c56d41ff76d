"""Logging in at a remote MCP server: once by a person, then by what is kept in a private file."""

import json
import threading
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest

from sandbox.base import never
from tools.errors import ToolFailed
from tools.mcp_http import check_address
from tools.mcp_link import Link
from tools.mcp_login import log_in
from tools.mcp_loop import Loop
from tools.mcp_server import McpServer


class Guarded(BaseHTTPRequestHandler):
    """An MCP server and its login page in one."""

    protocol_version = "HTTP/1.1"
    lasts_s: ClassVar[int] = 3600
    good: ClassVar[set[str]] = set()
    """Tokens that count."""
    grants: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        here = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        parts = urlsplit(self.path)
        if parts.path == "/.well-known/oauth-protected-resource/mcp":
            self.tell(200, {"resource": f"{here}/mcp", "authorization_servers": [here]})
        elif parts.path == "/.well-known/oauth-authorization-server":
            places = {name: f"{here}/{name}" for name in ("authorize", "token", "register")}
            about: dict[str, Any] = {
                f"{name}_endpoint" if name != "register" else "registration_endpoint": place
                for name, place in places.items()
            }
            about["authorization_endpoint"] = about.pop("authorize_endpoint")
            more = {
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
            }
            self.tell(200, {"issuer": here, **about, **more})
        elif parts.path == "/authorize":
            asked = {key: values[0] for key, values in parse_qs(parts.query).items()}
            back = f"{asked['redirect_uri']}?code=abc&state={asked['state']}"
            self.tell(302, {}, Location=back)
        else:
            self.tell(405, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/register":
            self.tell(201, {**json.loads(body), "client_id": "me"})
        elif self.path == "/token":
            self.give_token({key: values[0] for key, values in parse_qs(body.decode()).items()})
        elif self.headers.get("Authorization", "").removeprefix("Bearer ") not in self.good:
            self.tell(401, {}, **{"WWW-Authenticate": "Bearer"})
        else:
            self.answer(json.loads(body))

    def give_token(self, asked: dict[str, str]) -> None:
        self.grants.append(asked["grant_type"])
        token = f"secret-{len(self.grants)}"
        self.good.add(token)
        record = {"access_token": token, "token_type": "Bearer", "expires_in": self.lasts_s}
        self.tell(200, {**record, "refresh_token": "again"})

    def answer(self, message: dict[str, Any]) -> None:
        method, results = message["method"], {"ping": {}}
        results["tools/list"] = {"tools": [{"name": "a", "inputSchema": {"type": "object"}}]}
        if method == "initialize":
            results["initialize"] = {
                "protocolVersion": message["params"]["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "x", "version": "1"},
            }
        if "id" not in message:
            self.tell(202, {})
        elif method in results:
            self.tell(200, {"jsonrpc": "2.0", "id": message["id"], "result": results[method]})
        else:
            error = {"code": -32601, "message": "no"}
            self.tell(200, {"jsonrpc": "2.0", "id": message["id"], "error": error})

    def tell(self, code: int, record: dict[str, Any], **headers: str) -> None:
        body = json.dumps(record).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[McpServer]:
    Guarded.good, Guarded.grants, Guarded.lasts_s = set(), [], 3600
    http = ThreadingHTTPServer(("127.0.0.1", 0), Guarded)
    http.daemon_threads = True
    threading.Thread(target=http.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{http.server_port}/mcp"
    yield McpServer("far", url=url, login=tmp_path / "mcp" / "far.json")
    http.shutdown()
    http.server_close()


def visit(url: str) -> None:
    """Be the person's browser."""
    with urllib.request.urlopen(url, timeout=60) as page:
        assert b"You are logged in" in page.read()


def tools_of(server: McpServer) -> list[str]:
    loop = Loop()
    link = Link(server, loop)
    try:
        return [offer.name for offer in link.listing(never).tools]
    finally:
        link.close()
        loop.close()


def test_a_person_logs_in_once_and_what_it_gave_is_private_used_and_renewed(
    server: McpServer,
) -> None:
    assert server.login is not None
    with pytest.raises(ToolFailed, match=r"wants a login; type /mcp login far in"):
        tools_of(server)
    assert Guarded.grants == []

    Guarded.lasts_s = 1  # over before it is used
    log_in(server, visit, never)
    assert server.login.stat().st_mode & 0o777 == 0o600
    assert server.login.parent.stat().st_mode & 0o777 == 0o700
    Guarded.lasts_s = 3600
    assert tools_of(server) == ["a"]
    assert Guarded.grants == ["authorization_code", "refresh_token"]
    assert tools_of(server) == ["a"]
    assert len(Guarded.grants) == 2, "the renewed one is kept"

    Guarded.good.clear()  # taken back
    with pytest.raises(ToolFailed, match="wants a login"):
        tools_of(server)
    server.login.chmod(0o644)
    with pytest.raises(ToolFailed, match="wants a login"):
        tools_of(server)


def test_a_login_that_comes_to_nothing_says_why(server: McpServer) -> None:
    def refuse(url: str) -> None:
        asked = parse_qs(urlsplit(url).query)
        with urllib.request.urlopen(f"{asked['redirect_uri'][0]}?error=access_denied", timeout=60):
            pass

    with pytest.raises(ToolFailed, match="failed: the login page said access_denied"):
        log_in(server, refuse, never)
    with pytest.raises(ToolFailed, match="failed: nobody has logged in"):
        log_in(server, lambda url: None, lambda: True)
    Guarded.good.add("")
    with pytest.raises(ToolFailed, match="it wants none, and answered with status 200"):
        log_in(server, visit, never)
    with pytest.raises(ToolFailed, match="no remote server"):
        log_in(McpServer("own", ("x",)), visit, never)
    assert server.login is not None
    assert not server.login.exists()


@pytest.mark.parametrize("url", ["http://x.org/login", "file:///etc/passwd", "ftp://127.0.0.1/"])
def test_a50_nothing_is_sent_or_opened_that_is_not_encrypted(url: str) -> None:
    with pytest.raises(ToolFailed, match="not encrypted"):
        check_address(httpx2.URL(url))
    check_address(httpx2.URL("https://x.org/login"))
