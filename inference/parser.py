"""A streamed reply as pieces: text, thinking, calls.

A state machine over token *ids*: only a control token the model really produced opens a thought or
a call, so prose that mentions `<tool_call>` is prose, and nothing inside a thought is ever a call.
What stands inside a call is read by calls.py.
"""

from collections.abc import Iterable, Sequence
from enum import Enum

from inference.calls import ReadCall, read_call
from inference.messages import BadToolCall, Text, Thinking, ToolCall, ToolSpec
from inference.profiles import CALL_CLOSE, CALL_OPEN, TEXT_END, THINK_CLOSE, THINK_OPEN, TURN_END
from inference.tokenizer import Detokenizer, Tokenizer

ReplyPiece = Text | Thinking | ToolCall | BadToolCall


class _Inside(Enum):
    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"


class ReplyParser:
    """Turns the ids of one reply into pieces as they come."""

    def __init__(
        self, tokenizer: Tokenizer, tools: Sequence[ToolSpec] = (), opener: Iterable[int] = ()
    ) -> None:
        """Start after `opener`, the ids of the reply that the prompt already holds."""
        self._tokenizer = tokenizer
        self._tools = tools
        self._tag_of = {i: name for name, i in tokenizer.controls.items() if name in _TAGS}
        self._inside = _Inside.TEXT
        self._prose = _Prose(tokenizer)
        self._body = bytearray()
        self._depth = 0
        """How many calls are open inside a value that speaks of calls."""
        self._closed_at: int | None = None
        """Where `</tool_call>` first came while a value had no end: a lost tag, or the value's."""
        self._has_stopped = False
        for token in opener:
            self.feed(token)

    def feed(self, token: int) -> list[ReplyPiece]:
        """Take one id; return the pieces it completes."""
        tag = self._tag_of.get(token)
        if tag in (TURN_END, TEXT_END):
            self._has_stopped = True
            return []
        match self._inside, tag:
            case _Inside.CALL, _:
                return self._feed_call(token, tag)
            case _Inside.THOUGHT, name if name == THINK_CLOSE:
                return self._turn_to(_Inside.TEXT)
            case _Inside.TEXT, name if name == THINK_OPEN:
                return self._turn_to(_Inside.THOUGHT)
            case _Inside.TEXT, name if name == CALL_OPEN:
                return self._turn_to(_Inside.CALL)
            case _Inside.TEXT, name if name in (THINK_CLOSE, CALL_CLOSE):
                return []  # closes nothing: models close a thought twice after a forced close
        return self._say(self._prose.feed(token))

    def flush(self) -> list[ReplyPiece]:
        """End the reply; a call that was not closed is mended or refused."""
        if self._inside is not _Inside.CALL:
            return self._say(self._prose.flush())
        return self._end_call()

    def _turn_to(self, inside: _Inside) -> list[ReplyPiece]:
        pieces = self._say(self._prose.flush())
        self._inside = inside
        self._body, self._depth, self._closed_at = bytearray(), 0, None
        return pieces

    def _say(self, text: str) -> list[ReplyPiece]:
        if not text:
            return []
        return [Thinking(text) if self._inside is _Inside.THOUGHT else Text(text)]

    # --- inside a call ---------------------------------------------------------------------------

    def _feed_call(self, token: int, tag: str | None) -> list[ReplyPiece]:
        """Gather the body; a tag that stands inside a value is part of it."""
        if tag == CALL_OPEN and (lost := self._lost_call()) is not None:
            self._turn_to(_Inside.CALL)
            return [lost]
        if tag == CALL_CLOSE and self._depth == 0:
            read = self._read(len(self._body))
            if read.open_parameter is None:
                self._turn_to(_Inside.TEXT)
                return [read.call]
            self._closed_at = self._closed_at or len(self._body)
        self._depth += (tag == CALL_OPEN) - (tag == CALL_CLOSE and self._depth > 0)
        self._body += self._tokenizer.token_bytes(token)
        return []

    def _lost_call(self) -> BadToolCall | ToolCall | None:
        """Return the call before this one, if it ended without its tags."""
        if self._closed_at is not None and self._text_from(self._closed_at).strip() == CALL_CLOSE:
            return self._read(self._closed_at).call
        read = self._read(len(self._body))
        return read.call if read.is_closed and self._depth == 0 else None

    def _read(self, length: int) -> ReadCall:
        return read_call(self._body[:length].decode("utf-8", "replace"), self._tools)

    def _end_call(self) -> list[ReplyPiece]:
        """Read a call whose reply ended inside it; nothing that may be cut short is carried out."""
        at = len(self._body) if self._closed_at is None else self._closed_at
        read = self._read(at)
        if self._depth or self._text_from(at).strip() not in ("", CALL_CLOSE):
            reason = "A call has a parameter without </parameter>; close each before </tool_call>."
            return [BadToolCall(self._text_from(0), reason)]
        if not (read.is_closed or self._has_stopped or self._closed_at is not None):
            where = f"parameter {read.open_parameter}" if read.open_parameter else "a call"
            reason = f"The reply was cut off inside {where}; nothing was done. Write less at once."
            return [BadToolCall(self._text_from(0), reason)]
        return [read.call]

    def _text_from(self, start: int) -> str:
        return self._body[start:].decode("utf-8", "replace")


class _Prose:
    """Text as it streams, without the blank lines that frame it.

    Leading newlines are dropped; trailing blanks wait until more text follows them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._detokenizer = Detokenizer(tokenizer)
        self._held = ""
        self._has_begun = False

    def feed(self, token: int) -> str:
        """Return what can be shown now."""
        return self._release(self._detokenizer.feed(token))

    def flush(self) -> str:
        """Return the rest, and begin anew."""
        rest = self._release(self._detokenizer.flush())
        self._held, self._has_begun = "", False
        return rest

    def _release(self, text: str) -> str:
        text = self._held + text
        if not self._has_begun:
            text = text.lstrip("\n")
        shown = text.rstrip()
        self._held = text[len(shown) :]
        self._has_begun = self._has_begun or bool(shown)
        return shown


_TAGS = (TURN_END, TEXT_END, THINK_OPEN, THINK_CLOSE, CALL_OPEN, CALL_CLOSE)
