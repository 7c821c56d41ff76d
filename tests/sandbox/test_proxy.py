"""The way out leads to the hosts that were named, and to nothing else (A51 of the threat list).

The resolver and the check for public addresses are passed in: every "internet" here is a server of
this test on the loopback of the host, which no sandbox can reach by itself.
"""

import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.errors import SandboxUnavailable
from sandbox.hosts import check_host, is_allowed
from sandbox.limits import Limits
from sandbox.proxy import Proxy, is_public

SHORT = Limits(wall_s=60)
LOCAL = ("127.0.0.1",)


class Server:
    """Answers every connection with what it was sent, and remembers that."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            with client:
                self.seen.append(client.recv(65536))
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    yield server
    server.close()


@contextmanager
def proxied(
    server: Server,
    hosts: Sequence[str],
    addresses: Sequence[str] = LOCAL,
    is_public: Callable[[str], bool] = lambda address: True,
) -> Iterator[Proxy]:
    proxy = Proxy(hosts, lambda host, port: addresses, is_public, ports=(server.port,))
    try:
        yield proxy
    finally:
        proxy.close()


def ask(proxy: Proxy, request: bytes, then: bytes = b"") -> bytes:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(60)
        client.connect(str(proxy.socket))
        client.sendall(request)
        answer = client.recv(65536)
        if then and b" 200 " in answer:
            client.sendall(then)
            answer += client.recv(65536)
        return answer


def connect(proxy: Proxy, host: bytes, port: int, then: bytes = b"ping") -> bytes:
    return ask(proxy, b"CONNECT %s:%d HTTP/1.1\r\n\r\n" % (host, port), then)


def test_an_allowed_host_is_reached_through_a_tunnel(server: Server) -> None:
    with proxied(server, ["pypi.org"]) as proxy:
        assert connect(proxy, b"PyPI.org.", server.port).endswith(b"hello")
    assert server.seen == [b"ping"]


@pytest.mark.parametrize(
    "host",
    [b"pypi.org\0.evil.com", b"evil.com\0.pypi.org", b"pypi.org.evil.com", b"evilpypi.org",
     b"sub.pypi.org", b"127.0.0.1", b"[::1]", b"2130706433", b"0x7f.1", b"127.1", b"localhost",
     b"0", b"user@pypi.org", b"pypi.org@evil.com", b"pypi.org#.evil.com", b"pypi.org%00", b"",
     b"p\xd1\x83pi.org", b"pypi.org ", b"pypi.org..", b"*.pypi.org", b"*"],
)  # fmt: skip
def test_a51_no_other_spelling_gets_through(server: Server, host: bytes) -> None:
    with proxied(server, ["pypi.org"]) as proxy:
        assert connect(proxy, host, server.port).startswith(b"HTTP/1.1 403 ")
    assert server.seen == []


def test_a51_no_host_is_no_way_out(server: Server) -> None:
    with proxied(server, []) as proxy:
        assert connect(proxy, b"pypi.org", server.port).startswith(b"HTTP/1.1 403 ")
    assert server.seen == []


def test_a51_a_name_that_leads_inside_is_refused(server: Server) -> None:
    for addresses in (["127.0.0.1"], ["93.184.216.34", "10.0.0.1"], ["::1"], []):
        with proxied(server, ["pypi.org"], addresses, is_public) as proxy:
            answer = connect(proxy, b"pypi.org", server.port)
            assert answer.startswith(b"HTTP/1.1 403 This name leads to an address that is not")
    assert server.seen == []


def test_a51_a_name_is_asked_for_once_and_its_address_used(server: Server) -> None:
    """Rebinding: the second answer would be another address."""
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return LOCAL if len(asked) == 1 else ["192.0.2.1"]

    proxy = Proxy(["pypi.org"], resolve, lambda address: True, ports=(server.port,))
    assert connect(proxy, b"pypi.org", server.port).endswith(b"hello")
    proxy.close()
    assert asked == ["pypi.org"]


def test_a51_other_ports_are_refused(server: Server) -> None:
    with proxied(server, ["pypi.org"]) as proxy:
        for port in (22, server.port + 1, 99999):
            assert b" 403 " in connect(proxy, b"pypi.org", port)
        assert b" 403 " in ask(proxy, b"CONNECT pypi.org:+443 HTTP/1.1\r\n\r\n")


def test_plain_requests_name_the_host_that_was_checked_and_nothing_follows(server: Server) -> None:
    with proxied(server, ["deb.debian.org"]) as proxy:
        request = (
            f"GET http://deb.debian.org:{server.port}/x HTTP/1.1\r\nHost: evil.com\r\nA: b\r\n"
            "Proxy-Authorization: secret\r\nContent-Length: 9\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n"
        )
        assert ask(proxy, request.encode()).endswith(b"hello")
        for line in ("POST http://deb.debian.org/", "GET http://me@deb.debian.org/",
                     "GET ftp://deb.debian.org/", "GET /", "GET http://evil.com/"):  # fmt: skip
            assert b" 403 " in ask(proxy, f"{line} HTTP/1.1\r\n\r\n".encode())
    (seen,) = server.seen
    host = f"Host: deb.debian.org:{server.port}"
    assert seen.decode() == f"GET /x HTTP/1.1\r\n{host}\r\nConnection: close\r\nA: b\r\n\r\n"


@pytest.mark.parametrize(
    "field",
    [b"A: b\nHost: evil.com", b"A: b\rHost: evil.com", b"Transfer-Encoding\xa0: chunked",
     b"Transfer-Encoding : chunked", b" folded: x", b"A: \0", b"A: \xff", b"no colon", b": x"],
)  # fmt: skip
def test_a51_a_field_that_two_readers_read_differently_is_refused(
    server: Server, field: bytes
) -> None:
    with proxied(server, ["pypi.org"]) as proxy:
        for line in (b"GET http://pypi.org:%d/x", b"CONNECT pypi.org:%d"):
            request = line % server.port + b" HTTP/1.1\r\n" + field + b"\r\n\r\n"
            assert ask(proxy, request).startswith(b"HTTP/1.1 403 This is no request")
    assert server.seen == []


def test_a_request_that_trickles_in_ends_in_time(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sandbox.proxy.HEAD_S", 0.3)
    with proxied(server, ["pypi.org"]) as proxy, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(proxy.socket))

        def trickle() -> None:
            end = time.monotonic() + 60
            while time.monotonic() < end:
                client.sendall(b"A")
                time.sleep(0.05)

        with pytest.raises(BrokenPipeError):  # it has hung up
            trickle()


def test_a51_a_redirect_is_a_new_request(server: Server) -> None:
    """The proxy follows none: a client that does asks again, and is refused."""
    with proxied(server, ["pypi.org"]) as proxy:
        assert connect(proxy, b"pypi.org", server.port).endswith(b"hello")
        assert b" 403 " in connect(proxy, b"files.evil.com", server.port)


def test_a_star_means_all_below_and_not_the_name_itself() -> None:
    assert is_allowed("a.b.pythonhosted.org", ["*.pythonhosted.org"])
    for host in ("pythonhosted.org", "evilpythonhosted.org", ".pythonhosted.org"):
        assert not is_allowed(host, ["*.pythonhosted.org"])


@pytest.mark.parametrize(
    "text",
    ["", "*", "*.", "10.0.0.1", "::1", "localhost", "a b.org", "*.*.org", "http://pypi.org",
     "pypi.org:443", "pypi.org/x"],
)  # fmt: skip
def test_what_is_no_name_cannot_be_allowed(text: str) -> None:
    with pytest.raises(ValueError, match="no host to allow"):
        check_host(text)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "172.16.0.1", "169.254.169.254", "100.64.0.1",
     "0.0.0.0", "224.0.0.1", "::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1",
     "64:ff9b::7f00:1", "2002:7f00:1::", "255.255.255.255", "fec0::1", "64:ff9b:1::7f00:1",
     "::127.0.0.1", "::8.8.8.8", "::ffff:0:127.0.0.1", "2001:0:7f00:1::"],
)  # fmt: skip
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(address)
    assert is_public("93.184.216.34")
    assert is_public("2606:4700::1111")


CLIENT = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=50).read().decode())
except OSError as error:
    print(error)
"""


