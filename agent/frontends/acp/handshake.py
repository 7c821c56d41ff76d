"""The first words: which version is spoken and what each side can do; then all goes to its agent.

`initialize` is answered before the words of the protocol are loaded, which takes a second: nothing
but this file and those below it is imported until then. Another version of the protocol would be
another agent, made here.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from agent.arguments import DISTRIBUTION
from agent.errors import AgentError
from agent.frontends.acp.rpc import (
    INTERNAL_ERROR,
    INVALID_PARAMS,
    INVALID_REQUEST,
    Handler,
    Params,
    Peer,
    Request,
    RpcError,
)

VERSION = 1
MAX_VERSION = 2**16 - 1
CAPABILITIES: Params = {
    "loadSession": True,
    "mcpCapabilities": {"http": True, "sse": True},
    "sessionCapabilities": {
        **{"list": {}, "resume": {}, "close": {}, "delete": {}, "fork": {}},
        "additionalDirectories": {},
    },
    "auth": {},
}


@dataclass(frozen=True)
class Client:
    """What the other side has said of itself."""

    name: str = ""
    reads_texts: bool = False
    """Whether it gives the text of a file as it shows it, saved or not."""
    writes_texts: bool = False
    has_terminals: bool = False
    has_forms: bool = False
    """Whether it lets a person fill in what is asked for."""


MakeAgent = Callable[[Peer, Client], Handler]


class Handshake:
    """Answers `initialize`, and hands everything after it to the agent."""

    def __init__(self, peer: Peer, make_agent: MakeAgent, may_see: bool) -> None:
        """Wait for the client; `make_agent` may take its time, and runs in a thread of its own.

        `may_see` says whether prompts may show pictures.
        """
        self._prompts = {"image": may_see, "audio": False, "embeddedContext": True}
        self._peer = peer
        self._make_agent = make_agent
        self._agent: Future[Handler] = Future()
        self._is_begun = False

    def request(self, request: Request) -> None:
        """Answer the first request, or have the agent answer."""
        if request.method == "initialize":
            self._initialize(request)
        else:
            self._made().request(request)

    def notice(self, method: str, params: Params) -> None:
        """Let the agent know."""
        self._made().notice(method, params)

    def close(self) -> None:
        """Let the agent end what it has begun, if there is one."""
        if self._agent.done() and self._agent.exception() is None:
            self._agent.result().close()

    def _initialize(self, request: Request) -> None:
        if self._is_begun:
            raise RpcError(INVALID_REQUEST, "initialize comes once")
        client = _client(request.params)
        self._is_begun = True
        request.succeed(
            {
                "protocolVersion": VERSION,
                "agentCapabilities": {**CAPABILITIES, "promptCapabilities": self._prompts},
                "agentInfo": {"name": "qwen-agent", "title": "Qwen Agent", "version": _version()},
                "authMethods": [],
            }
        )
        threading.Thread(target=self._make, args=(client,), name="make agent", daemon=True).start()

    def _make(self, client: Client) -> None:
        try:
            self._agent.set_result(self._make_agent(self._peer, client))
        except BaseException as error:
            self._agent.set_exception(error)

    def _made(self) -> Handler:
        """Return the agent, once it is there."""
        if not self._is_begun:
            raise RpcError(INVALID_REQUEST, "initialize comes first")
        try:
            return self._agent.result()
        except AgentError as error:  # settings that cannot be read
            raise RpcError(INTERNAL_ERROR, str(error)) from error


def _client(params: Params) -> Client:
    """Read what the client says of itself; what it leaves out it cannot do."""
    number = params.get("protocolVersion")
    if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= MAX_VERSION:
        raise RpcError(INVALID_PARAMS, f"protocolVersion is a number from 0 to {MAX_VERSION}")
    able = _part(params, "clientCapabilities")
    files, forms = _part(able, "fs"), _part(able, "elicitation").get("form")
    return Client(
        name=str(_part(params, "clientInfo").get("name", "")),
        reads_texts=files.get("readTextFile") is True,
        writes_texts=files.get("writeTextFile") is True,
        has_terminals=able.get("terminal") is True,
        has_forms=isinstance(forms, dict),
    )


def _part(params: Params, name: str) -> Params:
    part = params.get(name)
    return part if isinstance(part, dict) else {}


def _version() -> str:
    try:
        return version(DISTRIBUTION)
    except PackageNotFoundError:
        return "0"
