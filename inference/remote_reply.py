"""The chunks of one streamed reply as pieces, whichever way its server takes replies apart.

Thoughts come in a field of their own, under one of two names, or inside of <think> in the text.
Calls come apart, or as the text that the model wrote, which our own parser then reads. Of a server
that opens the thought in the prompt and takes nothing apart only the end of it is seen.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inference.calls import read_arguments
from inference.gathered import Gathered
from inference.messages import (
    BadToolCall,
    Message,
    Piece,
    Thinking,
    ToolCall,
    ToolSpec,
    WritingCall,
)
from inference.parser import NEWS_BYTES, ReplyParser
from inference.profiles import CALL_CLOSE, CALL_OPEN, THINK_CLOSE, THINK_OPEN, CallSyntax

if TYPE_CHECKING:
    from openai.types import CompletionUsage
    from openai.types.chat import ChatCompletionChunk

THOUGHT_FIELDS = ("reasoning_content", "reasoning")
_TAGS = (THINK_OPEN, THINK_CLOSE, CALL_OPEN, CALL_CLOSE)
_TAG = re.compile("(" + "|".join(map(re.escape, _TAGS)) + ")")
_CUT = "The reply was cut off inside a call; nothing was done. Write less at once."


class ReplyReader:
    """Reads one reply."""

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        syntax: CallSyntax,
        thinks: bool,
        begins_in_thought: bool,
        max_new_tokens: int,
    ) -> None:
        """Begin to read.

        Args:
            tools: whose schemas say how values are typed.
            syntax: that of the family, shown to a model that got a call wrong.
            thinks: whether the model was asked to think first.
            begins_in_thought: its server opens the thought in the prompt and does not say so.
            max_new_tokens: where it was to be cut off; not every server says that it was.
        """
        self._max_new_tokens = max_new_tokens
        self._gathered = Gathered()
        self._text = _TextReader(tools, syntax, thinks, begins_in_thought, self._lose_opener)
        self._calls = _Calls(tools)
        self.finish_reason: str | None = None
        """Why it ended, in the server's word; None while it has not."""
        self.usage: CompletionUsage | None = None
        self.lost_opener = False
        """Whether a thought ended that nobody saw begin."""

    @property
    def has_shown(self) -> bool:
        """Whether anything of it was passed on."""
        gathered = self._gathered
        return bool(gathered.text or gathered.thinking or gathered.calls) or self._calls.has_begun

    @property
    def is_thinking(self) -> bool:
        """Whether there is nothing of it yet but a thought."""
        said = self._gathered
        return bool(said.thinking) and not (said.text or said.calls or self._calls.has_begun)

    @property
    def is_cut(self) -> bool:
        """Whether it ended where it was to be cut off, and not by itself."""
        is_full = self._num_new >= self._max_new_tokens
        return self.finish_reason == "length" or (is_full and self.finish_reason != "stop")

    @property
    def _num_new(self) -> int:
        """Tokens of it, as the server counts; 0 where it does not."""
        return self.usage.completion_tokens if self.usage else 0

    @property
    def thinking(self) -> str:
        """What it has thought so far."""
        return self._gathered.thinking

    def feed(self, chunk: "ChatCompletionChunk") -> Iterator[Piece]:
        """Yield what a chunk completes."""
        self.usage = _sound(chunk.usage) or self.usage
        for choice in (chunk.choices or ())[:1]:
            self.finish_reason = choice.finish_reason or self.finish_reason
            if choice.delta is None:  # so some servers end
                continue
            extra = choice.delta.model_extra or {}
            thought = next((extra[name] for name in THOUGHT_FIELDS if extra.get(name)), "")
            if str(thought).strip() or (thought and self._gathered.thinking):
                yield from self._gathered.keep([Thinking(_utf8(str(thought)))])
            if choice.delta.content:
                yield from self._gathered.keep(self._text.feed(_utf8(choice.delta.content)))
            for delta in choice.delta.tool_calls or ():
                yield from self._gathered.keep(self._calls.feed(delta))

    def end(self) -> Iterator[Piece]:
        """Yield the rest."""
        cut_at = (self._num_new or self._max_new_tokens) if self.is_cut else 0
        yield from self._gathered.keep(self._text.end(cut_at))
        yield from self._gathered.keep(self._calls.end(cut_at))

    def message(self) -> Message:
        """Return the whole reply."""
        said = self._gathered
        said.thinking, said.text = said.thinking.strip(), said.text.lstrip("\n")
        return said.message()

    def _lose_opener(self) -> None:
        """Take the text until now for the thought that it was."""
        said, self.lost_opener = self._gathered, True
        said.thinking, said.text = said.thinking + said.text, ""


def _utf8(text: str) -> str:
    """Return what can be written: halves of a letter, as some servers cut them, are replaced."""
    return text.encode("utf-8", "replace").decode()


