"""Recognizes a conversation that a client sends whole every time, and the replies in it.

A client tells a reply again in its own way: without the thought, with other blanks, its arguments
as another JSON. Rendered from that, the prompt would leave what the engine has read. So every reply
is remembered with the ids that it consists of, by all that was said before it and by what it said.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Sequence

from inference.messages import BadToolCall, Message, ToolCall, ToolSpec

MAX_TOKENS = 8_000_000
"""Of all replies that are remembered; at 8 bytes and an object each, some hundred megabytes."""

Line = tuple[bytes, ...]
"""A digest for every message: of it and of all before it."""


def line_of(messages: Sequence[Message], tools: Sequence[ToolSpec]) -> Line:
    """Return the digests of a conversation; thoughts and token ids are no part of them."""
    about = [[tool.name, tool.description, dict(tool.parameters)] for tool in tools]
    digest = _digest(b"", about)
    line: list[bytes] = []
    for message in messages:
        digest = _digest(digest, _told(message))
        line.append(digest)
    return tuple(line)


class Replies:
    """Those that were given; the oldest are forgotten. Any thread may ask."""

    def __init__(self, max_tokens: int = MAX_TOKENS) -> None:
        self._max_tokens = max_tokens
        self._num_tokens = 0
        self._known: OrderedDict[bytes, Message] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, line: Line, reply: Message) -> None:
        """Remember the reply that `line` ends with."""
        with self._lock:
            before = self._known.pop(line[-1], None)
            self._num_tokens += len(reply.token_ids) - len(before.token_ids if before else ())
            self._known[line[-1]] = reply
            while self._num_tokens > self._max_tokens:
                _, oldest = self._known.popitem(last=False)
                self._num_tokens -= len(oldest.token_ids)

    def restored(self, messages: Sequence[Message], line: Line) -> tuple[Message, ...]:
        """Return a conversation with the replies in it as they were given."""
        with self._lock:
            return tuple(map(self._restored, messages, line))

    def _restored(self, message: Message, digest: bytes) -> Message:
        if message.role != "assistant" or digest not in self._known:
            return message
        self._known.move_to_end(digest)
        return self._known[digest]


def _digest(before: bytes, said: object) -> bytes:
    text = json.dumps(said, sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(before + text.encode("utf-8", "surrogatepass")).digest()


def _told(message: Message) -> list[object]:
    calls = [_call(call) for call in message.tool_calls]
    pictures = [picture.digest for picture in message.pictures]
    return [message.role, message.content.strip(), calls, pictures]


def _call(call: ToolCall | BadToolCall) -> list[object]:
    if isinstance(call, BadToolCall):
        return [call.raw]
    return [call.name, dict(call.arguments)]
