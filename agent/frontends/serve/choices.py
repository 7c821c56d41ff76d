"""The choices of an answer (`n`), told as they come: each is a reply in a thread of its own.

The first reads the prompt. When it begins to write, the others begin: what it has read is there for
them, and the engine reads a token of each in one forward where that is sooner. All are stopped when
nobody takes any more.
"""

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress

from agent.frontends.serve.answer import Answer
from agent.frontends.serve.asked import ChatRequest
from agent.frontends.serve.service import Finished, Service, Told
from inference.errors import Cancelled
from inference.messages import Prefill

Piece = tuple[Answer, Told]
"""What was told, and of which choice."""


async def told_by(
    service: Service, asked: ChatRequest, answers: Sequence[Answer]
) -> AsyncGenerator[Piece, None]:
    """Yield what the replies tell, until all have ended.

    Raises:
        InferenceError: one of them cannot be given.
    """
    loop = asyncio.get_running_loop()
    queue: asyncio.Queue[Piece | Exception] = asyncio.Queue()
    is_gone = threading.Event()

    def put(told: Piece | Exception) -> None:
        with suppress(RuntimeError):  # the loop has ended, and with it who listened
            loop.call_soon_threadsafe(queue.put_nowait, told)

    def work(answer: Answer) -> None:
        try:
            for told in service.reply(asked, answer, is_gone.is_set):
                put((answer, told))
        except Exception as error:  # it is raised again, where the request is answered
            put(error)

    def begin(answer: Answer) -> None:
        threading.Thread(target=work, args=(answer,), name="reply", daemon=True).start()

    first, *waiting = answers
    begin(first)
    num_left = len(answers)
    try:
        while num_left:
            piece = await queue.get()
            if isinstance(piece, Exception):
                raise piece
            answer, told = piece
            if not isinstance(told, Prefill):
                while waiting:
                    begin(waiting.pop(0))
            elif answer is not first:
                continue  # how far the prompt is was told by the first
            num_left -= isinstance(told, Finished)
            yield piece
    finally:
        is_gone.set()


async def finished(told: AsyncIterator[Piece]) -> dict[int, Finished]:
    """Wait for all replies; return what each ended with, by the number of its choice.

    Raises:
        InferenceError: one of them cannot be given.
    """
    ends = {answer.index: one async for answer, one in told if isinstance(one, Finished)}
    if not ends:
        raise Cancelled("stopped before it was whole")
    return ends
