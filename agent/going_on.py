"""Conversations that go on from one that the engine has read, as attempts do from a talk.

What is said in them is recorded without what went before: it is put before it where the model is
asked. So the budget, the journal and the short form of an attempt are those of the attempt alone,
and of the talk no token is read again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from agent.context import num_tokens
from agent.models import NANO
from agent.turn import Turn
from agent.wording import prompt
from inference.chat import Cancel, ChatModel
from inference.messages import Message, Piece, Prefill, ReplyOptions, ToolSpec, Usage

MAX_SHARE = 0.25
"""Of the window, for what went before; the rest is for the attempts."""


def going_on(turn: Turn) -> ChatModel:
    """Return the model of a talk as one that goes on from what was said in it.

    It is the model itself where that would not do: nano knows no such conversation, and a long one
    would leave no room.
    """
    chat, session = turn.parts.chat, turn.session
    size = num_tokens(session, chat.count_tokens)
    if chat.name == NANO or size > MAX_SHARE * chat.context_tokens:
        return chat
    return GoingOn(chat, tuple(session.messages), turn.parts.specs)


class GoingOn:
    """A `ChatModel` that has had a conversation already, which ends with what a person asks for."""

    def __init__(
        self, chat: ChatModel, before: tuple[Message, ...], tools: tuple[ToolSpec, ...]
    ) -> None:
        """Take that conversation, and its tools: with others it would have to be read again."""
        self._chat = chat
        self._before = before
        self._tools = tools

    @property
    def name(self) -> str:
        """What a person calls the model."""
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
        """Stream the next message; see `ChatModel.reply`."""
        return self._chat.reply(self._joined(messages), self._tools, options, cancel)

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read nothing ahead: what it goes on from has been read."""
        yield from ()

    def _joined(self, messages: Sequence[Message]) -> list[Message]:
        """Put what went before in the place of the system message, as one prompt with the first."""
        *before, asked = self._before
        first, *rest = messages[1:]
        words = prompt("attempt_in_talk", asked=asked.content, words=first.content)
        return [*before, replace(asked, content=words), *rest]
