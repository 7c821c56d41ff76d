"""A host that ends, politely or not, leaves its conversations on disk for the next one."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.door import EngineSettings
from inference.errors import EngineGone
from inference.host_client import host_status
from inference.local import LocalChat, open_chat
from inference.messages import Message, Prefill, ReplyEnd, ReplyOptions, SamplingOptions
from inference.store import Store
from inference.store_folder import identities
from tests.inference.faults import is_ended, wait_for

OPTIONS = ReplyOptions(SamplingOptions(), max_new_tokens=12, thinking=False)
LONG = ReplyOptions(SamplingOptions(), max_new_tokens=4000, thinking=False)
START = [Message("system", "You mend code. " * 60), Message("user", "The test fails.")]


@pytest.fixture(scope="module", autouse=True)
def _environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Folders for these tests alone; no host is left behind in them."""
    base = tmp_path_factory.mktemp("user")
    (base / "run").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        for name, folder in (("RUNTIME_DIR", "run"), ("CACHE_HOME", "c"), ("STATE_HOME", "s")):
            patch.setenv(f"XDG_{name}", str(base / folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
        for status in host_status():
            os.kill(status.pid, signal.SIGTERM)
            wait_for(lambda pid=status.pid: is_ended(pid), limit_s=60)


def open_hosted(folder: Path) -> LocalChat:
    # Without guesses a long reply takes its time, so that what ends the host comes before its end.
    settings = EngineSettings(
        "nano", store_folder=str(folder), store_bytes=1 << 30, speculation="off"
    )
    return open_chat(settings, host=True, idle_limit_s=600)


def reply(chat: LocalChat, messages: list[Message]) -> ReplyEnd:
    *_, end = chat.reply(messages, (), OPTIONS, lambda: False)
    assert isinstance(end, ReplyEnd)
    return end


@pytest.mark.fault
@pytest.mark.parametrize("is_in_mid_reply", [False, True])
def test_a_host_that_is_asked_to_leave_stores_what_it_knows(
    is_in_mid_reply: bool, tmp_path: Path
) -> None:
    chat = open_hosted(tmp_path)
    first = reply(chat, START)
    talk = [*START, first.message, Message("user", "And now? " * 30)]
    num_read = first.usage.num_prompt
    if is_in_mid_reply:
        stream = chat.reply(talk, (), LONG, lambda: False)
        wait_for(lambda: not isinstance(next(stream), Prefill), limit_s=60)
        num_read += 50  # of the second prompt, at least
    pid = chat.engine.pid
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: is_ended(pid), limit_s=60)
    if is_in_mid_reply:
        with pytest.raises(EngineGone):
            list(stream)

    end = reply(chat, talk)
    assert chat.engine.pid != pid
    assert end.usage.num_reused >= num_read
    if is_in_mid_reply:
        assert end.usage.num_prefilled < 16, "all of this prompt had been read"
    assert end.message == reply(open_chat("nano", reuse=False), talk).message


@pytest.mark.fault
def test_conversations_of_a_killed_host_go_on_from_the_store(tmp_path: Path) -> None:
    chats = [open_hosted(tmp_path) for _ in range(2)]
    talks = [list(START), [START[0], Message("user", "Another thing.")]]
    num_read = []
    for chat, talk in zip(chats, talks, strict=True):
        end = reply(chat, talk)
        num_read.append(end.usage.num_prompt + end.usage.num_generated - 1)
        talk += [end.message, Message("user", "And now?")]
    wait_until_stored(tmp_path, num_read)
    streams = [
        chat.reply(talk, (), LONG, lambda: False) for chat, talk in zip(chats, talks, strict=True)
    ]
    for stream in streams:
        assert isinstance(next(stream), Prefill)
    os.kill(chats[0].engine.pid, signal.SIGKILL)
    for stream in streams:
        with pytest.raises(EngineGone):
            list(stream)
    for chat, talk, length in zip(chats, talks, num_read, strict=True):
        usage = reply(chat, talk).usage
        assert usage.num_reused >= length
        assert usage.num_prefilled < 30, "the new message, or not even that"


def wait_until_stored(folder: Path, lengths: list[int]) -> None:
    """Until lines of these lengths can be gone on from: a host writes in the background."""

    def are_there() -> bool:
        found = [
            entry.num_before + len(entry.edge)
            for identity in identities(folder)
            for entry in Store(folder, identity, 1 << 30, pytest.fail).entries()
            if entry.has_state
        ]
        return Counter(lengths) <= Counter(found)

    wait_for(are_there, limit_s=60)
