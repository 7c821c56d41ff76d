"""Questions of one MCP server to the person, from the loop's thread to the one that runs the turn.

A server may ask while it answers a call, and not before: who has not been allowed yet asks nobody.
"""

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress

from tools.mcp_form import Form, NotAsked, Values, form_of
from tools.mcp_words import Json

MAX_FORMS = 5
"""Of one call."""
Fill = Callable[[Form], Values | None]
"""Lets a person fill a form in; None if they will not."""


def nobody_fills(form: Form) -> None:
    """Be the person where there is none."""


class Asking:
    """The questions of one server."""

    def __init__(self, server: str, fill: Fill) -> None:
        self._server = server
        self._fill = fill
        self._waiting: queue.Queue[tuple[Form, Future[Values | None]]] = queue.Queue()
        self._left = 0
        self.declined: list[str] = []
        """Why nobody was asked, by the questions of the last call."""

    @contextmanager
    def open(self) -> Iterator[None]:
        """Let the server ask while a call runs; what is not answered at its end is declined."""
        self._left, self.declined = MAX_FORMS, []
        try:
            yield
        finally:
            self._left = 0
            with suppress(queue.Empty):
                while True:
                    self._waiting.get_nowait()[1].set_result(None)

    def put(self, asked: Json) -> Future[Values | None]:
        """Take a question; in the loop's thread. The future has what the person gave."""
        answer: Future[Values | None] = Future()
        answer.set_running_or_notify_cancel()  # it is answered, even if nobody waits any more
        try:
            if not self._left:
                raise NotAsked("it may not ask now")
            form = form_of(self._server, asked)
        except NotAsked as error:
            self.declined.append(str(error))
            answer.set_result(None)
            return answer
        self._left -= 1
        self._waiting.put((form, answer))
        return answer

    def answer(self) -> None:
        """Let the person fill in what waits; in the thread that waits for the call."""
        with suppress(queue.Empty):
            form, answer = self._waiting.get_nowait()
            given: Values | None = None
            try:
                given = self._fill(form)
            finally:
                answer.set_result(given)
