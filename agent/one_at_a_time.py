"""A model that several talks share: their replies take turns, each whole; knows no talk."""

import threading
from collections.abc import Iterator, Sequence

from inference.chat import Cancel, ChatModel
from inference.errors import Cancelled
from inference.messages import Message, Piece, ReplyOptions, ToolSpec

POLL_S = 0.05


class OneAtATime:
    """A `ChatModel` over another one that must not be asked twice at once."""

    def __init__(self, chat: ChatModel, lock: threading.Lock) -> None:
        """Share `chat` with all that hold the same lock."""
        self._chat = chat
        self._lock = lock

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
        while not self._lock.acquire(timeout=POLL_S):
            if cancel():
                raise Cancelled("stopped while another talk had the model")
        try:
            yield from self._chat.reply(messages, tools, options, cancel)
        finally:
            self._lock.release()
