"""A repository that fills the window: read once, stored, and of a change only what follows it."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from agent.repository_context import RepositoryContext, pack_repository
from agent.stability import Entry
from inference.door import CACHE_BYTES
from inference.engine import FINE_LADDER_TOKENS, LADDER_TOKENS, Engine
from inference.local import NANO_FOLDER, LocalChat
from inference.messages import Message, ReplyEnd, ReplyOptions, SamplingOptions, Usage
from inference.model import Model
from inference.profiles import NANO
from inference.store import Store
from inference.tokenizer import Tokenizer
from sandbox.base import View, never
from sandbox.bubblewrap import Bubblewrap
from tests.inference.long_lines import IDENTITY, narrow_model
from tests.repositories import commit, new_repository, write_files
from tools.git_files import list_files

WINDOW = 262_144
NUM_COMMITS, NUM_FILES = 12, 75
"""Commits, and the files that each brings."""
TOKENIZER = Tokenizer.from_folder(NANO_FOLDER)


def source(number: int) -> str:
    functions = (
        f"def part_{number}_{n}(first, second):\n"
        f'    """Return what belongs to {n * number}."""\n'
        f"    return first * {number} + second - {n}\n\n\n"
        for n in range(9)
    )
    return "".join(functions)


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Somewhat more than fits."""
    folder = new_repository(tmp_path / "repo")
    for n in range(NUM_COMMITS):
        numbers = range(n * NUM_FILES, (n + 1) * NUM_FILES)
        commit(folder, {f"p{n}/m{k}.py": source(k) for k in numbers}, at_s=1000 * (1 + n))
    return folder


def pack(folder: Path, before: Sequence[Entry] = ()) -> RepositoryContext:
    files = list_files(Bubblewrap(), View(folder, folder), folder / ".git")
    count = lambda text: len(TOKENIZER.encode(text))  # noqa: E731
    return pack_repository(folder, files, count, WINDOW, before)


def open_on(model: Model, folder: Path, notices: list[str]) -> LocalChat:
    """A chat in a process that has read nothing."""
    store = Store(folder, IDENTITY, 1 << 32, notices.append)
    engine = Engine(model, cache_bytes=CACHE_BYTES, store=store)
    return LocalChat(engine, TOKENIZER, NANO, "narrow")


def started(context: RepositoryContext) -> list[Message]:
    return [Message("system", "You mend code.", sections=context.sections)]


def read(chat: LocalChat, context: RepositoryContext) -> Usage:
    *_, usage = chat.read(started(context), (), "", never)
    assert isinstance(usage, Usage)
    return usage


def answer(chat: LocalChat, context: RepositoryContext) -> ReplyEnd:
    messages = [*started(context), Message("user", "What is part 7?")]
    options = ReplyOptions(SamplingOptions(), max_new_tokens=4, thinking=False)
    *_, end = chat.reply(messages, (), options, never)
    assert isinstance(end, ReplyEnd)
    return end


def change(folder: Path, path: str) -> None:
    write_files(folder, {path: (folder / path).read_text() + "CHANGED = True\n"})


@pytest.mark.slow
def test_a_repository_that_fills_the_window_is_read_once(repository: Path, tmp_path: Path) -> None:
    notices: list[str] = []
    states = tmp_path / "states"
    model = narrow_model(TOKENIZER.vocab_size, window=2 * WINDOW)
    context = pack(repository)
    assert WINDOW - 1_000 < context.num_tokens <= WINDOW

    chat = open_on(model, states, notices)
    usage = read(chat, context)
    assert usage.num_prefilled == usage.num_prompt > context.num_tokens
    first = answer(chat, context)
    assert first.usage.num_prefilled < 50

    # Of three that go on from one place, each holds a page of its own at most.
    engine = chat.engine
    assert isinstance(engine, Engine)
    num_pages = model.pool.num_pages
    trunk = chat._live
    forks = [engine.fork(trunk) for _ in range(2)]
    for branch in (trunk, *forks):
        model.forward([1], branch.state)
    assert model.pool.num_pages <= num_pages + 3
    del branch, forks, trunk
    engine.close()

    # Another process goes on from the files.
    chat = open_on(model, states, notices)
    again = answer(chat, context)
    assert again.message == first.message
    assert again.usage.num_prefilled < 50

    # A late file is another one, then an early one.
    late = context.entries[-4]
    change(repository, late.path)
    changed = pack(repository, context.entries)
    assert changed.num_kept == len(context.entries) - 4
    usage = read(chat, changed)
    assert usage.num_repeated <= FINE_LADDER_TOKENS
    assert usage.num_prefilled <= FINE_LADDER_TOKENS + num_behind(changed)

    early = changed.entries[len(changed.entries) // 3]
    change(repository, early.path)
    rest = pack(repository, changed.entries)
    assert rest.num_kept == len(changed.entries) // 3
    usage = read(chat, rest)
    assert usage.num_repeated <= LADDER_TOKENS
    assert usage.num_prefilled <= LADDER_TOKENS + num_behind(rest)
    chat.engine.close()
    assert not notices


def num_behind(context: RepositoryContext) -> int:
    """Tokens from the first section that is new to the prompt's end."""
    new = context.sections[1 + context.num_kept :]
    return sum(len(TOKENIZER.encode(text)) for text in new) + 20
