"""Our pieces of a reply as the objects of OpenAI's API: one for all, or a chunk for each."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from inference.messages import ReplyEnd, Text, Thinking, ToolCall

Json = dict[str, Any]


class StopWords:
    """Finds strings at which an answer ends, also where they come in pieces."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self._words = words
        self._held = ""
        self.is_found = False

    def feed(self, text: str) -> str:
        """Take more of the text; return what can be told of it."""
        if not self._words or self.is_found:
            return "" if self.is_found else text
        self._held += text
        first = min((at for word in self._words if (at := self._held.find(word)) >= 0), default=-1)
        if first >= 0:
            self.is_found = True
            told, self._held = self._held[:first], ""
            return told
        length = max(_num_begun(self._held, word) for word in self._words)
        told, self._held = self._held[: len(self._held) - length], self._held[-length:]
        if not length:
            self._held = ""
        return told

    def rest(self) -> str:
        """Return what was held back, when no more comes."""
        told, self._held = self._held, ""
        return told


def _num_begun(text: str, word: str) -> int:
    """Return how many letters at the end of a text may be the beginning of a word."""
    lengths = range(min(len(text), len(word) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(word[:length])), 0)


@dataclass
class Answer:
    """One choice while it is made: what is the same in all its objects, and what it came to."""

    model: str
    index: int = 0
    """Which of the choices of a request."""
    id: str = field(default_factory=lambda: f"chatcmpl-{uuid4().hex[:24]}")
    created: int = field(default_factory=lambda: int(time.time()))
    text: str = ""
    thought: str = ""
    calls: list[Json] = field(default_factory=list)

    def others(self, num: int) -> list["Answer"]:
        """Return the further choices of the same request."""
        return [Answer(self.model, index, self.id, self.created) for index in range(1, num)]

    def add(self, piece: Text | Thinking | ToolCall) -> Json:
        """Take a piece in; return it as a delta."""
        match piece:
            case Text(text):
                self.text += text
                return {"content": text}
            case Thinking(text):
                self.thought += text
                return {"reasoning_content": text}
            case ToolCall(name, arguments):
                written = json.dumps(dict(arguments), ensure_ascii=False)
                function = {"name": name, "arguments": written}
                call = {"id": f"call_{uuid4().hex[:24]}", "type": "function", "function": function}
                self.calls.append(call)
                return {"tool_calls": [{"index": len(self.calls) - 1, **call}]}

    def chunk(self, delta: Json, finish_reason: str | None = None) -> Json:
        """Return a piece of a stream."""
        choice = {"index": self.index, "delta": delta, "finish_reason": finish_reason}
        return {**self._about("chat.completion.chunk"), "choices": [choice]}

    def last_chunk(self, end: ReplyEnd, *, is_cut: bool) -> Json:
        """Return what ends this choice in a stream."""
        return self.chunk({}, self._finish_reason(end, is_cut=is_cut))

    def usage_chunk(self, ends: Sequence[ReplyEnd]) -> Json:
        """Return what all choices cost, as the last object of a stream."""
        about = self._about("chat.completion.chunk")
        return {**about, "choices": [], "usage": usage_of(ends)}

    def choice(self, end: ReplyEnd, *, is_cut: bool) -> Json:
        """Return this choice, whole."""
        has_content = self.text or not self.calls
        message: Json = {"role": "assistant", "content": self.text if has_content else None}
        if self.thought:
            message["reasoning_content"] = self.thought
        if self.calls:
            message["tool_calls"] = self.calls
        reason = self._finish_reason(end, is_cut=is_cut)
        return {"index": self.index, "message": message, "finish_reason": reason, "logprobs": None}

    def whole(self, choices: Sequence[Json], ends: Sequence[ReplyEnd]) -> Json:
        """Return all choices as one object."""
        about = self._about("chat.completion")
        return {**about, "choices": list(choices), "usage": usage_of(ends)}

    def _finish_reason(self, end: ReplyEnd, *, is_cut: bool) -> str:
        """Say why it ended; `is_cut` is at a stop word."""
        if self.calls:
            return "tool_calls"
        return "length" if end.stop_reason == "max_tokens" and not is_cut else "stop"

    def _about(self, kind: str) -> Json:
        return {"id": self.id, "object": kind, "created": self.created, "model": self.model}


def usage_of(ends: Sequence[ReplyEnd]) -> Json:
    """Return what the choices of a request cost; what was reused is what OpenAI calls cached.

    The prompt, which they share, counts once: as the first of them found it.
    """
    first = ends[0].usage
    num_generated = sum(end.usage.num_generated for end in ends)
    num_thinking = sum(end.usage.num_thinking for end in ends)
    return {
        "prompt_tokens": first.num_prompt,
        "completion_tokens": num_generated,
        "total_tokens": first.num_prompt + num_generated,
        "prompt_tokens_details": {"cached_tokens": first.num_reused},
        "completion_tokens_details": {"reasoning_tokens": num_thinking},
    }


def error_body(sentence: str, kind: str, code: str | None = None) -> Json:
    """Return a failure in OpenAI's form."""
    return {"error": {"message": sentence, "type": kind, "param": None, "code": code}}
