"""`/mcp`: which MCP servers there are, what they have for a person, logging in, starting anew."""

import os
import sys
import webbrowser
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.errors import UsageError
from agent.frontends.repl.host import talk_of
from agent.frontends.repl.paint import Painter
from agent.frontends.repl.text import harmless
from agent.frontends.repl.worker import Printed
from agent.servers import NONE_NAMED, RELOADED, ServerStatus
from sandbox.base import Cancel

if TYPE_CHECKING:
    from agent.frontends.repl.host import Host

FORM = (
    "write /mcp, /mcp reload, /mcp login SERVER, /mcp prompt SERVER NAME KEY=VALUE... "
    "or /mcp read SERVER ADDRESS"
)
LOG_IN = "Log in in your browser, at this address; Esc gives up:"
LOGGED_IN = "You are logged in."


def mcp(host: "Host", words: str) -> None:
    """List the servers, ask one for a text, or start them anew."""

    def steps(cancel: Cancel) -> Iterator[Printed]:
        talk = talk_of(host)
        servers = talk.servers
        match words.split():
            case []:
                statuses = servers.statuses()
                yield Printed(lambda painter: _drawn(painter, statuses))
            case ["reload"]:
                talk.reload_servers()
                yield Printed.sentence(RELOADED)
            case ["login", server]:
                servers.log_in(server, lambda url: _show_page(host, url), cancel)
                talk.reload_servers()
                yield Printed.sentence(f"{LOGGED_IN} {RELOADED}")
            case ["prompt", server, name, *pairs]:
                yield _typed(host, servers.prompt(server, name, _arguments(pairs)))
            case ["read", server, uri]:
                yield _typed(host, servers.resource(server, uri))
            case _:
                raise UsageError(FORM)

    host.do(steps, "asking")


def _show_page(host: "Host", url: str) -> None:
    """Show the address of a login page, and open it where there are windows; from any thread."""
    host.tell(lambda painter: painter.line((painter.theme.accent, LOG_IN)) + f"{harmless(url)}\n")
    has_windows = sys.platform == "darwin" or {"DISPLAY", "WAYLAND_DISPLAY"} & os.environ.keys()
    if has_windows:  # without them it would be a browser in this very terminal
        webbrowser.open(url)


def _typed(host: "Host", text: str) -> Printed:
    """Put a text into the input, to be read before it is sent."""
    return Printed(lambda _painter: host.prompt.put(text))


def _arguments(pairs: list[str]) -> dict[str, str]:
    """Read `KEY=VALUE` words.

    Raises:
        UsageError: one is none.
    """
    if not all("=" in pair for pair in pairs):
        raise UsageError(FORM)
    return dict(pair.split("=", 1) for pair in pairs)


def _drawn(painter: Painter, statuses: tuple[ServerStatus, ...]) -> str:
    if not statuses:
        return painter.line((painter.theme.dim, NONE_NAMED))
    lines: list[str] = []
    for one in statuses:
        state = f"not used: {one.fault}" if one.fault else f"{len(one.tools)} tools"
        lines.append(painter.line((painter.theme.accent, f"  {one.name}  "), ("", state)))
        lines.append(painter.line((painter.theme.dim, f"    {one.source}")))
        for label, entries in (
            ("tool", one.tools),
            ("prompt", one.prompts),
            ("resource", one.resources),
        ):
            for entry in entries:
                lines.append(painter.line((painter.theme.dim, f"    {label} "), ("", entry)))
    return "".join(lines)
