"""The routes of `qwen-agent serve`, as an ASGI application.

    GET  /health, /v1/models, /v1/models/{id}
    POST /v1/chat/completions       whole, or as a stream of server-sent events

A reply is made in a thread; when its client has gone it is stopped, and what was read stays.
"""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
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
from agent.frontends.serve.choices import Piece, finished, told_by
from agent.frontends.serve.service import Delta, Finished, Service
from inference.errors import (
    Cancelled,
    ContextOverflow,
    InferenceError,
    PictureUnreadable,
)
from inference.messages import Prefill, ReplyEnd, Usage

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
            Route("/v1/models/", pages.models),
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
        first = Answer(self._service.name)
        answers = [first, *first.others(asked.n or 1)]
        told = told_by(self._service, asked, answers)
        if asked.stream:
            # What fails before anything is told has a status of its own.
            begun = await _unless_gone(request, anext(told))
            return _Stream(self._events(begun, told, answers, asked), told)
        ends = await _unless_gone(request, finished(told))
        choices = [
            answer.choice(ends[answer.index].end, is_cut=ends[answer.index].is_cut)
            for answer in answers
        ]
        for end in ends.values():
            self._on_reply(end.end.usage)
        return JSONResponse(first.whole(choices, _replies(ends)))

    async def _events(
        self,
        begun: Piece,
        told: AsyncIterator[Piece],
        answers: Sequence[Answer],
        asked: ChatRequest,
    ) -> AsyncIterator[str]:
        """Yield the stream; a comment shows that a long prompt is being read."""
        for answer in answers:
            yield _event(answer.chunk({"role": "assistant", "content": ""}))
        ends: dict[int, Finished] = {}
        try:
            async for answer, piece in _with(begun, told):
                match piece:
                    case Prefill(num_done, num_total):
                        yield f": {num_done} of {num_total} tokens of the prompt are read\n\n"
                    case Delta(content):
                        yield _event(answer.chunk(content))
                    case Finished(end, is_cut):
                        ends[answer.index] = piece
                        self._on_reply(end.usage)
                        yield _event(answer.last_chunk(end, is_cut=is_cut))
            if asked.stream_options is not None and asked.stream_options.include_usage:
                yield _event(answers[0].usage_chunk(_replies(ends)))
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

    def __init__(self, events: AsyncIterator[str], told: AsyncGenerator[Piece, None]) -> None:
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


async def _with(first: Piece, rest: AsyncIterator[Piece]) -> AsyncIterator[Piece]:
    yield first
    async for told in rest:
        yield told


def _replies(ends: Mapping[int, Finished]) -> list[ReplyEnd]:
    """Return what the choices ended with, in their order."""
    return [ends[index].end for index in sorted(ends)]


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
