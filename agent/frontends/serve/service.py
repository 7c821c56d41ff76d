"""One request answered: the conversation recognized, a seat found, the reply told as it comes."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent.frontends.serve.answer import Answer, Json, StopWords
from agent.frontends.serve.asked import ChatRequest, messages_of
from agent.frontends.serve.desk import Desk
from agent.frontends.serve.line import Replies, line_of
from agent.frontends.serve.shown import picture_of
from inference.chat import Cancel
from inference.errors import ContextOverflow, PictureUnreadable
from inference.local import LocalChat
from inference.messages import (
    BadToolCall,
    Message,
    Picture,
    Piece,
    Prefill,
    ReplyEnd,
    Text,
    Thinking,
    ToolCall,
    WritingCall,
)
from inference.profiles import CALL_CLOSE, CALL_OPEN


@dataclass(frozen=True)
class Delta:
    """More of the answer."""

    content: Json


@dataclass(frozen=True)
class Finished:
    """The last thing told."""

    end: ReplyEnd
    is_cut: bool
    """Whether it ended where the client wanted, and not the model."""


Told = Prefill | Delta | Finished

MAX_BYTES_PER_TOKEN = 128
"""Of a text that may fit the window; to count the tokens of a longer one would take too long."""
SIGN_OF_LIFE = Delta({"content": ""})
"""Told while a call is written, which comes whole."""


class Service:
    """Answers requests, each in a thread of its own."""

    def __init__(self, chat: LocalChat, desk: Desk, pictures: Path) -> None:
        """Answer with the model of `chat`, which has a seat at the desk.

        `pictures` is a folder of our own where those that clients show are kept.
        """
        self.name = Path(chat.name).name if chat.name.startswith(("/", "~", ".")) else chat.name
        self.context_tokens = chat.context_tokens
        self._chat = chat
        self._desk = desk
        self._pictures = pictures
        self._replies = Replies()
        self._is_ending = threading.Event()

    def end(self) -> None:
        """Let all replies end where they are."""
        self._is_ending.set()

    def reply(self, asked: ChatRequest, answer: Answer, cancel: Cancel) -> Iterator[Told]:
        """Tell the reply, which `answer` gathers.

        Raises:
            Cancelled: nobody listens any more.
            InferenceError: it cannot be given.
        """
        if asked.num_bytes > MAX_BYTES_PER_TOKEN * self.context_tokens:
            raise ContextOverflow(
                f"The conversation is {asked.num_bytes:,} bytes long; the window of {self.name} is "
                f"{self.context_tokens:,} tokens."
            )
        tools = asked.specs
        told_messages = messages_of(asked, self._show)
        line = line_of(told_messages, tools)
        messages = self._replies.restored(told_messages, line)
        preset = self._chat.profile.sampling(asked.thinks)
        options = asked.options(preset, self.context_tokens, answer.index)
        stop = StopWords(asked.stops)
        enough = threading.Event()

        def is_left() -> bool:
            return cancel() or self._is_ending.is_set()

        with self._desk.seat(line, is_left) as seat:
            pieces = seat.chat.reply(messages, tools, options, lambda: enough.is_set() or is_left())
            for piece in _bad_calls_as_text(pieces):
                match piece:
                    case Prefill():
                        yield piece
                    case WritingCall():
                        yield SIGN_OF_LIFE
                    case Text(text):
                        if told := stop.feed(text):
                            yield Delta(answer.add(Text(told)))
                        if stop.is_found:
                            enough.set()
                    case Thinking() if not enough.is_set():
                        yield Delta(answer.add(piece))
                    case ToolCall() if not enough.is_set():
                        yield Delta(answer.add(piece))
                        if asked.parallel_tool_calls is False:
                            enough.set()
                    case ReplyEnd():
                        if rest := stop.rest():
                            yield Delta(answer.add(Text(rest)))
                        seat.line = line_of([*told_messages, _as_told(answer, piece)], tools)
                        if not stop.is_found and (enough.is_set() or not is_left()):
                            self._replies.remember(seat.line, piece.message)
                        yield Finished(piece, enough.is_set())

    def _show(self, address: str) -> Picture:
        if not self._chat.can_see:
            raise PictureUnreadable(f"{self.name} sees no pictures; send text only")
        return picture_of(address, self._pictures)


def _bad_calls_as_text(pieces: Iterator[Piece]) -> Iterator[Piece]:
    """Tell a call that could not be read as it was written; one that was cut off is not closed."""
    close = ""
    for piece in pieces:
        is_cut = isinstance(piece, ReplyEnd) and piece.stop_reason != "end_turn"
        if close and not is_cut:
            yield Text(close)
        close = ""
        if isinstance(piece, BadToolCall):
            yield Text(f"{CALL_OPEN}{piece.raw}")
            close = CALL_CLOSE
        else:
            yield piece


def _as_told(answer: Answer, end: ReplyEnd) -> Message:
    """Return the reply as the client will tell it again."""
    calls = [call for call in end.message.tool_calls if isinstance(call, ToolCall)]
    return Message("assistant", answer.text, tool_calls=tuple(calls[: len(answer.calls)]))
