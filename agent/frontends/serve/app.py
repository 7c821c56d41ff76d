"""The routes of `qwen-agent serve`, as an ASGI application.

    GET  /health, /v1/models, /v1/models/{id}
    POST /v1/chat/completions       whole, or as a stream of server-sent events

A reply is made in a thread; when its client has gone it is stopped, and what was read stays.
"""

import asyncio
import json
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from agent.frontends.serve.answer import Answer, Json, error_body
from agent.frontends.serve.asked import ChatRequest
from agent.frontends.serve.service import Delta, Finished, Service, Told
from inference.errors import (
    Cancelled,
    ContextOverflow,
    InferenceError,
    PictureUnreadable,
)
from inference.messages import Prefill, Usage

MAX_BODY_BYTES = 64_000_000
CLIENT_GONE = 499
"""What web servers write down of a request whose client did not wait."""
STREAM_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
OnReply = Callable[[Usage], None]
T = TypeVar("T")


def make_app(service: Service, on_reply: OnReply) -> Starlette:
    """Make the application; `on_reply` is told what each reply cost."""
    pages = _Pages(service, on_reply)
    return Starlette(
        routes=[
            Route("/health", pages.health),
            Route("/v1/models", pages.models),
            Route("/v1/models/{id:path}", pages.model),
            Route("/v1/chat/completions", pages.chat, methods=["POST"]),
        ],
        exception_handlers={
            InferenceError: _failed,
            ValidationError: _misread,
            HTTPException: _refused,
            ClientDisconnect: _gone,
        },
    )


class _Pages:
    def __init__(self, service: Service, on_reply: OnReply) -> None:
        self._service = service
        self._on_reply = on_reply

    async def health(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok", "model": self._service.name})

    async def models(self, _request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._about()]})

    async def model(self, request: Request) -> Response:
        self._check_model(request.path_params["id"])
        return JSONResponse(self._about())

    async def chat(self, request: Request) -> Response:
        asked = ChatRequest.model_validate_json(await _body(request))
        self._check_model(asked.model)
        answer = Answer(self._service.name)
        told = _in_a_thread(self._service, asked, answer)
        if asked.stream:
            # What fails before anything is told has a status of its own.
            first = await _unless_gone(request, anext(told))
            return _Stream(self._events(first, told, answer, asked), told)
        finished = await _unless_gone(request, _last(told))
        self._on_reply(finished.end.usage)
        return JSONResponse(answer.whole(finished.end, is_cut=finished.is_cut))

    async def _events(
        self, first: Told, told: AsyncIterator[Told], answer: Answer, asked: ChatRequest
    ) -> AsyncIterator[str]:
        """Yield the stream; a comment shows that a long prompt is being read."""
        yield _event(answer.chunk({"role": "assistant", "content": ""}))
        wants_usage = asked.stream_options is not None and asked.stream_options.include_usage
        try:
            async for piece in _with(first, told):
                match piece:
                    case Prefill(num_done, num_total):
                        yield f": {num_done} of {num_total} tokens of the prompt are read\n\n"
                    case Delta(content):
                        yield _event(answer.chunk(content))
                    case Finished(end, is_cut):
                        self._on_reply(end.usage)
                        for chunk in answer.last_chunks(
                            end, is_cut=is_cut, wants_usage=wants_usage
                        ):
                            yield _event(chunk)
        except InferenceError as error:
            yield _event(_failure(error)[1])
        yield "data: [DONE]\n\n"

    def _about(self) -> Json:
        name, window = self._service.name, self._service.context_tokens
        about = {"id": name, "object": "model", "created": 0, "owned_by": "qwen-agent"}
        return {**about, "max_model_len": window}

    def _check_model(self, name: str) -> None:
        if name != self._service.name:
            there = self._service.name
            raise HTTPException(404, f"there is no model {name[:100]!r}; the one here is {there!r}")


class _Stream(StreamingResponse):
    """Server-sent events; when the client has gone, the reply ends at once."""

    def __init__(self, events: AsyncIterator[str], told: AsyncGenerator[Told, None]) -> None:
        super().__init__(events, 200, STREAM_HEADERS, "text/event-stream")
        self._told = told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._told.aclose()


async def _body(request: Request) -> bytes:
    content = bytearray()
    async for piece in request.stream():
        content += piece
        if len(content) > MAX_BODY_BYTES:
            raise HTTPException(413, f"a request may have {MAX_BODY_BYTES // 1_000_000} MB")
    return bytes(content)


async def _in_a_thread(
    service: Service, asked: ChatRequest, answer: Answer
) -> AsyncGenerator[Told, None]:
    """Yield what a reply tells; it is stopped when nobody takes it any more."""
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Told | Exception | None] = asyncio.Queue()
    is_gone = threading.Event()

    def put(told: Told | Exception | None) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it who listened
            loop.call_soon_threadsafe(queue.put_nowait, told)

    def work() -> None:
        try:
            for told in service.reply(asked, answer, is_gone.is_set):
                put(told)
            put(None)
        except Exception as error:  # it is raised again, where the request is answered
            put(error)

    threading.Thread(target=work, name="reply", daemon=True).start()
    try:
        while (told := await queue.get()) is not None:
            if isinstance(told, Exception):
                raise told
            yield told
    finally:
        is_gone.set()


async def _with(first: Told, rest: AsyncIterator[Told]) -> AsyncIterator[Told]:
    yield first
    async for told in rest:
        yield told


async def _last(told: AsyncIterator[Told]) -> Finished:
    async for one in told:
        if isinstance(one, Finished):
            return one
    raise Cancelled("stopped before it was whole")


async def _unless_gone(request: Request, work: Awaitable[T]) -> T:
    """Wait for what is worked on, or for the client to hang up."""
    working = asyncio.ensure_future(work)
    hung_up = asyncio.ensure_future(_hung_up(request))
    try:
        await asyncio.wait({working, hung_up}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        hung_up.cancel()


async def _hung_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(content: Json) -> str:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n"


def _failure(error: InferenceError) -> tuple[int, Json]:
    match error:
        case ContextOverflow():
            kind, code = "invalid_request_error", "context_length_exceeded"
            return 400, error_body(str(error), kind, code)
        case PictureUnreadable():
            return 400, error_body(str(error), "invalid_request_error")
        case Cancelled():
            return CLIENT_GONE, error_body(str(error), "cancelled")
        case _:
            return 503, error_body(str(error), "server_error")


async def _failed(_request: Request, error: Any) -> Response:
    status, body = _failure(error)
    return JSONResponse(body, status)


async def _misread(_request: Request, error: Any) -> Response:
    # Of all that it could have been, what came nearest.
    nearest = max(error.errors(include_url=False), key=lambda one: len(one["loc"]))
    where = ".".join(map(str, nearest["loc"]))
    said = str(nearest["msg"]).removeprefix("Value error, ")
    sentence = f"{where}: {said}" if where else said
    return JSONResponse(error_body(sentence[:500], "invalid_request_error"), 400)


async def _refused(_request: Request, error: Any) -> Response:
    return JSONResponse(error_body(error.detail, "invalid_request_error"), error.status_code)


async def _gone(_request: Request, _error: Any) -> Response:
    return Response(status_code=CLIENT_GONE)
