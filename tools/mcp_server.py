"""One MCP server as a person names it, in their settings or in their editor; nothing runs here.

A local one is a command, a remote one an address. Values that may be secret stand in no text of it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from sandbox.hosts import check_host

_NAME = re.compile(r"[a-z0-9]+(?:-[a-z0-9]+)*")
MAX_NAME = 32
LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class McpServer:
    """A server to be used in a session."""

    name: str
    """Lower case, digits and single hyphens: its tools are called `name__tool`."""
    command: tuple[str, ...] = ()
    """What starts a local one; `{workspace}` in a word stands for the repository."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """All the variables that a local one gets beside PATH, HOME, LANG, TERM and TMPDIR."""
    folders: tuple[Path, ...] = ()
    """What a local one may read beside the system and the repository: where it is installed."""
    hosts: tuple[str, ...] = ()
    """Where a local one may connect to; nowhere if there are none."""
    url: str = ""
    """The address of a remote one."""
    is_sse: bool = False
    """Whether it speaks the older transport, HTTP with server-sent events."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What is sent with each request to a remote one."""
    login: Path | None = field(default=None, repr=False)
    """Where what a login at a remote one gave is kept; None where none can be made."""
    timeout_s: float = 60.0
    """How long one answer may take."""

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name) or len(self.name) > MAX_NAME:
            raise ValueError(
                f"{self.name[:60]!r} is no name of a server; use up to {MAX_NAME} of a-z, 0-9 "
                "and single hyphens"
            )
        if bool(self.command) == bool(self.url):
            raise ValueError("give a command or a url")
        if self.url and (self.environment or self.folders or self.hosts):
            raise ValueError("env, folders and hosts are for a command, not for a url")
        if self.command and (self.headers or self.is_sse):
            raise ValueError("headers and transport are for a url, not for a command")
        if not self.timeout_s > 0:
            raise ValueError("timeout_s must be more than 0")
        for host in self.hosts:
            check_host(host)
        if self.url:
            _check_url(self.url)

    @property
    def source(self) -> str:
        """Say in one line what is started or connected to, and with what; no value of a secret."""
        words = [self.url or " ".join(self.command)]
        for label, names in (
            ("variables", self.environment),
            ("headers", self.headers),
            ("hosts", self.hosts),
            ("folders", map(str, self.folders)),
        ):
            if listed := ", ".join(sorted(names)):
                words.append(f"{label}: {listed}")
        return "; ".join(words)


def usable_name(text: str, taken: frozenset[str] = frozenset()) -> str:
    """Make a name of what another program calls a server, unlike those that are taken."""
    name = re.sub(r"[^a-z0-9]+", "-", text.lower())[: MAX_NAME - 3].strip("-") or "server"
    numbered = (f"{name}-{number}" for number in range(2, 100))
    return next(one for one in (name, *numbered) if one not in taken)


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError as error:
        raise ValueError(f"{url!r} is no address: {error}") from error
    if parts.scheme not in ("http", "https") or not host:
        raise ValueError(f"{url!r} is no address; it begins with https://")
    if parts.scheme == "http" and host not in LOCAL:
        raise ValueError(f"{url!r} is not encrypted; http:// is for this machine only")
    if parts.username or parts.password:
        raise ValueError("an address holds no password; name a variable under headers")
