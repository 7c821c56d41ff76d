"""Loads a model beside the thread that listens; knows nothing of how a model is loaded."""

import threading
from concurrent.futures import Future, wait

from agent.compose import ChatFactory
from agent.errors import RunCancelled
from agent.request import FixRequest
from inference.chat import ChatModel
from sandbox.base import Cancel

POLL_S = 0.05


def load_listening(factory: ChatFactory, request: FixRequest, cancel: Cancel) -> ChatModel:
    """Return what `factory` makes.

    Reading gigabytes cannot be broken off, so a cancelled load is left to itself: it changes
    nothing outside its own memory, and its thread does not keep the process alive.

    Raises:
        RunCancelled: the person did not want to wait; otherwise as `factory` does.
    """
    chat: Future[ChatModel] = Future()

    def load() -> None:
        try:
            chat.set_result(factory(request))
        except BaseException as error:
            chat.set_exception(error)

    threading.Thread(target=load, name="load the model", daemon=True).start()
    while not chat.done():
        if cancel():
            raise RunCancelled("cancelled while the model was loaded; nothing was changed")
        wait([chat], POLL_S)
    return chat.result()
