"""The one way out that a person can open: a proxy that connects to the hosts they named.

It runs beside the agent, outside, and listens on a socket that the sandbox shows (`View.network`).
Whatever a name resolves to is looked at once and connected to as a number, so a name cannot lead
to one address when it is checked and to another when it is used. A redirect is a new request of
the client. What the servers of an allowed host serve is theirs: an open host is an open door to it.
"""

import ipaddress
import re
import shutil
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from sandbox.forward import copy
from sandbox.hosts import check_host, is_allowed
from sandbox.limits import LEAST_S

PORTS = (443, 80)
MAX_HEAD_BYTES = 16 * 1024
MAX_CONNECTIONS = 64
HEAD_S = 10.0
"""How long a client may take to say what it wants; it holds one of `MAX_CONNECTIONS`."""
IDLE_S = 60.0
_REQUEST = re.compile(rb"([A-Z]+) ([!-~]+) HTTP/1\.[01]")
_FIELD = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t -~]*")
"""What no two readers of HTTP take for different things: no bare line end, no space in a name."""
_PLAIN = re.compile(r"http://([^/?#@]+)(/[!-~]*)?")
_NOT_PUBLIC = tuple(
    map(
        ipaddress.IPv6Network,
        ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16",
         "fec0::/10"),
    )
)  # fmt: skip
"""Networks that wrap an address of IPv4, and the site-local one that nothing says is private."""

Resolve = Callable[[str, int], Sequence[str]]
"""From a name and a port to addresses."""
IsPublic = Callable[[str], bool]


class Refused(Exception):
    """A request that is not carried out; the text is for whoever reads the client's error."""


def resolve(host: str, port: int) -> Sequence[str]:
    """Ask the system for the addresses of a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def is_public(address: str) -> bool:
    """Say whether an address is one of the open internet, in whatever way it is wrapped."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return is_public(str(ip.ipv4_mapped))
        if any(ip in network for network in _NOT_PUBLIC):
            return False
    return ip.is_global and not ip.is_multicast


class Proxy:
    """Listens from the moment it is made until it is closed."""

    def __init__(
        self,
        hosts: Sequence[str],
        resolve: Resolve = resolve,
        is_public: IsPublic = is_public,
        ports: Sequence[int] = PORTS,
    ) -> None:
        """Let through what goes to `hosts`; no host, nothing.

        Raises:
            ValueError: one is no name.
        """
        self._hosts = tuple(map(check_host, hosts))
        self._resolve = resolve
        self._is_public = is_public
        self._ports = tuple(ports)
        self._free = threading.Semaphore(MAX_CONNECTIONS)
        # A session's own folder may be too deep for the address of a socket.
        self._folder = Path(tempfile.mkdtemp(prefix="qwen-agent-"))
        self.socket = self._folder / "proxy"
        """For `View.network`."""
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self.socket))
        self.socket.chmod(0o666)  # the folder around it is ours alone; inside, the user is another
        self._server.listen()
        threading.Thread(target=self._accept, name="proxy", daemon=True).start()

    def close(self) -> None:
        """Let nothing more through."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _accept(self) -> None:
        while True:
            self._free.acquire()
            try:
                client, _ = self._server.accept()
            except OSError:  # closed
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                try:
                    self._answer(client)
                except Refused as refusal:
                    client.sendall(f"HTTP/1.1 403 {refusal}\r\nContent-Length: 0\r\n\r\n".encode())
        except OSError:
            pass
        finally:
            self._free.release()

    def _answer(self, client: socket.socket) -> None:
        """Read one request and carry it out.

        Raises:
            Refused: it may not be.
        """
        head, rest = _read_head(client)
        client.settimeout(IDLE_S)
        line, *fields = head.split(b"\r\n")
        request = _REQUEST.fullmatch(line)
        if request is None or not all(map(_FIELD.fullmatch, fields)):
            raise Refused("This is no request that a proxy takes")
        method, target = request[1].decode(), request[2].decode()
        if method == "CONNECT":
            server = self._connect(*_host_and_port(target, 443))
            client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            first = rest
        elif method in ("GET", "HEAD") and (plain := _PLAIN.fullmatch(target)):
            host, port = _host_and_port(plain[1], 80)
            server = self._connect(host, port)
            first = _plain_request(method, plain[2] or "/", plain[1], fields)
        else:
            raise Refused("Only CONNECT, and GET and HEAD of http:// addresses, are taken")
        with server:
            server.sendall(first)
            if method != "CONNECT":  # nothing more may follow: it could name another host
                copy(server, client)
                return
            back = threading.Thread(target=copy, args=(server, client), daemon=True)
            back.start()
            copy(client, server)
            back.join()

    def _connect(self, host: str, port: int) -> socket.socket:
        """Connect to a host that is allowed, by an address that is public.

        Raises:
            Refused: it is not allowed, or not to be had.
        """
        if not is_allowed(host, self._hosts):
            raise Refused("This host is not allowed; the user can allow it by --allow-host")
        if port not in self._ports:
            raise Refused(f"Port {port} is not allowed")
        try:
            addresses = self._resolve(host, port)
            if not addresses or not all(map(self._is_public, addresses)):
                raise Refused("This name leads to an address that is not public")
            server = socket.create_connection((addresses[0], port), IDLE_S)
        except (OSError, ValueError) as error:
            raise Refused("The host cannot be reached") from error
        return server


@contextmanager
def way_out(hosts: Sequence[str]) -> Iterator[Path | None]:
    """Hold a proxy to `hosts` open; give its socket for `View.network`, None without hosts."""
    if not hosts:
        yield None
        return
    proxy = Proxy(hosts)
    try:
        yield proxy.socket
    finally:
        proxy.close()


def _read_head(client: socket.socket) -> tuple[bytes, bytes]:
    data = b""
    end = time.monotonic() + HEAD_S
    while b"\r\n\r\n" not in data:
        client.settimeout(max(end - time.monotonic(), LEAST_S))
        piece = client.recv(4096)
        if not piece or len(data) > MAX_HEAD_BYTES:
            raise Refused("This request has no end")
        data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    return head, rest


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    host, colon, port = text.partition(":")
    if colon and not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise Refused("This is no host")
    return host.lower().removesuffix("."), int(port) if colon else default


def _plain_request(method: str, path: str, host: str, fields: Sequence[bytes]) -> bytes:
    """Write a request without a body to its server, for the host that was checked."""
    dropped = (b"host", b"connection", b"content-length", b"transfer-encoding", b"upgrade")
    kept = [
        field
        for field in fields
        if (name := field.partition(b":")[0].lower()) not in dropped
        and not name.startswith(b"proxy-")
    ]
    first = f"{method} {path} HTTP/1.1".encode()
    return b"\r\n".join([first, b"Host: " + host.encode(), b"Connection: close", *kept, b"", b""])
