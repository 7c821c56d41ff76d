"""One copy of each model for all talks of the process; they take turns, a reply each."""

import threading
from dataclasses import dataclass, field

from agent.compose import ChatFactory
from agent.one_at_a_time import Gate, OneAtATime
from agent.request import FixRequest
from inference.chat import ChatModel


@dataclass
class _Slot:
    loading: threading.Lock = field(default_factory=threading.Lock)
    gate: Gate = field(default_factory=Gate)
    chat: ChatModel | None = None


class SharedModels:
    """A `ChatFactory` that loads what it is asked for once."""

    def __init__(self, factory: ChatFactory) -> None:
        self._factory = factory
        self._lock = threading.Lock()
        self._slots: dict[tuple[str, str], _Slot] = {}

    def __call__(self, request: FixRequest) -> ChatModel:
        """Return the model that a request names; raises as the factory does."""
        with self._lock:
            slot = self._slots.setdefault((request.config.engine.url, request.model), _Slot())
        with slot.loading:
            if slot.chat is None:
                slot.chat = self._factory(request)
        return OneAtATime(slot.chat, slot.gate)
