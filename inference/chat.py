"""The room's one door: a conversation in, the pieces of the next reply out."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from inference.messages import Message, Piece, Prefill, ReplyOptions, ToolSpec, Usage

Cancel = Callable[[], bool]
"""Asked often; true once the person wants everything to stop."""


def never() -> bool:
    """Be the `Cancel` of what nobody will stop."""
    return False


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

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read a conversation before anybody asks, so that the reply to come begins sooner.

        `draft` is how the text of its next prompt begins, as far as that is known; nothing of it is
        kept if the prompt is another one. The last piece is a `Usage`, of what no reply tells
        again; nothing comes if there is too little to read. Whoever else uses the engine goes
        first, and `cancel` is looked at between two chunks: what was read until then is kept.

        Raises:
            Cancelled: another conversation wants the model.
            ModelUnavailable: the engine went away.
        """
        ...
