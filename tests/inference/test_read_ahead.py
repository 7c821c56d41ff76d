"""Read before anybody asks: told once, reused whole, and let go for nothing."""

import itertools
from collections.abc import Callable

import pytest

from inference.engine import Engine
from inference.local import LocalChat, open_chat
from inference.messages import (
    Message,
    Piece,
    Prefill,
    ReplyEnd,
    ReplyOptions,
    SamplingOptions,
    ToolSpec,
    Usage,
)

TOOL = ToolSpec("bash", "Run a command. " * 20, {"type": "object", "properties": {}})
SYSTEM = Message("system", "You mend programs. " * 30)
LOG = " ".join(f"line {n} of a log that was pasted" for n in range(10))
GREEDY = ReplyOptions(SamplingOptions(), max_new_tokens=6, thinking=False)


def never() -> bool:
    return False


def ahead(
    chat: LocalChat, *messages: Message, draft: str = "", cancel: Callable[[], bool] = never
) -> Usage | None:
    """Read ahead; return what that cost, if anything was read."""
    pieces = list(chat.read(messages, (TOOL,), draft, cancel))
    assert all(isinstance(piece, Prefill) for piece in pieces[:-1])
    assert not pieces or isinstance(pieces[-1], Usage)
    return pieces[-1] if pieces and isinstance(pieces[-1], Usage) else None


def reply(chat: LocalChat, *messages: Message) -> ReplyEnd:
    pieces: list[Piece] = list(chat.reply(messages, (TOOL,), GREEDY, never))
    end = pieces[-1]
    assert isinstance(end, ReplyEnd)
    return end


def after(num_looks: int) -> Callable[[], bool]:
    looks = itertools.count()
    return lambda: next(looks) >= num_looks


@pytest.fixture(scope="module")
def new_chat() -> Callable[..., LocalChat]:
    """Make chats that have read nothing, of one model."""
    nano = open_chat("nano")

    def make(reuse: bool = True) -> LocalChat:
        engine = Engine(nano.engine.model, cache_bytes=1 << 28)
        return LocalChat(engine, nano.tokenizer, nano.profile, "nano", reuse=reuse)

    return make


@pytest.fixture
def chat(new_chat: Callable[..., LocalChat]) -> LocalChat:
    return new_chat()


def test_the_first_reply_reads_the_prompt_alone_and_each_token_is_told_once(
    chat: LocalChat,
) -> None:
    read = ahead(chat, SYSTEM)
    assert read is not None
    assert read.num_prefilled == read.num_prompt > 200
    usage = reply(chat, SYSTEM, Message("user", "Hi.")).usage
    assert usage.num_reused == read.num_prompt
    assert usage.num_prefilled == usage.num_prompt - read.num_prompt < 20
    assert ahead(chat, SYSTEM) is None, "it is there"


def test_what_was_read_until_it_was_stopped_is_kept(chat: LocalChat) -> None:
    long = Message("system", "You mend programs. " * 100)
    read = ahead(chat, long, cancel=after(1))
    assert read is not None
    assert 0 < read.num_prefilled < 1000
    rest = ahead(chat, long)
    assert rest is not None
    assert rest.num_reused == read.num_prefilled
    usage = reply(chat, long, Message("user", "Hi.")).usage
    assert usage.num_reused == rest.num_prompt


def test_a_draft_that_is_sent_was_read_but_for_its_last_word(chat: LocalChat) -> None:
    first = reply(chat, SYSTEM, Message("user", "Hi."))
    before = (SYSTEM, Message("user", "Hi."), first.message)
    read = ahead(chat, *before, draft=f"{LOG} and what is wro")
    assert read is not None
    assert read.num_reused == first.usage.num_prompt + first.usage.num_generated - 1
    more = ahead(chat, *before, draft=f"{LOG} and what is wrong {LOG} and th")
    assert more is not None
    assert more.num_reused == read.num_prompt, "it was gone on from"
    usage = reply(chat, *before, Message("user", f"{LOG} and what is wrong {LOG} and there?")).usage
    assert usage.num_reused == more.num_prompt
    assert usage.num_repeated == 0


def test_a_draft_that_is_not_sent_changes_nothing_and_leaves_nothing(
    new_chat: Callable[..., LocalChat],
) -> None:
    chat, other, asked = new_chat(), new_chat(), Message("user", "Say something else.")
    first = [reply(one, SYSTEM, Message("user", "Hi.")) for one in (chat, other)]
    before = (SYSTEM, Message("user", "Hi."), first[0].message)
    num_kept = len(chat.engine.snapshots)
    assert ahead(chat, *before, draft=LOG) is not None
    assert len(chat.engine.snapshots) == num_kept
    with_draft, without = (reply(one, *before, asked) for one in (chat, other))
    assert with_draft.message == without.message
    assert with_draft.usage.num_reused == without.usage.num_reused
    assert with_draft.usage.num_repeated == 0


def test_little_is_not_worth_a_reading(chat: LocalChat) -> None:
    reply(chat, SYSTEM, Message("user", "Hi."))
    assert ahead(chat, SYSTEM, draft="What is this?") is None


def test_what_does_not_fit_or_may_not_be_reused_is_not_read(
    new_chat: Callable[..., LocalChat],
) -> None:
    chat = new_chat()
    assert ahead(chat, Message("system", "one two three " * chat.context_tokens)) is None
    assert ahead(new_chat(reuse=False), SYSTEM) is None
