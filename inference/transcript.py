"""Messages to token ids, by appending: what was rendered or generated is never rendered again.

Every message adds the ids of its own delta, encoded on its own; a reply adds the ids that the
model generated. So the ids of a conversation always begin with the ids of the shorter one, and an
engine whose state cannot be cut back only ever goes on. The form of a delta is the family's chat
template as it renders with all thinking kept. Where it is to be dropped instead, the replies to a
user message are written anew, without it, when the next one comes: all before them stays. It runs
no template and touches no tensor.
"""

import functools
import itertools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from inference.messages import (
    BadToolCall,
    Message,
    Picture,
    ThinkingHistory,
    ToolCall,
    ToolSpec,
)
from inference.pictures import FIRST_ID, Place, Sight
from inference.prefix import num_common
from inference.profiles import (
    CALL_CLOSE,
    CALL_OPEN,
    PICTURE_CLOSE,
    PICTURE_OPEN,
    RESULT_CLOSE,
    RESULT_OPEN,
    TAGS,
    THINK_CLOSE,
    THINK_OPEN,
    TURN_END,
    TURN_START,
    Profile,
)
from inference.tokenizer import Tokenizer
from inference.tool_words import TOOL_WORDS

_NUM_REMEMBERED_TEXTS = 16_384


@dataclass(frozen=True)
class Rendered:
    """A conversation as token ids, ready for the next reply."""

    tokens: tuple[int, ...]
    boundaries: tuple[int, ...]
    """Lengths at the end of each message (the first is system and tools), then of the prompt.

    `tokens[:boundaries[i]]` is the same in every conversation that shares messages 0..i, written
    with thinking or without alike.
    """
    opener: tuple[int, ...]
    """The end of the prompt that belongs to the reply already: its thought, open or closed."""
    lasting: int
    """`tokens[:lasting]` begins every longer conversation: up to the end of the last message, or,
    where thinking is dropped later, of the last one that comes before a reply that may change."""
    sections: tuple[int, ...] = ()
    """Lengths where the first section of the system message begins, and where each one ends.

    `tokens[:sections[i]]` is the same in every conversation that shares sections before i.
    """
    places: tuple[Place, ...] = ()
    """Where pictures stand, in order."""


@dataclass(frozen=True)
class Tag:
    """A control token that we mean, as opposed to text that happens to spell it."""

    name: str


@dataclass(frozen=True)
class Seam:
    """A place where text is cut: what stands before it and after it is encoded apart."""


Part = str | Tag | Seam | Picture
Entry = tuple[Message, bool]
"""A message, and whether it is written without its thinking."""
_TAG = re.compile("(" + "|".join(map(re.escape, TAGS)) + ")")


def written(text: str) -> list[Part]:
    """Split words of ours at the control tokens they spell; never for text from elsewhere."""
    return [Tag(part) if part in TAGS else part for part in _TAG.split(text) if part]


