"""A model that loads tells how far it is; it can be waited for, left to itself, and tried again."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import RunCancelled
from agent.events import ModelLoading, ModelProgress
from agent.load_news import LoadNews, window_words
from agent.loading import Loading
from agent.open_talk import open_conversation
from agent.talk_request import TalkRequest
from inference.chat import ChatModel
from inference.door import LoadProgress
from inference.errors import ModelUnavailable
from sandbox.base import never
from tests.agent.fakes import Say, ScriptedModel, make_repository
from tests.agent.talking import QUIET, Listener

GB = 10**9
MODEL = ScriptedModel([[Say(text="Here.")]])


def waited(loading: Loading) -> ChatModel:
    """Return the model."""
    steps = loading.steps(never)
    while True:
        try:
            next(steps)
        except StopIteration as ended:
            chat: ChatModel = ended.value
            return chat


def test_the_speed_is_that_of_the_last_seconds() -> None:
    now_s = 0.0
    news = LoadNews(lambda: now_s)
    news.note(LoadProgress(GB, 8 * GB))  # of an earlier download that broke off
    assert news.progress == ModelProgress("download", GB, 8 * GB, 0.0)
    for second in range(1, 101):
        now_s = float(second)
        megabytes = 50 * second if second <= 50 else 2_500 + 10 * (second - 50)
        news.note(LoadProgress(GB + megabytes * 10**6, 8 * GB))
    assert news.progress == ModelProgress("download", 4 * GB, 8 * GB, 10e6)
    news.note(LoadProgress(8 * GB, 8 * GB))
    assert news.progress is None
    news.note(LoadProgress(0, 2 * GB))
    assert news.progress == ModelProgress("download", 0, 2 * GB, 0.0)


def test_who_waits_is_told_and_may_leave_it_to_itself() -> None:
    is_there, may_end = threading.Event(), threading.Event()

    def load(news: LoadNews) -> ChatModel:
        news.note(LoadProgress(GB, 8 * GB))
        assert is_there.wait(60)
        news.note(LoadProgress(8 * GB, 8 * GB))
        assert may_end.wait(60)
        return MODEL

    loading = Loading("owner/name", load)
    left: list[bool] = []
    told = loading.steps(lambda: bool(left))
    assert next(told) == ModelProgress("download", GB, 8 * GB, 0.0)
    is_there.set()
    while isinstance(event := next(told), ModelProgress):
        pass  # told again until the thread has gone on
    assert event == ModelLoading("owner/name"), "what is there has to be read yet"
    left.append(True)
    with pytest.raises(RunCancelled):
        next(told)
    may_end.set()
    assert waited(loading) is MODEL


def test_a_download_that_broke_off_goes_on_with_the_next_prompt(tmp_path: Path) -> None:
    answers: Iterator[Exception | ChatModel] = iter([ModelUnavailable("It broke off."), MODEL])

    def load(_request: object) -> ChatModel:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    request = TalkRequest(make_repository(tmp_path / "work"), sandbox="direct", config=QUIET)
    talk = open_conversation(request, Listener(), load, tmp_path / "state")
    end_s = time.monotonic() + 60.0
    while not talk.status().fault and time.monotonic() < end_s:
        time.sleep(0.01)
    assert talk.status().fault == "It broke off."
    talk.load_again()
    assert [*talk.turn("Are you there?", never)]
    assert (talk.status().fault, talk.status().is_loaded) == ("", True)
    talk.close()


def test_a_window_is_called_by_its_thousands() -> None:
    assert [window_words(num) for num in (512, 8_192, 262_144)] == ["512", "8K", "256K"]
