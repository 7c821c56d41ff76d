"""A streamed reply as pieces: text, thinking, calls.

A state machine over token *ids*: only a control token the model really produced opens a thought or
a call, so prose that spells `<tool_call>` is prose, and nothing inside a thought is ever a call.
A model may also mention the tag with that very token: in the middle of a line, and followed by
what can be no call, it is a word like any other. Where a vocabulary has no such token, the letters
stand for it. What stands inside a call is read by calls.py.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Protocol

from inference.calls import ReadCall, begins_call, name_in, read_call
from inference.messages import BadToolCall, Text, Thinking, ToolCall, ToolSpec, WritingCall
from inference.profiles import (
    CALL_CLOSE,
    CALL_OPEN,
    TEXT_END,
    THINK_CLOSE,
    THINK_OPEN,
    TURN_END,
    CallSyntax,
)

NEWS_BYTES = 64
"""Of a call, after which it is told again how long it has become."""

MAX_HEAD_BYTES = 256
"""In which a call names its tool."""

ReplyPiece = Text | Thinking | ToolCall | BadToolCall


class Vocabulary(Protocol):
    """What must be known of the ids of a reply."""

    @property
    def controls(self) -> Mapping[str, int]:
        """The ids of tags and other control tokens by name."""
        ...

    def has_control(self, name: str) -> bool:
        """Whether there is a token for a tag; otherwise its letters stand for it."""
        ...

    def token_bytes(self, token: int) -> bytes:
        """Return what a token stands for."""
        ...


class _Inside(Enum):
    TEXT = "text"
    THOUGHT = "thought"
    CALL = "call"


class ReplyParser:
    """Turns the ids of one reply into pieces as they come."""

    def __init__(
        self,
        tokenizer: Vocabulary,
        tools: Sequence[ToolSpec] = (),
        opener: Iterable[int] = (),
        syntax: CallSyntax = "xml",
    ) -> None:
        """Start after `opener`, the ids of the reply that the prompt already holds.

        Args:
            tokenizer: of the model that replies.
            tools: whose schemas say how values are typed.
            opener: read as if the model had written it.
            syntax: that of the family, shown to a model that got a call wrong; both are read.
        """
        self._tools = tools
        self._syntax = syntax
        self._tags = _Tags(tokenizer)
        self._inside = _Inside.TEXT
        self._prose = _Prose()
        self._body = bytearray()
        self._depth = 0
        """How many calls are open inside a value that speaks of calls."""
        self._closed_at: int | None = None
        """Where `</tool_call>` first came while a value had no end: a lost tag, or the value's."""
        self._may_be_word = False
        """Whether the call that was opened last may turn out to be a word in a sentence."""
        self._num_words = 0
        """How many such words wait for the `</tool_call>` that may be mentioned after them."""
        self._has_stopped = False
        self._num_told = 0
        """Bytes of the open call when it was told of last."""
        self.num_thinking = 0
        """Tokens of thinking so far, tags not counted."""
        for token in opener:
            self.feed(token)
        self.num_thinking = 0

    @property
    def is_thinking(self) -> bool:
        """Whether a thought is open."""
        return self._inside is _Inside.THOUGHT

    def news(self) -> WritingCall | None:
        """Tell of the call that is being written, if there is enough that was not told yet."""
        num_bytes = len(self._body)
        if self._inside is not _Inside.CALL or num_bytes < self._num_told + NEWS_BYTES:
            return None
        name = name_in(self._body[:MAX_HEAD_BYTES].decode("utf-8", "replace"))
        self._num_told = num_bytes
        return WritingCall(name, num_bytes) if name else None

    def feed(self, token: int) -> list[ReplyPiece]:
        """Take one id; return the pieces it completes."""
        was_thinking = self.is_thinking
        pieces = [piece for tag, data in self._tags.feed(token) for piece in self._take(tag, data)]
        self.num_thinking += was_thinking and self.is_thinking and not self._has_stopped
        return pieces

    def flush(self, cut_at: int = 0) -> list[ReplyPiece]:
        """End the reply; a call that was not closed is mended or refused.

        Args:
            cut_at: the tokens at which it reached its limit; 0 if it ended otherwise.
        """
        pieces = [piece for tag, data in self._tags.flush() for piece in self._take(tag, data)]
        if self._may_be_word:
            pieces += self._as_word()
        if self._inside is _Inside.CALL:
            return [*pieces, self._end_call(cut_at)]
        return pieces + self._say(self._prose.flush())

    def _take(self, tag: str | None, data: bytes) -> list[ReplyPiece]:
        """Go on by a tag, or by the bytes between two."""
        if tag in (TURN_END, TEXT_END):
            self._has_stopped = True
            return []
        match self._inside, tag:
            case _Inside.CALL, _:
                return self._take_in_call(tag, data)
            case _Inside.THOUGHT, name if name == THINK_CLOSE:
                return self._turn_to(_Inside.TEXT)
            case _Inside.TEXT, name if name == THINK_OPEN:
                return self._turn_to(_Inside.THOUGHT)
            case _Inside.TEXT, name if name == CALL_OPEN:
                return self._open_call()
            case _Inside.TEXT, name if name == CALL_CLOSE and self._num_words:
                self._num_words -= 1
            case _Inside.TEXT, name if name in (THINK_CLOSE, CALL_CLOSE):
                return []  # closes nothing: models close a thought twice after a forced close
        return self._say(self._prose.feed(data))

    def _turn_to(self, inside: _Inside) -> list[ReplyPiece]:
        pieces = self._say(self._prose.flush())
        self._begin(inside)
        return pieces

    def _begin(self, inside: _Inside) -> None:
        self._inside = inside
        self._body, self._depth, self._closed_at = bytearray(), 0, None
        self._may_be_word = False
        self._num_told = 0

    def _say(self, text: str) -> list[ReplyPiece]:
        if not text:
            return []
        return [Thinking(text) if self._inside is _Inside.THOUGHT else Text(text)]

    # --- inside a call ---------------------------------------------------------------------------

    def _open_call(self) -> list[ReplyPiece]:
        """Begin a call; in the middle of a line only what comes next tells whether it is one."""
        if not self._prose.is_mid_line:
            return self._turn_to(_Inside.CALL)
        self._begin(_Inside.CALL)
        self._may_be_word = True
        return []

    def _take_in_call(self, tag: str | None, data: bytes) -> list[ReplyPiece]:
        """Gather the body; a tag that stands inside a value is part of it."""
        if self._may_be_word:
            is_call = begins_call((self._body + data).decode("utf-8", "replace"))
            if is_call is False:
                return self._as_word() + self._take(tag, data)
            self._body += data
            self._may_be_word = is_call is None
            return self._say(self._prose.flush()) if is_call else []
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
        self._body += data
        return []

    def _as_word(self) -> list[ReplyPiece]:
        """Go back to the sentence that only mentioned a call."""
        said = CALL_OPEN.encode() + bytes(self._body)
        self._begin(_Inside.TEXT)
        self._num_words += 1
        return self._say(self._prose.feed(said))

    def _lost_call(self) -> BadToolCall | ToolCall | None:
        """Return the call before this one, if it ended without its tags."""
        if self._closed_at is not None and self._text_from(self._closed_at).strip() == CALL_CLOSE:
            return self._read(self._closed_at).call
        read = self._read(len(self._body))
        return read.call if read.is_closed and self._depth == 0 else None

    def _read(self, length: int) -> ReadCall:
        return read_call(self._body[:length].decode("utf-8", "replace"), self._tools, self._syntax)

    def _end_call(self, cut_at: int) -> ToolCall | BadToolCall:
        """Read a call whose reply ended inside it; nothing that may be cut short is carried out."""
        at = len(self._body) if self._closed_at is None else self._closed_at
        read = self._read(at)
        where = f"parameter {read.open_parameter}" if read.open_parameter else "a call"
        if self._depth or self._text_from(at).strip() not in ("", CALL_CLOSE):
            reason = f"The value of {where} has no </parameter>; write it before </tool_call>."
            return BadToolCall(self._text_from(0), reason, cut_at)
        is_whole = read.is_closed and not read.has_lost_end
        is_ended = read.is_closed or self._has_stopped or self._closed_at is not None
        if not (is_whole if cut_at else is_ended):
            reason = f"The reply was cut off inside {where}; nothing was done. Write less at once."
            return BadToolCall(self._text_from(0), reason, cut_at)
        return read.call

    def _text_from(self, start: int) -> str:
        return self._body[start:].decode("utf-8", "replace")