def _sound(usage: "CompletionUsage | None") -> "CompletionUsage | None":
    """Return what a server says of the cost, if it can be so; the SDK checks nothing."""
    if usage is None:
        return None
    numbers: tuple[object, ...] = (usage.prompt_tokens, usage.completion_tokens)
    return usage if all(isinstance(one, int) and one >= 0 for one in numbers) else None


class _Letters:
    """A vocabulary for the parser where no ids are sent: four tags, and one word for any text."""

    WORD = len(_TAGS)
    controls: Mapping[str, int] = {tag: number for number, tag in enumerate(_TAGS)}

    def __init__(self) -> None:
        self.word = ""
        """What the word stands for just now."""

    def has_control(self, name: str) -> bool:
        """Whether it has a tag."""
        return name in self.controls

    def token_bytes(self, token: int) -> bytes:
        """Return what is written there."""
        return (self.word if token == self.WORD else _TAGS[token]).encode()


class _TextReader:
    """Reads the text of a reply; a tag is told by its letters, where it can be one."""

    def __init__(
        self,
        tools: Sequence[ToolSpec],
        syntax: CallSyntax,
        thinks: bool,
        begins_in_thought: bool,
        on_lost_opener: Callable[[], None],
    ) -> None:
        self._letters = _Letters()
        begins_in_thought = thinks and begins_in_thought
        opener = (self._letters.controls[THINK_OPEN],) if begins_in_thought else ()
        self._parser = ReplyParser(self._letters, tools, opener, syntax)
        self._on_lost_opener = on_lost_opener
        self._may_think = thinks and not begins_in_thought
        """Whether a thought may come, or may have begun unseen."""
        self._held = ""
        """The beginning of a tag, perhaps."""
        self._is_empty = True
        """Whether there were only blanks so far."""

    def feed(self, text: str) -> Iterator[Piece]:
        """Yield what more text completes."""
        *parts, rest = _TAG.split(self._held + text)
        start = rest.rfind("<")
        is_begun = start >= 0 and any(tag.startswith(rest[start:]) for tag in _TAGS)
        shown, self._held = (rest[:start], rest[start:]) if is_begun else (rest, "")
        for part in filter(None, (*parts, shown)):
            yield from self._take(part)
        if (writing := self._parser.news()) is not None:
            yield writing

    def end(self, cut_at: int) -> Iterator[Piece]:
        """Yield the rest."""
        if self._held:
            yield from self._take_word(self._held)
        yield from self._parser.flush(cut_at)

    def _take(self, part: str) -> Iterator[Piece]:
        if part == THINK_CLOSE and self._may_think and not self._is_empty:
            self._may_think = False
            self._on_lost_opener()
        elif part in _TAGS and self._is_meant(part):
            self._may_think = self._may_think and part != THINK_OPEN
            yield from self._parser.feed(self._letters.controls[part])
        else:
            yield from self._take_word(part)

    def _take_word(self, text: str) -> Iterator[Piece]:
        self._is_empty = self._is_empty and not text.strip()
        self._letters.word = text
        yield from self._parser.feed(self._letters.WORD)

    def _is_meant(self, tag: str) -> bool:
        """Whether a tag can be one here: a reply thinks at its beginning, or not at all."""
        if tag == THINK_OPEN:
            return self._is_empty
        return tag != THINK_CLOSE or self._parser.is_thinking or self._is_empty


@dataclass
class _Writing:
    """A call that comes in parts."""

    index: int
    id: str
    name: str
    arguments: str = ""
    num_told: int = 0


class _Calls:
    """Reads the calls that a server has taken apart."""

    def __init__(self, tools: Sequence[ToolSpec]) -> None:
        self._tools = tools
        self._open: _Writing | None = None
        self.has_begun = False

    def feed(self, delta: Any) -> Iterator[Piece]:
        """Take a part of one; yield the one before it, which is whole then."""
        function = delta.function
        index, name = delta.index or 0, (function and function.name) or ""
        is_new = self._open is None or index != self._open.index
        if self._open is not None and name and delta.id not in (None, "", self._open.id):
            is_new = True  # some servers give all the same number
        if is_new:
            yield from self.end()
            self._open, self.has_begun = _Writing(index, delta.id or "", ""), True
        assert self._open is not None, "one was just begun"
        self._open.name = self._open.name or name
        part = (function and function.arguments) or ""
        self._open.arguments += part if isinstance(part, str) else json.dumps(part)
        yield from self._news(self._open)

    def end(self, cut_at: int = 0) -> Iterator[ToolCall | BadToolCall]:
        """Yield the last one; nothing that may be cut short is carried out, whole as it looks."""
        call, self._open = self._open, None
        if call is None:
            return
        if cut_at:
            raw = f'{{"name": "{call.name}", "arguments": {call.arguments}'
            yield BadToolCall(raw, _CUT, cut_at)
        else:
            yield read_arguments(call.name, call.arguments, self._tools)

    def _news(self, call: _Writing) -> Iterator[WritingCall]:
        num_bytes = len(call.arguments)
        if call.name and num_bytes >= call.num_told + NEWS_BYTES:
            call.num_told = num_bytes
            yield WritingCall(call.name, num_bytes)
