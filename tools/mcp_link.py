"""The connection to one MCP server: made in the background, kept until the session ends.

All that can go wrong on the other side ends here, as a `ToolFailed` in one clean sentence.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from sandbox.base import Cancel, never
from sandbox.child import Child
from tools.errors import ToolFailed
from tools.mcp_allowance import Allowance
from tools.mcp_asking import Asking, Fill, nobody_fills
from tools.mcp_loop import Loop, innermost, wait_for
from tools.mcp_server import McpServer
from tools.mcp_words import MAX_LISTED, Json, Listing, line, offers, prompt_line, resource_line

if TYPE_CHECKING:
    from mcp import Client

START_S = 60.0
"""How long a server may take until it has listed what it has; `npx` may load a package first."""
END_S = 5.0
GRACE_S = 0.5
"""What a local server has to end by itself, once its input has."""
MAX_PAGES = 20
MAX_ROUNDS = 5
"""Of questions before a call is carried out."""
MAX_ERROR = 400

T = TypeVar("T")


class Link:
    """One server and how to ask it; begins to connect when it is made."""

    def __init__(
        self,
        server: McpServer,
        loop: Loop,
        child: Child | None = None,
        fill: Fill = nobody_fills,
    ) -> None:
        """Connect to a remote server, or to a local one that runs as `child`.

        `fill` lets the person fill in what the server asks them for in the course of a call.
        """
        self.server = server
        self.has_changed = False
        """Whether it says that its list of tools is no longer the one that it gave."""
        self._loop = loop
        self._child = child
        self._asking = Asking(server.name, fill)
        self._end = asyncio.Event()
        self._allowance = Allowance(self._end.set)
        self._client: Client | None = None
        self._listed: Future[Listing] = Future()
        self._held = loop.begin(self._hold())

    def listing(self, cancel: Cancel, timeout_s: float = START_S) -> Listing:
        """Return what the server offers, once it has said so.

        Raises:
            ToolFailed: it cannot be had, or nobody wants to wait any more.
        """
        return self._answer(self._listed, timeout_s, cancel)

    def call(self, tool: str, arguments: Json, cancel: Cancel) -> Json:
        """Call a tool of the server; return its result as JSON.

        Raises:
            ToolFailed: there is none.
        """
        given = dict(arguments)
        with self._asking.open():
            return self._ask(lambda client: _dumped(self._called(client, tool, given)), cancel)

    @property
    def declined(self) -> tuple[str, ...]:
        """Why the person was not asked what the server wanted to ask them in the last call."""
        return tuple(self._asking.declined)

    def prompt(self, name: str, arguments: dict[str, str], cancel: Cancel = never) -> Json:
        """Return one of its prompts as JSON; raises as `call` does."""
        return self._ask(lambda client: _dumped(client.get_prompt(name, arguments)), cancel)

    def resource(self, uri: str, cancel: Cancel = never) -> Json:
        """Return one of its resources as JSON; raises as `call` does."""
        return self._ask(lambda client: _dumped(client.read_resource(uri)), cancel)

    def close(self) -> None:
        """End the connection, and a local server with all that it started."""
        with suppress(RuntimeError):  # its loop has ended
            self._loop.call(self._end.set)
        wait_for(self._held, END_S, never)
        if self._child is not None:
            self._child.stop()

    def ended(self) -> str:
        """Say why a server is gone; empty while it is there, or where nothing is known of that."""
        if self._allowance.fault:
            return self._allowance.fault
        if self._child is not None and not self._child.is_running:
            return line(self._child.why(), MAX_ERROR)
        return ""

    # ---- in the thread of those who ask

    def _ask(self, ask: "Callable[[Client], Awaitable[T]]", cancel: Cancel) -> T:
        if self._client is None or self._held.done() or self.ended():
            raise ToolFailed(f"The MCP server {self.server.name} has ended{self._why()}.")
        client = self._client
        self._allowance.renew()

        async def asked() -> T:
            return await ask(client)

        answer = self._loop.begin(asked())
        try:
            return self._answer(answer, self.server.timeout_s, cancel)
        finally:
            answer.cancel()  # without effect on one that is there

    def _answer(self, future: "Future[T]", timeout_s: float, cancel: Cancel) -> T:
        name = self.server.name
        if not wait_for(future, timeout_s, cancel, self._asking.answer):
            if cancel():
                raise ToolFailed("cancelled")
            raise ToolFailed(f"The MCP server {name} did not answer in {timeout_s:g} s.")
        try:
            return future.result()
        # The SDK names no common error, and what a strange server provokes in it is not foreseen.
        except (Exception, CancelledError) as error:
            said = self._why() or f": {line(innermost(error), MAX_ERROR)}"
            raise ToolFailed(f"The MCP server {name} failed{said}") from error

    def _why(self) -> str:
        why = self.ended()
        return f": {why}" if why else ""

    # ---- in the thread of the loop

    async def _hold(self) -> None:
        """Connect, list, and keep the connection until the end; an error is that of the list."""
        try:
            from mcp import Client

            async with Client(
                self._transport(),
                cache=None,
                message_handler=self._heard,
                elicitation_callback=self._asked,
            ) as client:
                listing = await _listed(self.server.name, client)
                self._client = client
                self._listed.set_result(listing)
                await self._end.wait()
        except BaseException as error:
            if not self._listed.done():
                self._listed.set_exception(error)
            if not isinstance(error, Exception):
                raise
        finally:
            if self._child is not None:
                await asyncio.to_thread(self._child.stop, GRACE_S)

    def _transport(self) -> Any:
        from tools.mcp_transport import over_http, over_socket

        if self._child is None:
            return over_http(self.server, self._allowance)
        return over_socket(self._child.socket, self._allowance)

    async def _called(self, client: "Client", tool: str, arguments: dict[str, Any]) -> Any:
        """Call a tool, and answer what the server wants to know first, as newer ones ask for it.

        The answer is not compared with the schema that the server gave of it: a pattern in that
        could take for ever, and a pattern that is matched stops all threads.
        """
        from mcp_types import (
            CallToolRequest,
            CallToolRequestParams,
            CallToolResult,
            InputRequiredResult,
        )
        from pydantic import TypeAdapter

        kind: TypeAdapter[Any] = TypeAdapter(CallToolResult | InputRequiredResult)
        params = CallToolRequestParams(name=tool, arguments=arguments)
        for _ in range(MAX_ROUNDS):
            answer = await client.session.send_request(CallToolRequest(params=params), kind)
            if not isinstance(answer, InputRequiredResult):
                return answer
            asked = (answer.input_requests or {}).items()
            given = {name: await self._given(request) for name, request in asked}
            params = params.model_copy(
                update={"input_responses": given, "request_state": answer.request_state}
            )
        raise ToolFailed("it asks again and again")

    async def _given(self, request: Any) -> Any:
        """Answer what a server needs for a call."""
        from mcp_types import ElicitRequest

        if not isinstance(request, ElicitRequest):
            raise ToolFailed(f"it asks for {line(request.method, 60)}, which is not offered")
        return await self._asked(None, request.params)

    async def _asked(self, context: Any, params: Any) -> Any:
        """Have the person answer a question of the server."""
        from mcp_types import ElicitResult

        asked = params.model_dump(mode="json", by_alias=True, exclude_none=True)
        given = await asyncio.wrap_future(self._asking.put(asked))
        if given is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=dict(given))

    async def _heard(self, message: Any) -> None:
        """Notice that a list has changed; whatever else is said unasked is not listened to."""
        from mcp_types import ToolListChangedNotification

        self.has_changed |= isinstance(message, ToolListChangedNotification)


async def _listed(server: str, client: "Client") -> Listing:
    """Ask for all that a server has; what it does not claim to have is not asked for."""
    has = client.server_capabilities
    tools = await _pages(client.list_tools, "tools") if has.tools else []
    prompts = await _pages(client.list_prompts, "prompts") if has.prompts else []
    resources = await _pages(client.list_resources, "resources") if has.resources else []
    offered, left_out = offers(server, tools)
    return Listing(
        offered,
        left_out,
        tuple(map(prompt_line, prompts[:MAX_LISTED])),
        tuple(map(resource_line, resources[:MAX_LISTED])),
    )


async def _pages(ask: Callable[..., Awaitable[Any]], key: str) -> Sequence[Json]:
    """Return the entries of a list that comes in pages, as many as anybody means to have."""
    found: list[Json] = []
    cursor: str | None = None
    for _ in range(MAX_PAGES):
        page = await _dumped(ask(cursor=cursor))
        found += page[key]
        cursor = page.get("nextCursor")
        if cursor is None:
            break
    return found


async def _dumped(answer: Awaitable[Any]) -> Json:
    """Return an answer of the SDK as JSON."""
    record: Json = (await answer).model_dump(mode="json", by_alias=True, exclude_none=True)
    return record