class _Tags:
    """Tells the tags of a stream of ids from the bytes between them."""

    def __init__(self, tokenizer: Vocabulary) -> None:
        self._tokenizer = tokenizer
        self._tag_of = {i: name for name, i in tokenizer.controls.items() if name in _TAGS}
        self._name_of = {t.encode(): t for t in _CALL_TAGS if not tokenizer.has_control(t)}
        """Those that can only be told by their letters."""
        self._spelled = re.compile(b"(" + b"|".join(self._name_of) + b")")
        self._held = b""
        """The beginning of such a tag, perhaps."""

    def feed(self, token: int) -> Iterator[tuple[str | None, bytes]]:
        """Yield what this id completes: tags, with their bytes, and bytes that are none."""
        data = self._tokenizer.token_bytes(token)
        if token in self._tag_of:
            yield from self.flush()
            yield self._tag_of[token], data
        elif self._name_of:
            yield from self._split(self._held + data)
        else:
            yield None, data

    def flush(self) -> Iterator[tuple[str | None, bytes]]:
        """Yield what was held back: no tag came of it."""
        held, self._held = self._held, b""
        if held:
            yield None, held

    def _split(self, data: bytes) -> Iterator[tuple[str | None, bytes]]:
        """Find the tags that are spelled; hold back what may be the beginning of one."""
        *parts, rest = self._spelled.split(data)
        for part in filter(None, parts):
            yield self._name_of.get(part), part
        start = rest.rfind(b"<")
        is_begun = start >= 0 and any(tag.startswith(rest[start:]) for tag in self._name_of)
        shown, self._held = (rest[:start], rest[start:]) if is_begun else (rest, b"")
        if shown:
            yield None, shown


class _Prose:
    """Text as it streams, in whole characters and without the blank lines that frame it.

    Leading newlines are dropped; trailing blanks wait until more text follows them.
    """

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._has_begun = False
        self.is_mid_line = False
        """Whether there is more than blanks since the last newline."""

    def feed(self, data: bytes) -> str:
        """Return what can be shown now."""
        return self._release(self._decoder.decode(data))

    def flush(self) -> str:
        """Return the rest, and begin anew; half a character becomes U+FFFD."""
        rest = self._release(self._decoder.decode(b"", final=True))
        self._decoder.reset()
        self._held, self._has_begun, self.is_mid_line = "", False, False
        return rest

    def _release(self, text: str) -> str:
        _, newline, line = text.rpartition("\n")
        self.is_mid_line = bool(line.strip()) or (self.is_mid_line and not newline)
        text = self._held + text
        if not self._has_begun:
            text = text.lstrip("\n")
        shown = text.rstrip()
        self._held = text[len(shown) :]
        self._has_begun = self._has_begun or bool(shown)
        return shown


_CALL_TAGS = (CALL_OPEN, CALL_CLOSE)
_TAGS = (TURN_END, TEXT_END, THINK_OPEN, THINK_CLOSE, *_CALL_TAGS)
