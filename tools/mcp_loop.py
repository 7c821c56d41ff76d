"""The one thread in which everything asynchronous of MCP runs; the rest of the agent waits for it.

Here is how coroutines are begun there and waited for. What they do is `mcp_link.py`'s.
"""

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, wait
from typing import Any, TypeVar

from sandbox.base import Cancel

LOOK_S = 0.05
"""How long a cancel may wait to be seen."""
CLOSE_S = 10.0

T = TypeVar("T")


class Loop:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="mcp", daemon=True)
        self._thread.start()

    def begin(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine there; return at once."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def call(self, function: Callable[[], object]) -> None:
        """Call a function there; return at once.

        Raises:
            RuntimeError: the thread has ended.
        """
        self._loop.call_soon_threadsafe(function)

    def close(self) -> None:
        """End the thread; whatever still runs there is cancelled."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(CLOSE_S)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
        left = asyncio.all_tasks(self._loop)
        for task in left:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()


def nothing() -> None:
    """Be what is done meanwhile where nothing is."""


def wait_for(
    future: Future[Any], timeout_s: float, cancel: Cancel, meanwhile: Callable[[], None] = nothing
) -> bool:
    """Wait until a future is done; say whether it is. What is done meanwhile costs it no time."""
    deadline = time.monotonic() + timeout_s
    while not cancel() and (left_s := deadline - time.monotonic()) > 0:
        if wait([future], min(left_s, LOOK_S)).done:
            return True
        begun = time.monotonic()
        meanwhile()
        deadline += time.monotonic() - begun
    return False


def innermost(error: BaseException) -> str:
    """Name what went wrong inside of the groups that tasks wrap it in."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return str(error) or type(error).__name__
