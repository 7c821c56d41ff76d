"""How long things are for a model in a server: what it counts, what it measured, what is guessed.

A guess is rather too long than too short: a prompt that does not fit is refused, or cut unseen.
"""

from collections.abc import Sequence
from functools import lru_cache

from inference.messages import Message, ToolSpec
from inference.pictures import num_tokens_of
from inference.remote_server import ServedModel, Server

DEFAULT_WINDOW = 32_768
"""Of a server that does not say, and about which the settings do not either."""
FRAME_TOKENS = 8
"""Around the text of a message, about."""
BYTES_OF_A_TOKEN = 3
"""At least, of text in any language; a digit is a token."""
NUM_REMEMBERED = 16_384


def estimated(text: str) -> int:
    """Return how many tokens a text may be."""
    num_digits = sum(character.isdigit() for character in text)
    num_bytes = len(text.encode(errors="replace")) - num_digits
    return num_digits + -(-num_bytes // BYTES_OF_A_TOKEN)


def size_of(message: Message) -> int:
    """Return how many tokens a message may add."""
    calls = "".join(map(str, message.tool_calls))
    texts = (message.content, message.thinking, *message.sections, calls)
    num_seen = sum(map(num_tokens_of, message.pictures))
    return FRAME_TOKENS + num_seen + sum(map(estimated, texts))


class Lengths:
    """Counts for one model of a server."""

    def __init__(self, server: Server, model: ServedModel) -> None:
        """Find out what the server tells."""
        said, wanted = server.window(model), server.settings.context_tokens
        self.says_window = bool(said or wanted)
        self.window = min(said or wanted or DEFAULT_WINDOW, wanted or said or DEFAULT_WINDOW)
        """Tokens of prompt and reply together."""
        self.counts = server.count(model.name, "token") is not None
        """Whether the server counts the tokens of texts."""
        self._server, self._model = server, model.name
        self._measured: tuple[tuple[Message, ...], int] = ((), 0)
        self.count = lru_cache(NUM_REMEMBERED)(self._count)
        """Returns how many tokens a text is."""

    def of(self, messages: Sequence[Message], tools: Sequence[ToolSpec]) -> int:
        """Return how long a prompt is: what the server measured of it, and what came since."""
        measured, length = self._measured
        if measured and tuple(messages[: len(measured)]) == measured:
            return length + sum(map(size_of, messages[len(measured) :]))
        words = (f"{tool.name}{tool.description}{dict(tool.parameters)}" for tool in tools)
        return sum(map(estimated, words)) + sum(map(size_of, messages))

    def measure(self, messages: Sequence[Message], num_tokens: int) -> None:
        """Remember the length of a conversation, as the server said it."""
        self._measured = tuple(messages), num_tokens

    def _count(self, text: str) -> int:
        count = self._server.count(self._model, text) if self.counts else None
        return estimated(text) if count is None else count
