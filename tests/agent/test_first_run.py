"""The first start: a model is chosen until one can be had, and only that choice is kept."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.conversation import Conversation
from agent.events import Event
from agent.frontends.plain_host import PlainHost, PlainLaunch
from agent.frontends.plain_signals import Signals
from agent.frontends.repl.first_run import open_chosen
from agent.frontends.repl.worker import Printed
from agent.open_talk import open_conversation
from agent.request import FixRequest
from agent.talk_request import TalkRequest
from inference.chat import ChatModel
from inference.errors import ModelUnavailable
from sandbox.base import Cancel
from tests.agent.fakes import ScriptedModel, make_repository
from tests.agent.talking import QUIET, Listener

GONE = "Qwen/NoSuchModel-xyz"


def test_a_choice_that_cannot_be_had_is_told_and_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    settings = tmp_path / "config" / "qwen-agent" / "config.toml"
    repository, tried = make_repository(tmp_path / "work"), list[str]()

    def load(request: FixRequest) -> ChatModel:
        assert not settings.exists(), "nothing is kept before it has proved good"
        if tried[-1] == GONE:
            raise ModelUnavailable("the hub is not reached.")
        return ScriptedModel([[]])

    def begin(name: str) -> Conversation:
        tried.append(name)
        request = TalkRequest(repository, name, sandbox="direct", config=QUIET)
        return open_conversation(request, Listener(), load, tmp_path / "state")

    host = PlainHost(
        PlainLaunch(repository, tmp_path / "state", tmp_path, lambda _name: begin("")), Signals()
    )

    def steps(cancel: Cancel) -> Iterator[Event | Printed]:
        host.enter((yield from open_chosen(host, begin, cancel)))

    monkeypatch.setattr(sys, "stdin", io.StringIO(f"3\n{GONE}\n1\n"))
    host.do(steps)
    assert host.talk is not None
    host.talk.close()
    out = capsys.readouterr().out
    assert tried == [GONE, "nano"]
    assert f"{GONE} cannot be used: the hub is not reached." in " ".join(out.split())
    assert out.count("Which model?") == 2
    assert settings.read_text() == '[model]\nname = "nano"\n'
