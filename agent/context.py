"""Keeps a conversation inside the window: when it is put in short form, and what stays of it.

It happens between steps only, never between a call and its result. First old results are dropped
to a line each, which asks no model; if that is not enough, notes take the place of all but the
prompts and the last steps. Either way the conversation is a new one from the first change on: what
comes before that is reused, what follows is read once. The journal keeps the old one.
"""

from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace

from agent.events import Compacted, Event
from agent.notes import is_prompt, noted, num_notes, summarise
from agent.parts import Parts
from agent.session import Session
from agent.settings import ContextConfig
from agent.stale import dropped
from agent.turn import Turn
from inference.errors import Cancelled
from inference.messages import Message
from sandbox.base import Cancel
from tools.truncate import cut_middle

Count = Callable[[str], int]

NUM_FRAME_TOKENS = 8
"""Tokens around the text of a message, about."""
NUM_QUESTION_TOKENS = 200
"""Of the request for notes, about."""
PROMPTS_SHARE = 0.25
"""Prompts of the person stay up to this share of the window; the first and the last always do."""
LEAST_GAIN = 0.1
"""What is dropped must be this share of the conversation to be worth reading the rest again."""


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


def num_tokens(session: Session, count: Count) -> int:
    """Return how long the conversation is: as measured at the last reply, and what came since."""
    num_measured, total = session.measured
    return total + sum(_size(message, count) for message in session.messages[num_measured:])


def shorten_if_long(
    session: Session, parts: Parts, turn: Turn, cancel: Cancel
) -> Generator[Event, None, None]:
    """Put the conversation in short form if it is longer than the settings allow."""
    config = parts.config.context
    num_before = num_tokens(session, parts.chat.count_tokens)
    # The exact limit is never lower, and takes longer to tell.
    is_short = num_before < config.compact_at * parts.chat.context_tokens
    if not is_short and config.compact_at < 1 and num_before >= _room(session, parts).limit:
        yield from shorten(session, parts, turn, cancel)


def shorten(
    session: Session, parts: Parts, turn: Turn, cancel: Cancel
) -> Generator[Event, None, bool]:
    """Put the conversation in short form; say whether that won anything."""
    if parts.config.context.compact_at >= 1:
        return False
    count = parts.chat.count_tokens
    room = _room(session, parts)
    start = _tail_start(session.messages, room.tail, count)
    short, how = dropped(session.messages, start), "dropped"
    num_after = _num_after(session.messages, short, room, count)
    if num_after > min(room.target, (1 - LEAST_GAIN) * room.num_before):
        try:
            short, how = yield from _with_notes(session, short, start, room, parts, cancel)
        except Cancelled:
            return False
        num_after = _num_after(session.messages, short, room, count)
    if num_after > (1 - LEAST_GAIN) * room.num_before:
        return False
    session.compact(short, num_after)
    turn.forget()
    for tell in parts.on_compacted:
        tell()
    yield Compacted(room.num_before, num_after, how)
    return True


def _with_notes(
    session: Session,
    short: Sequence[Message],
    start: int,
    room: Room,
    parts: Parts,
    cancel: Cancel,
) -> Generator[Event, None, tuple[list[Message], str]]:
    """Put notes in the place of what comes before message `start`, prompts excepted."""
    old = session.messages[:start]
    if not any(message.role in ("assistant", "tool") for message in old):
        return list(session.messages), ""  # there is nothing to take notes on
    # The fork goes on from what was read; a full window has no room for the question.
    num_asked = room.num_before + num_notes(parts) + NUM_QUESTION_TOKENS
    has_room = num_asked < parts.chat.context_tokens
    asked = session.messages if has_room else short
    summary = yield from summarise(session, asked, parts, cancel)
    note = noted(old, summary, parts.open_items())
    count = parts.chat.count_tokens
    prompts = _prompts(old, int(PROMPTS_SHARE * parts.chat.context_tokens), count)
    tail = _cut_results(session.messages[start:], room.tail, count)
    return [old[0], *prompts, note, *tail], "summarised" if summary else "listed"


def _room(session: Session, parts: Parts) -> Room:
    """Share out what the window has beside the system message, the tools and the prompts."""
    count, window = parts.chat.count_tokens, parts.chat.context_tokens
    config: ContextConfig = parts.config.context
    num_before = num_tokens(session, count)
    loose = [m for m in session.messages if m.role != "system" and not is_prompt(m)]
    fixed = max(0, num_before - sum(_size(message, count) for message in loose))
    free = max(0, window - fixed)
    limit, target, tail = (
        int(share * free) for share in (config.compact_at, config.compact_to, config.tail_share)
    )
    return Room(num_before, fixed + limit, fixed + target, tail)


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
    """Return what the person said: the first prompt, and the latest of the others that fit."""
    prompts = [message for message in messages if is_prompt(message)]
    kept: list[Message] = []
    for message in reversed(prompts[1:]):
        room -= _size(message, count)
        if room < 0:
            break
        kept.insert(0, message)
    return [*prompts[:1], *kept]


def _cut_results(messages: Sequence[Message], room: int, count: Count) -> list[Message]:
    """Cut the results of a last step that alone is longer than the tail may be."""
    size = sum(_size(message, count) for message in messages)
    if size <= room:
        return list(messages)
    return [
        replace(message, content=cut_middle(message.content, len(message.content) * room // size))
        if message.role == "tool"
        else message
        for message in messages
    ]


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
    texts = (message.content, message.thinking, *message.sections)
    return NUM_FRAME_TOKENS + sum(count(text) for text in texts if text)
