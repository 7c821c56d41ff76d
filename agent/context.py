"""Keeps a conversation inside the window: when it is put in short form, and what stays of it.

It happens between steps only, never between a call and its result. First old results are dropped
to a line each, which asks no model; if that is not enough, notes take the place of all but the
prompts and the last steps. Either way the conversation is a new one from the first change on: what
comes before that is reused, what follows is read once. The journal keeps the old one.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from agent.events import Compacted, Event
from agent.notes import is_prompt, listed, noted, num_notes, summarise
from agent.session import Session
from agent.stale import dropped
from agent.turn import Turn
from inference.errors import Cancelled
from inference.messages import Message
from inference.pictures import num_tokens_of
from tools.truncate import cut_middle

Count = Callable[[str], int]

NUM_FRAME_TOKENS = 8
"""Tokens around the text of a message, about."""
NUM_CHARACTERS = 3
"""Of a token of a list of calls, at least."""
NUM_QUESTION_TOKENS = 200
"""Of the request for notes, about."""
PROMPTS_SHARE = 0.25
"""Prompts of the person stay up to this share of the window; the first and the last always do."""
LEAST_CHARACTERS = 200
"""Of a result that is cut."""
LEAST_SHARE = 0.01
"""Of the window, for the last steps, where a person wants the conversation short."""
LEAST_GAIN = 0.1
"""The least share of a conversation that a short form must save."""


@dataclass(frozen=True)
class Room:
    """What a conversation may fill, in tokens."""

    num_before: int
    """Of the conversation as it is."""
    limit: int
    """From here on it is put in short form."""
    target: int
    """Here or below is short enough."""
    tail: int
    """The last steps stay as they are, up to this."""

    @property
    def worthwhile(self) -> float:
        """How long the short form may be to be worth reading the rest again."""
        return (1 - LEAST_GAIN) * self.num_before


def num_tokens(session: Session, count: Count) -> int:
    """Return how long the conversation is: as measured at the last reply, and what came since."""
    num_measured, total = session.measured
    return total + sum(_size(message, count) for message in session.messages[num_measured:])


def shorten_if_long(turn: Turn) -> Generator[Event, None, None]:
    """Put the conversation in short form if it is longer than the settings allow."""
    chat, config = turn.parts.chat, turn.parts.config.context
    num_before = num_tokens(turn.session, chat.count_tokens)
    # The exact limit is never lower, and takes longer to tell.
    if num_before >= config.compact_at * chat.context_tokens and num_before >= _room(turn).limit:
        yield from shorten(turn)


def shorten_now(turn: Turn) -> Generator[Event, None, bool]:
    """Put the conversation in as short a form as can be; say whether that won anything."""
    config = turn.parts.config
    context = replace(config.context, tail_share=LEAST_SHARE, compact_to=LEAST_SHARE)
    parts = replace(turn.parts, config=replace(config, context=context))
    return (yield from shorten(replace(turn, parts=parts)))


def shorten(turn: Turn) -> Generator[Event, None, bool]:
    """Put the conversation in short form; say whether that won anything."""
    session, parts = turn.session, turn.parts
    if parts.config.context.compact_at >= 1:
        return False
    room, count = _room(turn), parts.chat.count_tokens
    start = _tail_start(session.messages, room.tail, count)
    tail = _cut_results(session.messages[start:], room.tail, count)
    short, how = [*dropped(session.messages, start)[:start], *tail], "dropped"
    num_after = _num_after(session.messages, short, room, count)
    if num_after > min(room.target, room.worthwhile):
        try:
            short, how = yield from _with_notes(turn, short, start, room)
        except Cancelled:
            return False
        num_after = _num_after(session.messages, short, room, count)
    if num_after > room.worthwhile:
        return False
    session.compact(short, num_after)
    turn.forget()
    for tell in parts.on_compacted:
        tell()
    yield Compacted(room.num_before, num_after, how)
    return True


def _with_notes(
    turn: Turn, short: list[Message], start: int, room: Room
) -> Generator[Event, None, tuple[list[Message], str]]:
    """Put notes in the place of what comes before message `start`, prompts excepted."""
    messages, parts = turn.session.messages, turn.parts
    old, count = messages[:start], parts.chat.count_tokens
    num_saved = sum(_size(message, count) for message in _loose(old)) - num_notes(parts)
    if num_saved <= LEAST_GAIN * room.num_before:
        return short, "dropped"  # notes would be as long
    # The fork goes on from what was read; a full window has no room for the question.
    num_asked = room.num_before + num_notes(parts) + NUM_QUESTION_TOKENS
    asked = messages if num_asked < parts.chat.context_tokens else short
    summary = yield from summarise(turn, asked)
    words = summary or listed(old, NUM_CHARACTERS * num_notes(parts))
    note = noted(old, words, parts.open_items())
    prompts = _prompts(old, int(PROMPTS_SHARE * parts.chat.context_tokens), count)
    return [old[0], *prompts, note, *short[start:]], "summarised" if summary else "listed"


def _room(turn: Turn) -> Room:
    """Share out what the window has beside the system message, the tools and the prompts."""
    session, config = turn.session, turn.parts.config.context
    count = turn.parts.chat.count_tokens
    num_before = num_tokens(session, count)
    num_loose = sum(_size(message, count) for message in _loose(session.messages))
    fixed = max(0, num_before - num_loose)
    free = max(0, turn.parts.chat.context_tokens - fixed)
    limit, target, tail = (
        int(share * free) for share in (config.compact_at, config.compact_to, config.tail_share)
    )
    return Room(num_before, fixed + limit, fixed + target, tail)


def _loose(messages: Sequence[Message]) -> list[Message]:
    """Return what may be taken away: all but the system message and the prompts."""
    return [m for m in messages if m.role != "system" and not is_prompt(m)]


def _tail_start(messages: Sequence[Message], room: int, count: Count) -> int:
    """Return where the last steps begin that fit, the last one in any case."""
    start = len(messages)
    size = 0
    for number in range(len(messages) - 1, 0, -1):
        size += _size(messages[number], count)
        has_one = start < len(messages)
        if size > room and has_one:
            break
        if messages[number].role == "assistant":
            start = number
    return start


def _prompts(messages: Sequence[Message], room: int, count: Count) -> list[Message]:
    """Return what the person said: the last prompt, the first, and of the others what fits.

    A first one that alone is larger than the room was not meant to stay for ever.
    """
    prompts = [message for message in messages if is_prompt(message)]
    kept = prompts[1:][-1:]
    first = prompts[:1]
    if kept and first and _size(first[0], count) > room:
        first = []
    for message in reversed(prompts[1:-1]):
        room -= _size(message, count)
        if room < 0:
            break
        kept.insert(0, message)
    return [*first, *kept]


def _cut_results(messages: Sequence[Message], room: int, count: Count) -> list[Message]:
    """Cut the results of a last step that alone is longer than the tail may be."""
    size = sum(_size(message, count) for message in messages)
    if size <= room:
        return list(messages)
    return [
        replace(message, content=_cut(message.content, room / size))
        if message.role == "tool"
        else message
        for message in messages
    ]


def _cut(text: str, share: float) -> str:
    return cut_middle(text, max(LEAST_CHARACTERS, int(share * len(text))))


def _num_after(old: Sequence[Message], new: Sequence[Message], room: Room, count: Count) -> int:
    """Return how long the conversation is when `new` stands for `old`."""
    gone = {id(message) for message in old} - {id(message) for message in new}
    come = {id(message) for message in new} - {id(message) for message in old}
    lost = sum(_size(message, count) for message in old if id(message) in gone)
    return room.num_before - lost + sum(_size(m, count) for m in new if id(m) in come)


def _size(message: Message, count: Count) -> int:
    """Return how many tokens a message adds, about."""
    if message.token_ids:
        return len(message.token_ids) + NUM_FRAME_TOKENS
    calls = "".join(map(str, message.tool_calls))
    texts = (message.content, message.thinking, *message.sections, calls)
    num_seen = sum(num_tokens_of(picture) for picture in message.pictures)
    return NUM_FRAME_TOKENS + num_seen + sum(count(text) for text in texts if text)
