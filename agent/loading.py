"""Loads a model beside the threads that listen; how a model is loaded is said in `compose.py`."""

import threading
import time
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, wait

from agent.compose import ChatFactory, for_all_at_once, load_chat
from agent.errors import RunCancelled
from agent.events import Event, ModelLoading, ModelProgress, Notice
from agent.load_news import LoadNews
from agent.one_at_a_time import Gate
from agent.request import FixRequest
from inference.chat import ChatModel
from inference.errors import InferenceError
from sandbox.base import Cancel

POLL_S = 0.05
TELL_S = 1.0
"""Between two events about how far it is."""
LOADER = "load the model"
"""The name of the threads that do."""


class Loading:
    """A model that is there, or on its way.

    Reading gigabytes cannot be broken off, so whoever does not want to wait leaves it to itself:
    it changes nothing outside its own memory, and its thread does not keep the process alive.
    """

    def __init__(self, name: str, load: Callable[[LoadNews], ChatModel]) -> None:
        """Begin to load what is called `name`; `load` may tell how far it is."""
        self.name = name
        self.news = LoadNews()
        self.gate = Gate()
        """Where several share it."""
        self._chat: Future[ChatModel] = Future()
        threading.Thread(target=self._run, args=(load,), name=LOADER, daemon=True).start()

    @property
    def is_done(self) -> bool:
        """Whether waiting takes no time, because it is there or cannot be had."""
        return self._chat.done()

    @property
    def chat(self) -> ChatModel | None:
        """The model, if it is there."""
        is_there = self._chat.done() and self._chat.exception() is None
        return self._chat.result() if is_there else None

    @property
    def fault(self) -> str:
        """Why it cannot be had, in a sentence; empty if it can, or that is not known yet."""
        error = self._chat.exception() if self._chat.done() else None
        return str(error) if isinstance(error, InferenceError) else ""

    def steps(self, cancel: Cancel) -> Generator[Event, None, ChatModel]:
        """Return the model once it is there; meanwhile tell how far it is.

        Raises:
            RunCancelled: the person did not want to wait; otherwise as `load` does.
        """
        told: ModelProgress | None = None
        told_s = 0.0
        while not self._chat.done():
            if cancel():
                raise RunCancelled("cancelled while the model was loaded; nothing was changed")
            wait([self._chat], POLL_S)
            progress = self.news.progress
            if progress is not None and time.monotonic() - told_s >= TELL_S:
                told, told_s = progress, time.monotonic()
                yield progress
            elif progress is None and told is not None:
                told = None
                yield ModelLoading(self.name)  # all is there, and now it is loaded
        return self._chat.result()

    def _run(self, load: Callable[[LoadNews], ChatModel]) -> None:
        try:
            self._chat.set_result(load(self.news))
        except BaseException as error:
            self._chat.set_exception(error)


def begin_loading(request: FixRequest, factory: ChatFactory | None) -> Loading:
    """Begin to load the model that a request names; with `factory`, if one is given."""
    if factory is None:
        return Loading(request.model, lambda news: load_chat(request, news))
    return Loading(request.model, lambda _news: factory(request))


def load_for_all(
    request: FixRequest, factory: ChatFactory | None, cancel: Cancel
) -> Generator[Event, None, Sequence[ChatModel]]:
    """Return the model as often as attempts are made at once; raises as `Loading.steps` does.

    `factory`, if one is given, makes each of them.
    """
    chat = yield from begin_loading(request, factory).steps(cancel)
    num = request.num_together
    if factory is not None:
        return [chat, *(factory(request) for _ in range(1, num))]
    chats = for_all_at_once(chat, request)
    if len(chats) < num:
        yield Notice(f"There is memory for {len(chats)} attempts at once, not for {num}.")
    return chats
