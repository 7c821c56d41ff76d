"""JSON-RPC 2.0 over a wire: requests, answers and notices, both ways; it knows no method's meaning.

One thread reads; any thread writes. Whatever is wrong with a line is answered, if it can be, and
the next line is read: no line ends the connection.
"""

import json
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any, NoReturn, Protocol

from agent.frontends.acp.stdio import TooLong, Wire
from sandbox.base import Cancel

PARSE_ERROR, INVALID_REQUEST, METHOD_NOT_FOUND = -32700, -32600, -32601
INVALID_PARAMS, INTERNAL_ERROR = -32602, -32603
NOT_FOUND, CANCELLED = -32002, -32800
CANCEL = "$/cancel_request"
POLL_S = 0.05
Id = int | str | None
Params = dict[str, Any]
log = logging.getLogger(__name__)


class RpcError(Exception):
    """An answer that says no; the text is one sentence for whoever asked."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.data = data

    def to_record(self) -> Params:
        """Return it as the protocol writes it."""
        record: Params = {"code": self.code, "message": str(self)}
        return record if self.data is None else {**record, "data": self.data}


class Gone(Exception):
    """The other side will not answer: it has left, or the question was taken back."""


@dataclass(eq=False)
class Request:
    """A question of the other side, to be answered once."""

    id: Id
    method: str
    params: Params
    _answer: Callable[["Request", Params], None]
    _cancelled: threading.Event = field(default_factory=threading.Event)

    def cancel(self) -> None:
        """Let whoever works on it stop."""
        self._cancelled.set()

    def is_cancelled(self) -> bool:
        """Say whether it is to be stopped."""
        return self._cancelled.is_set()

    def succeed(self, result: Params) -> None:
        """Answer it."""
        self._answer(self, {"result": result})

    def fail(self, error: RpcError) -> None:
        """Say no."""
        self._answer(self, {"error": error.to_record()})


class Handler(Protocol):
    """Whoever knows what the methods mean; both are called in the thread that reads."""

    def request(self, request: Request) -> None:
        """Answer now or later; raises RpcError instead of saying no."""
        ...

    def notice(self, method: str, params: Params) -> None:
        """Take note."""
        ...

    def close(self) -> None:
        """End what was begun; nobody asks any more."""
        ...


class Peer:
    """Our end of the connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._lock = threading.Lock()
        self._num_asked = 0
        self._asked: dict[Id, Future[Any]] = {}
        """Our questions that have no answer yet."""
        self._open: dict[Id, Request] = {}
        """Theirs."""
        self._has_left = False

    def notify(self, method: str, params: Params) -> None:
        """Tell the other side something."""
        self._send({"method": method, "params": params})

    def ask(self, method: str, params: Params, cancel: Cancel) -> Any:
        """Ask the other side something, and wait for the answer.

        Raises:
            RpcError: it says no.
            Gone: it has left, or `cancel` said so.
        """
        answer: Future[Any] = Future()
        with self._lock:
            number = self._num_asked
            self._num_asked += 1
            self._asked[number] = answer
        self._send({"id": number, "method": method, "params": params})
        try:
            while not answer.done():
                if self._has_left or self._wire.is_gone:
                    raise Gone
                if cancel():
                    self.notify(CANCEL, {"requestId": number})
                    raise Gone
                wait([answer], POLL_S)
            return answer.result()
        finally:
            with self._lock:
                self._asked.pop(number, None)

    def serve(self, handler: Handler) -> None:
        """Read until the other side has left."""
        for line in self._wire.lines():
            try:
                self._take(line, handler)
            except RpcError as error:
                self._send({"id": None, "error": error.to_record()})
            except Exception:
                log.exception("a line could not be handled")
            if self._wire.is_gone:
                return

    def leave(self) -> None:
        """Stop waiting for answers, and stop what the other side has asked for."""
        self._has_left = True
        with self._lock:
            requests = list(self._open.values())
        for request in requests:
            request.cancel()

    # ---- one line

    def _take(self, line: bytes | TooLong, handler: Handler) -> None:
        message = _parsed(line)
        if "method" not in message and ("result" in message or "error" in message):
            self._take_answer(message)
        elif "id" in message:
            self._take_request(message, handler)
        else:
            _check(message)
            self._take_notice(message, handler)

    def _take_request(self, message: Params, handler: Handler) -> None:
        number = message["id"]
        if isinstance(number, bool) or not (number is None or isinstance(number, int | str)):
            raise RpcError(INVALID_REQUEST, "an id is a number without a fraction, or a text")
        params = message.get("params")
        known = params if isinstance(params, dict) else {}
        request = Request(number, str(message.get("method")), known, self._answer)
        try:
            _check(message)
            self._enter(request)
        except RpcError as error:
            self._send({"id": number, "error": error.to_record()})
            return
        try:
            handler.request(request)
        except RpcError as error:
            request.fail(error)
        except Exception:
            log.exception("%s failed", request.method)
            request.fail(RpcError(INTERNAL_ERROR, "a bug in qwen-agent; see its log"))

    def _take_notice(self, message: Params, handler: Handler) -> None:
        method, params = message["method"], message.get("params") or {}
        try:
            if method == CANCEL:
                self._cancel(params.get("requestId"))
            else:
                handler.notice(method, params)
        except RpcError as error:
            log.warning("%s: %s", method, error)

    def _take_answer(self, message: Params) -> None:
        number = message.get("id")
        is_number = isinstance(number, int) and not isinstance(number, bool)
        with self._lock:
            answer = self._asked.pop(number, None) if is_number else None
        if answer is None:
            log.warning("an answer to nothing that was asked")
        elif "error" in message:
            answer.set_exception(_as_error(message["error"]))
        else:
            answer.set_result(message["result"])

    # ---- their requests

    def _enter(self, request: Request) -> None:
        with self._lock:
            if request.id in self._open:
                raise RpcError(INVALID_REQUEST, f"a request with the id {request.id!r} is open")
            self._open[request.id] = request

    def _answer(self, request: Request, outcome: Params) -> None:
        with self._lock:
            if self._open.get(request.id) is not request:
                return
            del self._open[request.id]
        self._send({"id": request.id, **outcome})

    def _cancel(self, number: object) -> None:
        is_id = isinstance(number, int | str) and not isinstance(number, bool)
        with self._lock:
            request = next((one for one in self._open.values() if is_id and one.id == number), None)
        if request is not None:
            request.cancel()

    def _send(self, message: Params) -> None:
        self._wire.write(json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode())


def _parsed(line: bytes | TooLong) -> Params:
    """Read a line as a message.

    Raises:
        RpcError: it is none.
    """
    if isinstance(line, TooLong):
        raise RpcError(INVALID_REQUEST, "the message is too large")
    try:
        message = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise RpcError(PARSE_ERROR, "a line that is no JSON") from error
    if not isinstance(message, dict):
        raise RpcError(INVALID_REQUEST, "a message is an object, and one a line")
    return message


def _check(message: Params) -> None:
    if message.get("jsonrpc") != "2.0":
        raise RpcError(INVALID_REQUEST, 'a message says "jsonrpc": "2.0"')
    if not isinstance(message.get("method"), str):
        raise RpcError(INVALID_REQUEST, "a request has a method")
    if not isinstance(message.get("params", {}), dict | None):
        raise RpcError(INVALID_PARAMS, "params are an object")


def _as_error(value: object) -> RpcError:
    record = value if isinstance(value, dict) else {}
    code = record.get("code")
    code = code if isinstance(code, int) else INTERNAL_ERROR
    return RpcError(code, str(record.get("message", "no reason given")))


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
