"""The MCP servers of one session: started, shown to the person, used once they agree, ended.

Their tools are asked for once, before the first turn. What a person agrees to is remembered by a
hash of what is started and of every word that the model would read, so a server that comes back
with other words is asked about again.
"""

import hashlib
import json
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from agent.approval import Ask
from agent.approver import AskPerson
from agent.errors import RunCancelled, UsageError
from agent.events import Event, Notice
from agent.preview import spelled
from agent.remembered import Remembered
from inference.messages import ToolCall
from sandbox.base import Cancel, Sandbox, View
from sandbox.proxy import way_out
from tools.errors import ToolFailed
from tools.mcp import MCP, McpTool, start
from tools.mcp_asking import Fill, nobody_fills
from tools.mcp_link import Link
from tools.mcp_loop import Loop
from tools.mcp_server import McpServer
from tools.mcp_words import Json, Listing, Offer, cut, prompt_text, resource_text

NONE_NAMED = "No MCP server is named; see docs/mcp.md."
RELOADED = "The MCP servers are started anew with the next prompt."
NOT_YET = "it is started with the first prompt"
MAX_TEXT = 32_000
"""Characters of a prompt or a resource that a person asks for."""


@dataclass(frozen=True)
class ServerStatus:
    """How one server stands, for a person."""

    name: str
    source: str
    """What was started or connected to."""
    fault: str
    """Why it is not used; empty if it is."""
    tools: tuple[str, ...] = ()
    """As the model calls them."""
    prompts: tuple[str, ...] = ()
    resources: tuple[str, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Say all that in plain lines."""
        state = f"not used: {self.fault}" if self.fault else f"tools: {len(self.tools)}"
        entries = (*self.tools, *self.prompts, *self.resources)
        return (f"{self.name}: {state}; {self.source}", *(f"  {entry}" for entry in entries))


@dataclass
class _Used:
    """A server of this session."""

    server: McpServer
    link: Link | None = None
    listing: Listing | None = None
    fault: str = ""
    """Why it is not used."""
    is_decided: bool = False
    """Whether it is known if it is used."""
    is_changed_told: bool = False


class Servers:
    """The servers of one session; nothing runs before `start`."""

    def __init__(
        self, servers: Sequence[McpServer], sandbox: Sandbox, fill: Fill = nobody_fills
    ) -> None:
        """Take what may be used; `fill` lets the person answer what a server asks in a call."""
        self._fill = fill
        self._used = [_Used(server) for server in servers]
        self._sandbox = sandbox
        self._open = ExitStack()
        self._is_started = False
        self._is_offered = False
        self.tools: tuple[McpTool, ...] = ()
        """Those of the servers that are used, in the order they were named."""

    @property
    def is_settled(self) -> bool:
        """Whether it is known which tools there are."""
        return self._is_offered or not self._used

    def start(self, view: View) -> None:
        """Begin to start and connect them all, if that was not done yet; `view` is the files."""
        if not self._used or self._is_started:
            return
        self._is_started = True
        loop = Loop()
        self._open.callback(loop.close)
        for used in self._used:
            try:
                used.link = self._link(used.server, view, loop)
                self._open.callback(used.link.close)
            except ToolFailed as error:
                used.fault = str(error)

    def offer(
        self, ask: AskPerson, trusted: Remembered, cancel: Cancel
    ) -> Generator[Event, None, None]:
        """Wait for what they have, and let the person decide which are used; once a session.

        Raises:
            RunCancelled: they did not want to wait.
            OSError: an answer for always cannot be written down.
        """
        if self._is_offered:
            return
        for used in self._used:
            if not used.is_decided:
                yield from self._take(used, ask, trusted, cancel)
                used.is_decided = True
        self._is_offered = True
        self.tools = tuple(
            McpTool(used.link, offer)
            for used in self._used
            if used.link and used.listing and not used.fault
            for offer in used.listing.tools
        )

    def news(self) -> Iterator[Event]:
        """Tell of servers that have other tools now than those the session goes on with."""
        for used in self._used:
            is_new = used.link is not None and used.link.has_changed and not used.is_changed_told
            if is_new and not used.fault:
                used.is_changed_told = True
                yield Notice(
                    f"The MCP server {used.server.name} has other tools now. This session keeps "
                    "those it began with; after a reload the whole conversation is read again."
                )

    def statuses(self) -> tuple[ServerStatus, ...]:
        """Say how each stands."""
        return tuple(map(_status, self._used))

    def prompt(self, server: str, name: str, arguments: dict[str, str]) -> str:
        """Return a prompt of a server as text.

        Raises:
            UsageError: there is no such server in use, or it does not answer.
        """
        try:
            answer = self._find(server).prompt(name, arguments)
        except ToolFailed as error:
            raise UsageError(str(error)) from error
        return cut(prompt_text(server, answer.get("messages", ())), MAX_TEXT)

    def resource(self, server: str, uri: str) -> str:
        """Return a resource of a server as text; raises as `prompt` does."""
        try:
            answer = self._find(server).resource(uri)
        except ToolFailed as error:
            raise UsageError(str(error)) from error
        return cut(resource_text(server, answer.get("contents", ())), MAX_TEXT)

    def log_in(self, server: str, show_page: Callable[[str], None], cancel: Cancel) -> None:
        """Have the person log in at a server; `show_page` gets the address of its page.

        Raises:
            UsageError: there is no such server, or it came to nothing.
        """
        from tools.mcp_login import log_in

        named = next((one.server for one in self._used if one.server.name == server), None)
        if named is None:
            raise UsageError(f"no MCP server {server} is named")
        try:
            log_in(named, show_page, cancel)
        except ToolFailed as error:
            raise UsageError(str(error)) from error

    def close(self) -> None:
        """End them all, and what they have started."""
        self._open.close()

    def _link(self, server: McpServer, view: View, loop: Loop) -> Link:
        if server.url:
            return Link(server, loop, fill=self._fill)
        network = self._open.enter_context(way_out(server.hosts))
        return Link(server, loop, start(server, self._sandbox, view, network), self._fill)

    def _take(
        self, used: _Used, ask: AskPerson, trusted: Remembered, cancel: Cancel
    ) -> Generator[Event, None, None]:
        """Decide about one server."""
        name = used.server.name
        if used.link is not None and not used.fault:
            try:
                used.listing = used.link.listing(cancel)
            except ToolFailed as error:
                if cancel():
                    raise RunCancelled("cancelled while MCP servers were started") from error
                used.fault = str(error)
        if used.listing is not None:
            yield from map(Notice, used.listing.left_out)
            if not is_trusted(used.server, used.listing.tools, ask, trusted):
                if cancel():
                    raise RunCancelled("cancelled while MCP servers were asked about")
                used.fault = "you have not allowed it"
        if used.fault:
            yield Notice(f"The MCP server {name} is not used: {used.fault}.")
            if used.link is not None:
                used.link.close()

    def _find(self, name: str) -> Link:
        for used in self._used:
            if used.server.name == name and used.link is not None and not used.fault:
                return used.link
        raise UsageError(f"no MCP server {name} is in use")


def is_trusted(
    server: McpServer, tools: Sequence[Offer], ask: AskPerson, trusted: Remembered
) -> bool:
    """Say whether the person agrees to a server with these tools; ask if they have not yet."""
    if not tools:  # the model reads nothing of it
        return True
    known, key = _hash("name", server.name), _hash(server.source, *map(_record, tools))
    refused = _hash("refused", key)
    if key in trusted or refused in trusted:
        return key in trusted
    words = introduction(server, tools)
    if known in trusted:
        words = f"It has changed since you allowed it.\n{words}"
    answer = ask(Ask(ToolCall(MCP, {"server": server.name}), words, key, words))
    if answer.always:
        for entry in (known, key) if answer.allowed else (refused,):
            trusted.add(entry)
    return answer.allowed


def introduction(server: McpServer, tools: Sequence[Offer]) -> str:
    """Write what a server is and every word of it that the model would read, for a person."""
    lines = [f"The MCP server {server.name}: {server.source}"]
    lines.append(f"The model would read this of {len(tools)} tools, and could call them:")
    for tool in tools:
        lines += [f"{server.name}__{tool.name}", *tool.description.split("\n")]
        lines += _parameter_lines(tool.parameters)
    return "\n".join(map(spelled, lines))


def _parameter_lines(schema: Json, above: str = "") -> list[str]:
    """Write the parameters of a schema, and those within them, a line each."""
    lines: list[str] = []
    for name, value in schema.get("properties", {}).items():
        words = [str(value.get("description", "")), *map(str, value.get("enum", ()))]
        lines.append(f"  {above}{name}: {' '.join(filter(None, words))}".rstrip(": "))
        lines += _parameter_lines(value.get("items", value), f"{above}{name}.")
    return lines


def _record(offer: Offer) -> list[object]:
    return [offer.name, offer.description, offer.parameters]


def _hash(*parts: object) -> str:
    text = json.dumps(["mcp", *parts], sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _status(used: _Used) -> ServerStatus:
    server, listing = used.server, used.listing
    if listing is None:
        return ServerStatus(server.name, server.source, used.fault or NOT_YET)
    return ServerStatus(
        server.name,
        server.source,
        used.fault,
        tuple(f"{server.name}__{tool.name}" for tool in listing.tools),
        listing.prompts,
        listing.resources,
    )
