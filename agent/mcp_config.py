"""The MCP servers in the user's own settings; no file of a repository is ever read for them.

    [mcp.servers.github]
    command = "github-mcp-server"     # or url = "https://..."
    args = ["stdio"]
    env = ["GITHUB_TOKEN"]            # names; the values are those of your environment

They are no part of `Config`, which is written down with each session: a value may be secret.
"""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from agent.config import read_settings, state_folder
from agent.errors import ConfigError
from tools.mcp_server import McpServer

TRANSPORTS = ("http", "sse")
KEYS = ("command", "args", "env", "folders", "hosts", "url", "transport", "headers", "timeout_s")


def load_servers(path: Path, environment: Mapping[str, str] = os.environ) -> tuple[McpServer, ...]:
    """Read which servers the user has named, in the order of the file.

    Raises:
        ConfigError: one cannot be meant, or needs a variable that is not set.
    """
    table = read_settings(path).get("mcp", {})
    servers = table.get("servers", {}) if isinstance(table, dict) else None
    if not isinstance(servers, dict) or set(table) - {"servers"}:
        raise ConfigError(f"{path}: mcp holds tables [mcp.servers.NAME] and nothing else")
    return tuple(
        _server(name, values, f"{path}: mcp.servers.{name}", environment)
        for name, values in servers.items()
    )


def _server(name: str, values: Any, where: str, environment: Mapping[str, str]) -> McpServer:
    if not isinstance(values, dict):
        raise ConfigError(f"{where} is not a table of settings ({', '.join(KEYS)})")
    if unknown := sorted(set(values) - set(KEYS)):
        raise ConfigError(f"{where}.{unknown[0]} is no setting; known are {', '.join(KEYS)}")
    command, url = _text(values, "command", where), _text(values, "url", where)
    headers = values.get("headers", {})
    if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
        raise ConfigError(f"{where}.headers names a variable for each header")
    names = _list(values, "env", where)
    try:
        return McpServer(
            name=name,
            command=(command, *_list(values, "args", where)) if command else (),
            environment={one: _value(one, where, environment) for one in names},
            folders=tuple(Path(one).expanduser() for one in _list(values, "folders", where)),
            hosts=tuple(_list(values, "hosts", where)),
            url=url,
            is_sse=_is_sse(values, where),
            headers={key: _value(one, where, environment) for key, one in headers.items()},
            login=_login(name, url, headers, environment),
            timeout_s=_seconds(values, where),
        )
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error


def _is_sse(values: Mapping[str, Any], where: str) -> bool:
    transport = _text(values, "transport", where)
    if transport not in ("", *TRANSPORTS):
        raise ConfigError(f"{where}.transport is {' or '.join(TRANSPORTS)}, not {transport!r}")
    return transport == "sse"


def _login(
    name: str, url: str, headers: Mapping[str, str], environment: Mapping[str, str]
) -> Path | None:
    """Return where tokens for this very address are kept; none where a header says who asks."""
    if not url or any(header.lower() == "authorization" for header in headers):
        return None
    digest = hashlib.blake2b(url.encode(), digest_size=8).hexdigest()
    return state_folder(environment) / "mcp" / f"{name}-{digest}.json"


def _text(values: Mapping[str, Any], key: str, where: str) -> str:
    value = values.get(key, "")
    if not isinstance(value, str):
        raise ConfigError(f"{where}.{key} must be a string, not {value!r}")
    return value


def _list(values: Mapping[str, Any], key: str, where: str) -> list[str]:
    value = values.get(key, [])
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise ConfigError(f"{where}.{key} must be a list of strings, not {value!r}")
    return value


def _seconds(values: Mapping[str, Any], where: str) -> float:
    value = values.get("timeout_s", McpServer.timeout_s)
    if type(value) not in (int, float):
        raise ConfigError(f"{where}.timeout_s must be a number, not {value!r}")
    return float(value)


def _value(name: str, where: str, environment: Mapping[str, str]) -> str:
    """Return a variable of the user's environment; the settings hold its name only."""
    if name not in environment:
        raise ConfigError(f"{where}: the variable {name} is not set")
    return environment[name]
