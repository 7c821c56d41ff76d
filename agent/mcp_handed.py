"""The MCP servers that an editor hands in with a session, beside those of the user's own settings.

An editor says what to start and with which variables, and no more. So such a server sees, beside
the system and the repository, the folder that its program is installed in and those that its
arguments name, to read, and has no network. One that needs more is named in the user's settings,
which win where both have a name.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.mcp_server import McpServer, usable_name

Record = Mapping[str, Any]


def with_handed_in(
    own: Sequence[McpServer], records: Sequence[Record]
) -> tuple[tuple[McpServer, ...], tuple[str, ...]]:
    """Return the user's servers and those of an editor, and why some of them are not used.

    Args:
        own: those of the user's settings.
        records: `mcpServers` as the Agent Client Protocol writes them: `name`, then `command`,
            `args` and `env`, or `type` "http" or "sse", `url` and `headers`.
    """
    servers, left_out = list(own), list[str]()
    for record in records:
        name = usable_name(str(record.get("name", "")))
        if name in {server.name for server in own}:
            continue
        name = usable_name(name, frozenset(server.name for server in servers))
        try:
            _check_texts(record)
            servers.append(_server(name, record))
        except (ValueError, KeyError, TypeError) as error:
            left_out.append(f"The MCP server {name} of your editor is not used: {error}.")
    return tuple(servers), tuple(left_out)


def _server(name: str, record: Record) -> McpServer:
    """Read one server.

    Raises:
        ValueError, KeyError, TypeError: it cannot be meant, or is of a kind that we do not know.
    """
    if "url" in record:
        kind, headers = record.get("type"), _pairs(record.get("headers"))
        if kind not in ("http", "sse"):
            raise ValueError(f"servers of the kind {kind!r} are not spoken with")
        return McpServer(name, url=record["url"], is_sse=kind == "sse", headers=headers)
    program = str(record.get("command") or "")
    if "/" in program and not program.startswith("/"):
        raise ValueError(
            f"the command {program!r} is named neither from the root nor by a name alone"
        )
    return McpServer(
        name,
        (program, *map(str, record.get("args") or ())) if program else (),
        environment=_pairs(record.get("env")),
        folders=(*installed_in(program), *named_in(record.get("args") or ())),
    )


def _check_texts(record: Record) -> None:
    """Refuse what no program can be given, and no header can hold.

    Raises:
        ValueError, KeyError: there is such a text.
    """
    variables, headers = _pairs(record.get("env")), _pairs(record.get("headers"))
    if odd := [name for name in variables if not name or "=" in name]:
        raise ValueError(f"{odd[0]!r} is no name of a variable")
    if any(mark in text for text in (*headers, *headers.values()) for mark in "\r\n"):
        raise ValueError("a header is one line")
    texts = [record.get("name"), record.get("command"), record.get("url")]
    texts += record.get("args") or ()
    for pairs in (variables, headers):
        texts += [*pairs, *pairs.values()]
    if any(mark == "\0" or "\ud800" <= mark <= "\udfff" for text in texts for mark in str(text)):
        raise ValueError("a NUL or half a character stands in what it is given")


def installed_in(program: str) -> tuple[Path, ...]:
    """Return the folders that a program needs: `X` of `X/bin/program`, but no home; else itself."""
    found = shutil.which(program)
    if found is None:
        return ()
    folders: dict[Path, None] = {}
    for path in dict.fromkeys((Path(found), Path(found).resolve())):
        root = path.parents[1] if path.parent.name in ("bin", "Scripts") else path
        holds_home = Path.home().is_relative_to(root)
        folders[path if holds_home else root] = None
    return tuple(folder for folder in folders if not folder.is_relative_to("/usr"))


def named_in(words: Sequence[object]) -> tuple[Path, ...]:
    """Return what words name from the root: a folder, or that of a file, but no home; else itself.

    Who starts `python /opt/servers/one.py` means that it may read what lies beside.
    """
    folders: dict[Path, None] = {}
    for word in map(str, words):
        path = Path(word)
        if not path.is_absolute() or not path.exists():
            continue
        folder = path if path.is_dir() else path.parent
        folders[path if Path.home().is_relative_to(folder) else folder] = None
    return tuple(one for one in folders if not Path.home().is_relative_to(one))


def _pairs(entries: Sequence[Record] | None) -> dict[str, str]:
    return {str(entry["name"]): str(entry["value"]) for entry in entries or ()}
