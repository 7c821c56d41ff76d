"""Loads a model beside the threads that listen; knows nothing of how a model is loaded."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, wait

from agent.compose import ChatFactory
from agent.errors import RunCancelled
from agent.request import FixRequest
from inference.chat import ChatModel
from sandbox.base import Cancel

POLL_S = 0.05
LOADER = "load the model"
"""The name of the threads that do."""


class Loading:
    """A model that is there, or on its way.

    Reading gigabytes cannot be broken off, so whoever does not want to wait leaves it to itself:
    it changes nothing outside its own memory, and its thread does not keep the process alive.
    """

    def __init__(self, name: str, load: Callable[[], ChatModel]) -> None:
        """Begin to load what is called `name`."""
        self.name = name
        self.lock = threading.Lock()
        """Held by whoever asks the model, where several share it."""
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

    def wait(self, cancel: Cancel) -> ChatModel:
        """Return the model once it is there.

        Raises:
            RunCancelled: the person did not want to wait; otherwise as `load` does.
        """
        while not self._chat.done():
            if cancel():
                raise RunCancelled("cancelled while the model was loaded; nothing was changed")
            wait([self._chat], POLL_S)
        return self._chat.result()

    def _run(self, load: Callable[[], ChatModel]) -> None:
        try:
            self._chat.set_result(load())
        except BaseException as error:
            self._chat.set_exception(error)


def load_listening(factory: ChatFactory, request: FixRequest, cancel: Cancel) -> ChatModel:
    """Return what `factory` makes; raises as `Loading.wait` does."""
    return Loading(request.model, lambda: factory(request)).wait(cancel)
