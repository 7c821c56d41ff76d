"""A model that several talks share: their replies take turns, each whole; knows no talk.

What one of them has read ahead, before anybody asks, gives way to a reply of any other.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from inference.chat import Cancel, ChatModel
from inference.errors import Cancelled
from inference.messages import Message, Piece, Prefill, ReplyOptions, ToolSpec, Usage

POLL_S = 0.05
IN_USE = "another talk has the model"


class Gate:
    """Lets one at a time have the model."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking: set[object] = set()

    @property
    def is_wanted(self) -> bool:
        """Whether a reply waits for the model."""
        return bool(self._asking)

    @contextmanager
    def held(self, cancel: Cancel) -> Iterator[None]:
        """Wait for the others, and have the model.

        Raises:
            Cancelled: it was not to be waited for.
        """
        me = object()
        self._asking.add(me)
        try:
            while not self._lock.acquire(timeout=POLL_S):
                if cancel():
                    raise Cancelled("stopped while another talk had the model")
        finally:
            self._asking.discard(me)
        try:
            yield
        finally:
            self._lock.release()

    @contextmanager
    def spare(self) -> Iterator[None]:
        """Have the model while nobody wants it.

        Raises:
            Cancelled: somebody has it.
        """
        if self.is_wanted or not self._lock.acquire(blocking=False):
            raise Cancelled(IN_USE)
        try:
            yield
        finally:
            self._lock.release()


class OneAtATime:
    """A `ChatModel` over another one that must not be asked twice at once."""

    def __init__(self, chat: ChatModel, gate: Gate) -> None:
        """Share `chat` with all that go through the same gate."""
        self._chat = chat
        self._gate = gate

    @property
    def name(self) -> str:
        """What a person calls it."""
        return self._chat.name

    @property
    def context_tokens(self) -> int:
        """The window of the model."""
        return self._chat.context_tokens

    @property
    def can_see(self) -> bool:
        """Whether user messages may show pictures."""
        return self._chat.can_see

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is, encoded on its own."""
        return self._chat.count_tokens(text)

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Wait for the others, then stream the next message; see `ChatModel.reply`.

        Raises:
            Cancelled: it was not to be waited for.
        """
        with self._gate.held(cancel):
            yield from self._chat.reply(messages, tools, options, cancel)

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read ahead until a reply is wanted; see `ChatModel.read`.

        Raises:
            Cancelled: another talk has the model, or wants it.
        """
        with self._gate.spare():
            yield from self._chat.read(
                messages, tools, draft, lambda: cancel() or self._gate.is_wanted
            )
            if self._gate.is_wanted:
                raise Cancelled(IN_USE)