def test_commands_reach_an_allowed_host_and_no_other(
    bubblewrap: Bubblewrap, view: View, server: Server
) -> None:
    def fetch(url: str, view: View) -> str:
        return bubblewrap.run(["/usr/bin/python3", "-c", CLIENT, url], view, SHORT).output.strip()

    with proxied(server, ["pypi.org"]) as proxy:
        opened = replace(view, network=proxy.socket)
        assert fetch(f"http://pypi.org:{server.port}/simple", opened) == "hello"
        assert "403 This host is not allowed" in fetch(f"https://evil.com:{server.port}/", opened)
        assert "refused" in fetch(f"http://127.0.0.1:{server.port}/", opened)  # its own loopback
        assert "hello" not in fetch(f"http://pypi.org:{server.port}/simple", view)
    assert len(server.seen) == 1
    assert not Path(proxy.socket).exists()


def test_the_way_out_uses_a_python_that_is_there_or_says_so(
    bubblewrap: Bubblewrap, view: View, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside, there = Path("/tmp/python3"), Path("/usr/bin/python3")
    with proxied(server, ["pypi.org"]) as proxy:
        opened = replace(view, network=proxy.socket)
        monkeypatch.setattr("sandbox.bubblewrap.PYTHONS", (outside, there))
        assert bubblewrap.run(["true"], opened, SHORT).exit_code == 0
        monkeypatch.setattr("sandbox.bubblewrap.PYTHONS", (outside,))
        with pytest.raises(SandboxUnavailable, match="needs /tmp/python3; install"):
            bubblewrap.run(["true"], opened, SHORT)


def test_an_exit_code_and_a_missing_command_pass_through_with_a_way_out(
    bubblewrap: Bubblewrap, view: View, server: Server
) -> None:
    with proxied(server, ["pypi.org"]) as proxy:
        opened = replace(view, network=proxy.socket)
        assert bubblewrap.run(["sh", "-c", "exit 7"], opened, SHORT).exit_code == 7
        assert bubblewrap.run(["no-such-command"], opened, SHORT).exit_code == 127
