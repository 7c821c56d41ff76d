"""The room's one door: a conversation in, the pieces of the next reply out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from inference.messages import Message, Piece, ReplyOptions, ToolSpec

Cancel = Callable[[], bool]


class ChatModel(Protocol):
    """Anything that continues a conversation."""

    @property
    def name(self) -> str:
        """What a person calls it: `nano`, a folder, a hub id."""
        ...

    @property
    def context_tokens(self) -> int:
        """The window: prompt and reply together may be this long."""
        ...

    @property
    def can_see(self) -> bool:
        """Whether user messages may show pictures."""
        ...

    def count_tokens(self, text: str) -> int:
        """Return how many tokens a text is, encoded on its own."""
        ...

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Stream the next assistant message; the last piece is a `ReplyEnd`.

        `messages` is the whole conversation and starts with the system message. Conversations
        that share a prefix share its state: a rewind is a shorter list, a fork is a second list.

        Raises:
            ContextOverflow: no room is left for a reply.
            ModelUnavailable: the engine went away.
        """
        ...
