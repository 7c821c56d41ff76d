"""The tools of MCP servers, as tools of ours; the servers themselves, as children in the sandbox.

A server is asked only for what the model calls. What it may reach is decided here: it starts in a
home of its own and reads the repository, so that nothing in the repository can take the place of a
program or a module of it, and what changes files goes through our own tools, which are asked about,
checked and undone.
"""

import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sandbox.base import Cancel, Sandbox, View, never
from sandbox.child import Child
from sandbox.limits import MIB, Limits
from tools.base import Arguments, ToolResult
from tools.errors import ToolFailed
from tools.mcp_link import Link
from tools.mcp_output import notes_on
from tools.mcp_server import McpServer
from tools.mcp_words import Offer, line, result_text
from tools.truncate import cut_middle

MAX_CHARACTERS = 12_000
SEPARATOR = "__"
MCP = "mcp"
"""What a person is asked about under this name is a server, not a call."""
WORKSPACE = "{workspace}"
AT_HOME = 'cd "$HOME" && exec "$@"'
DAY_S = 86_400
LIMITS = Limits(
    wall_s=30.0 * DAY_S,
    cpu_s=DAY_S,
    memory_bytes=1024 * 1024 * MIB,  # of addresses, which node takes by the terabyte
    resident_bytes=2048 * MIB,
    num_processes=100,
)
"""Of a server, for as long as a session may last."""


class McpTool:
    """One tool of one server."""

    def __init__(self, link: Link, offer: Offer) -> None:
        self.name = f"{link.server.name}{SEPARATOR}{offer.name}"
        self.description = offer.description
        self.parameters: Mapping[str, Any] = offer.parameters
        self._link = link
        self._offer = offer

    def run(self, arguments: Arguments, cancel: Cancel = never) -> ToolResult:
        """Have the server do it.

        Raises:
            ToolFailed: it did not answer, or not in the form of an answer.
        """
        answer = self._link.call(self._offer.name, arguments, cancel)
        text = result_text(answer.get("content", ()), answer.get("structuredContent"))
        ok = not answer.get("isError", False)
        if not answer.get("isError", False):
            for fault in notes_on(self._offer.output, answer.get("structuredContent")):
                text += f"\n[Not as the server promised: {fault}.]"
        for reason in self._link.declined:
            text += f"\n[The server wanted to ask the user something, and could not: {reason}.]"
        first = line(text, 60) or "no text"
        return ToolResult(
            cut_middle(text, MAX_CHARACTERS) or "[no output]",
            f"{self.name}: {first}" if ok else f"{self.name} failed: {first}",
            ok,
            full=text if len(text) > MAX_CHARACTERS else "",
        )


def start(server: McpServer, sandbox: Sandbox, view: View, network: Path | None) -> Child:
    """Start a local server beside the files of `view`; `network` is its own way out.

    Raises:
        ToolFailed: there is no such program where it could be seen.
    """
    words = [word.replace(WORKSPACE, str(view.workspace)) for word in server.command]
    words[0] = _program(words[0], server, view)
    seen = replace(
        view,
        writable=False,
        read_only=(*view.read_only, *server.folders),
        guarded=(),
        scratch=None,
        network=network,
        path=(Path(words[0]).parent, *view.path),  # where node is that `npx` looks for
        environment=server.environment,
    )
    return Child(sandbox, ["/bin/sh", "-c", AT_HOME, "sh", *words], seen, LIMITS)


def _program(name: str, server: McpServer, view: View) -> str:
    """Find a program as the person would, and see that the sandbox shows it.

    Raises:
        ToolFailed: it is nowhere, or in the repository, or in a folder that is not shown.
    """
    # A relative entry of PATH could be the repository, and its program anybody's.
    folders = [folder for folder in os.get_exec_path() if Path(folder).is_absolute()]
    found = shutil.which(name, path=os.pathsep.join(folders))
    if found is None or not Path(found).is_absolute():
        raise ToolFailed(f"there is no program {line(name, 60)!r}; give its whole path")
    if Path(found).is_relative_to(view.workspace):
        raise ToolFailed(f"{found} is in the repository, which may not say what runs")
    shown = (Path("/usr"), Path("/bin"), *server.folders)
    if not any(Path(found).is_relative_to(folder) for folder in shown):
        raise ToolFailed(f"{found} is not seen in the sandbox; name its folder under folders")
    return found