class Transcript:
    """Renders conversations that share one tool list; remembers the ids of texts."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        profile: Profile,
        tools: Sequence[ToolSpec] = (),
        thinking_history: ThinkingHistory = "preserve",
        sight: Sight | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._profile = profile
        self._sight = sight
        self._strips = thinking_history == "strip" and profile.can_think
        self._tools = tuple(tools) if profile.lists_tools else ()
        self._encode = functools.lru_cache(maxsize=_NUM_REMEMBERED_TEXTS)(tokenizer.encode)
        self._tag_of = {i: name for name, i in tokenizer.controls.items() if name in TAGS}
        self._last: tuple[tuple[Entry, ...], Rendered] | None = None

    def render(self, messages: Sequence[Message], thinking: bool) -> Rendered:
        """Return the ids of a conversation and of the prompt for the next reply."""
        assert messages, "a conversation starts with its system message"
        assert [m.role for m in messages].count("system") == 1, "one system message"
        assert messages[0].role == "system", "the system message comes first"
        tokens: list[int] = []
        places: list[Place] = []
        boundaries = []
        lasting = 0
        previous = None
        entries = self._entries(messages)
        for message, is_stripped in entries:
            delta = self._delta(previous, message, is_stripped)
            places += self._places(message, delta, len(tokens))
            tokens += delta
            boundaries.append(len(tokens))
            if not self._strips or message.role in ("system", "user"):
                lasting = len(tokens)
            previous = message
        opener = self._ids(written(self._profile.opener(thinking)))
        tokens += self._ids([*_between(previous, None), Tag(TURN_START), "assistant\n"]) + opener
        sections = self._sections(messages[0], boundaries[0])
        rendered = Rendered(
            tuple(tokens), (*boundaries, len(tokens)), opener, lasting, sections, tuple(places)
        )
        self._check_prefix(entries, rendered)
        return rendered

    def _entries(self, messages: Sequence[Message]) -> tuple[Entry, ...]:
        """Tell of each message whether its thinking is dropped: if a user message comes later."""
        last_asked = max((n for n, m in enumerate(messages) if m.role == "user"), default=0)
        return tuple(
            (message, self._strips and message.role == "assistant" and n < last_asked)
            for n, message in enumerate(messages)
        )

    def _check_prefix(self, entries: tuple[Entry, ...], new: Rendered) -> None:
        """Assert that what this conversation shares with the last one rendered the same.

        If thinking stays, that is all that the two share. If it is dropped, it ends before the
        first reply that one of them writes with its thinking and the other without, which is
        never before the last user message of the shorter one.
        """
        if self._last is not None:
            old_entries, old = self._last
            num_shared = num_common(old_entries, entries)
            length = old.boundaries[num_shared - 1] if num_shared else 0
            assert new.tokens[:length] == old.tokens[:length], "a rendered prefix changed"
            is_longer = [m for m, _ in entries[: len(old_entries)]] == [m for m, _ in old_entries]
            assert length >= old.lasting or not is_longer, "an earlier reply was written anew"
        self._last = entries, new

    def _delta(
        self, previous: Message | None, message: Message, is_stripped: bool
    ) -> tuple[int, ...]:
        """Return the ids that one message adds."""
        before = _between(previous, message)
        if message.role != "assistant":
            return self._ids(before + self._body(message))
        start: list[Part] = [*before, Tag(TURN_START), "assistant\n"]
        end: list[Part] = [Tag(TURN_END), "\n"]
        if message.token_ids:
            body, unfinished = self._generated(message.token_ids)
            if is_stripped:
                body, unfinished = self._without_thinking(body), []
            return self._ids(start) + body + self._ids(unfinished + end)
        opener, rest = self._reply(message, is_stripped)
        # The opener ends a prompt, so it is encoded on its own here as well.
        return self._ids(start + opener) + self._ids(rest + end)

    def _generated(self, ids: tuple[int, ...]) -> tuple[tuple[int, ...], list[Part]]:
        """Return a reply as generated, less its stop token, and what closes an open thought.

        The stop token is the last one sampled, so it is in no state yet and may be written anew.
        """
        body = ids[:-1] if self._tag_of.get(ids[-1]) in self._profile.stop_tokens else ids
        tags = [tag for i in body if (tag := self._tag_of.get(i)) in (THINK_OPEN, THINK_CLOSE)]
        is_open = bool(tags) and tags[-1] == THINK_OPEN
        return body, written(f"\n{THINK_CLOSE}\n\n") if is_open else []

    def _without_thinking(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Return a generated reply without its thoughts, told apart as parser.py does."""
        kept: list[int] = []
        is_thought = is_call = False
        for i in ids:
            tag = self._tag_of.get(i)
            if tag in (THINK_OPEN, THINK_CLOSE) and not is_call:
                is_thought = tag == THINK_OPEN
            elif not is_thought and (kept or self._tokenizer.token_bytes(i).strip()):
                is_call = tag == CALL_OPEN or (is_call and tag != CALL_CLOSE)
                kept.append(i)
        return tuple(kept)

    def _body(self, message: Message) -> list[Part]:
        """Write a message that is no reply."""
        text = self._trim(message.content)
        if message.role == "system":
            return self._system(text, message.sections)
        if message.role == "user":
            shown = self._shown(message.pictures)
            return [Tag(TURN_START), "user\n", *shown, text, Tag(TURN_END), "\n"]
        return ["\n", Tag(RESULT_OPEN), f"\n{text}\n", Tag(RESULT_CLOSE)]

    def _system(self, text: str, sections: Sequence[str]) -> list[Part]:
        parts: list[Part] = [text]
        if self._tools and self._profile.call_syntax == "xml":
            parts = [*self._tool_block(), f"\n\n{text}" if text else ""]
        elif self._tools:
            parts = [f"{text}\n\n", *self._tool_block()]
        if sections:
            parts += ["\n\n", Seam(), *(part for section in sections for part in (section, Seam()))]
        return [Tag(TURN_START), "system\n", *parts, Tag(TURN_END), "\n"]

    def _sections(self, message: Message, end: int) -> tuple[int, ...]:
        """Return where the sections of a system message that ends at `end` begin and end."""
        if not message.sections:
            return ()
        lengths = [len(self._encode(section)) for section in message.sections]
        start = end - len(self._ids([Tag(TURN_END), "\n"])) - sum(lengths)
        return tuple(itertools.accumulate(lengths, initial=start))

    def _tool_block(self) -> list[Part]:
        """Tell of the tools; their own words are text from elsewhere."""
        before, after = TOOL_WORDS[self._profile.call_syntax]
        listed = "".join(f"\n{_tool_json(tool)}" for tool in self._tools)
        return [*written(before), listed, *written(after)]

    def _reply(self, message: Message, is_stripped: bool) -> tuple[list[Part], list[Part]]:
        """Write a reply that is not there as ids: its opener, and the rest of it."""
        has_thought = self._profile.can_think and not is_stripped
        thinking = message.thinking.strip() if has_thought else ""
        text = self._trim(message.content)
        opener: list[Part] = []
        rest: list[Part] = []
        if thinking:
            opener, rest = [Tag(THINK_OPEN), "\n"], [thinking, *written(f"\n{THINK_CLOSE}\n\n")]
        elif self._profile.writes_empty_thought and not is_stripped:
            opener = written(self._profile.opener_plain)
        rest.append(text)
        separator = "\n\n" if self._profile.call_syntax == "xml" else "\n"
        for n, call in enumerate(message.tool_calls):
            rest.append("\n" if n else separator if text else "")
            rest += _call_parts(call, self._profile)
        return opener, rest

    def _places(self, message: Message, delta: Sequence[int], start: int) -> Iterator[Place]:
        """Find the pictures of a message in its delta, which begins at `start`."""
        if self._sight is None:
            return
        end = 0
        for picture in message.pictures:
            first = next(n for n in range(end, len(delta)) if delta[n] >= FIRST_ID)
            place = self._sight.place(picture, start + first)
            yield place
            end = place.end - start

    def _trim(self, text: str) -> str:
        return text.strip() if self._profile.trims else text

    def _ids(self, parts: Iterable[Part]) -> tuple[int, ...]:
        """Encode parts; text between two control tokens is one piece, as in the whole template."""
        ids: list[int] = []
        text = ""
        for part in parts:
            if isinstance(part, str):
                text += part
            elif isinstance(part, Seam):
                ids += self._encode(text)
                text = ""
            elif isinstance(part, Picture):
                assert self._sight is not None, "what is written can be seen"
                ids += (*self._encode(text), *self._sight.place(part, 0).ids)
                text = ""
            elif self._tokenizer.has_control(part.name):
                ids += (*self._encode(text), self._tokenizer.control(part.name))
                text = ""
            else:  # an older vocabulary spells this tag in letters
                text += part.name
        return (*ids, *self._encode(text))

    def _shown(self, pictures: Iterable[Picture]) -> list[Part]:
        """Write pictures; to a model that sees none, that there are some."""
        if self._sight is None:
            return [f"[{picture.name}: not seen]\n" for picture in pictures]
        tagged = ((Tag(PICTURE_OPEN), one, Tag(PICTURE_CLOSE)) for one in pictures)
        return list(itertools.chain.from_iterable(tagged))


