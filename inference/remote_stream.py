"""One streamed reply of a server, chunk by chunk, left at once when it is no longer wanted.

The wire is read by coroutines of the SDK, on a loop that runs only while the next chunk is awaited:
so there is no thread, and whoever stops reading has closed the connection, by which a server knows
that it need not write on. What the chunks say is not asked here.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Generator, Mapping
from typing import TYPE_CHECKING, Any

from inference.chat import Cancel
from inference.errors import Cancelled, ModelUnavailable
from inference.remote_faults import Fault, fault_of
from inference.remote_server import Server

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletionChunk

POLL_S = 0.05
PAGE = "text/html"
NO_KEY = "none"
"""What the SDK is given where there is none: it insists on one."""
_Chunks = AsyncGenerator["ChatCompletionChunk", None]


def stream(
    server: Server, body: Mapping[str, Any], cancel: Cancel
) -> Generator["ChatCompletionChunk", None, None]:
    """Ask for a reply and yield its chunks.

    The first that says something may take as long as a prompt takes to be read; after that a
    server that is alive sends more soon.

    Raises:
        Fault: there is no reply, or no more of it.
        Cancelled: it is no longer wanted.
    """
    import openai  # noqa: F401 - now: what that takes is no silence of the server

    loop = asyncio.new_event_loop()
    chunks = _chunks(server, body)
    settings, has_begun = server.settings, False
    patience_s, since_s = settings.first_token_s, time.monotonic()
    try:
        while not cancel():
            task = loop.create_task(_next(chunks))
            while not task.done():
                loop.run_until_complete(asyncio.wait({task}, timeout=POLL_S))
                if not task.done() and cancel():
                    raise Cancelled("the reply was stopped")
                if not task.done() and time.monotonic() > since_s + patience_s:
                    raise Fault(_slow(server, patience_s, has_begun))
            chunk = _result(task, server)
            if chunk is None:
                return
            if has_begun or _says_something(chunk):
                has_begun, patience_s = True, settings.between_tokens_s
                since_s = time.monotonic()
            yield chunk
        raise Cancelled("the reply was stopped")
    finally:
        loop.run_until_complete(_leave(chunks))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _chunks(server: Server, body: Mapping[str, Any]) -> _Chunks:
    import httpx2
    from openai import AsyncOpenAI, Omit
    from openai.types.chat import ChatCompletionChunk

    # What else the environment says is meant for OpenAI itself.
    none_of_openai: Any = {"OpenAI-Organization": Omit(), "OpenAI-Project": Omit()}
    patience = httpx2.Timeout(None, connect=server.settings.connect_s)  # the rest is kept above
    http = httpx2.AsyncClient(verify=server.tls, trust_env=not server.is_near, timeout=patience)
    async with (
        AsyncOpenAI(
            base_url=server.url,
            api_key=server.key or NO_KEY,
            max_retries=0,
            timeout=patience,
            http_client=http,
            default_headers=none_of_openai,
        ) as client,
        await client.chat.completions.create(**body, stream=True) as answer,
    ):
        if PAGE in answer.response.headers.get("content-type", ""):
            raise ValueError("a page, where a reply should be")
        async for chunk in answer:
            if not isinstance(chunk, ChatCompletionChunk):
                raise ValueError("no chunk of a reply")
            yield chunk


async def _next(chunks: _Chunks) -> "ChatCompletionChunk | None":
    return await anext(chunks, None)


def _result(
    task: "asyncio.Task[ChatCompletionChunk | None]", server: Server
) -> "ChatCompletionChunk | None":
    """Return the chunk that was awaited; None at the end.

    Raises:
        Fault: something else came.
    """
    import httpx2
    from openai import OpenAIError

    try:
        return task.result()
    except (OpenAIError, httpx2.HTTPError, OSError, ValueError) as error:
        raise fault_of(error, server) from error


def _says_something(chunk: "ChatCompletionChunk") -> bool:
    """Whether a chunk is more than the sign that a reply will come.

    No text at all is something too, once the role was told: so `qwen-agent serve` says that it is
    writing a call.
    """
    for choice in chunk.choices or ():
        delta = choice.delta
        if delta is None or choice.finish_reason:
            return True
        extra = delta.model_extra or {}
        is_sign = delta.content == "" and delta.role is None
        if delta.content or delta.tool_calls or is_sign or any(extra.values()):
            return True
    return False


def _slow(server: Server, patience_s: float, has_begun: bool) -> ModelUnavailable:
    setting = "between_tokens_s" if has_begun else "first_token_s"
    what = "in the midst of a reply" if has_begun else "of a reply"
    return ModelUnavailable(
        f"{server.url} sent nothing {what} for {patience_s:g} s; [engine] {setting} is how long "
        "it may take."
    )


async def _leave(chunks: _Chunks) -> None:
    """Close the connection, whatever is still awaited on it."""
    await _end_tasks()
    await chunks.aclose()
    await asyncio.sleep(0)  # what the SDK had open below that closes itself, layer by layer
    await _end_tasks()


async def _end_tasks() -> None:
    while left := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await asyncio.sleep(0)