def _between(previous: Message | None, following: Message | None) -> list[Part]:
    """Open the user turn that consecutive tool results share, or end it after the last one."""
    was_result = previous is not None and previous.role == "tool"
    is_result = following is not None and following.role == "tool"
    if was_result and not is_result:
        return [Tag(TURN_END), "\n"]
    return [Tag(TURN_START), "user"] if is_result and not was_result else []


def _call_parts(call: ToolCall | BadToolCall, profile: Profile) -> list[Part]:
    """Write one call in the syntax of the family; one that could not be read, as it was."""
    if isinstance(call, BadToolCall):
        return [Tag(CALL_OPEN), call.raw, Tag(CALL_CLOSE)]
    if profile.call_syntax == "hermes":
        arguments = json.dumps(dict(call.arguments), ensure_ascii=False)
        body = f'{{"name": "{call.name}", "arguments": {arguments}}}'
        return [Tag(CALL_OPEN), f"\n{body}\n", Tag(CALL_CLOSE)]
    lines = "".join(
        f"<parameter={name}>\n{_value(value, profile)}\n</parameter>\n"
        for name, value in call.arguments.items()
    )
    return [Tag(CALL_OPEN), f"\n<function={call.name}>\n{lines}</function>\n", Tag(CALL_CLOSE)]


def _value(value: object, profile: Profile) -> str:
    """Write a value: strings raw, others as JSON; Qwen3.5 alone writes scalars as Python does."""
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple | dict) or profile.json_scalars:
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _tool_json(tool: ToolSpec) -> str:
    """Write a tool as the families list it."""
    function = {
        "name": tool.name,
        "description": tool.description,
        "parameters": tool.parameters,
    }
    return json.dumps({"type": "function", "function": function}, ensure_ascii=False)
