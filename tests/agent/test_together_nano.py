"""nano makes two attempts at once: read in one forward, and each writes what it would alone."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agent.fix import run_fix
from agent.request import FixRequest
from agent.settings import Config, FixConfig, ModelConfig
from evals.nano.corpus import generate
from evals.nano.evaluate import MAX_NEW_TOKENS, lay_out
from inference import wire
from inference.chat import Cancel
from inference.door import EngineSettings, OnProgress
from inference.gain import Gain
from inference.host import Host
from inference.host_address import address_of
from inference.host_client import HostEngine
from inference.host_worker import Seat, Worker
from inference.lines import lines_of
from inference.local import NANO_FOLDER, LocalChat, open_chat
from inference.messages import Message, Piece, ReplyEnd, ReplyOptions, ToolSpec
from inference.opened import OpenedEngine, open_engine
from inference.profiles import profile_for
from inference.together import Together
from inference.tokenizer import Tokenizer
from sandbox.base import never
from tests.plain import plain_python

SEED = 900_001
SETTINGS = EngineSettings(str(NANO_FOLDER))


@dataclass
class Heard:
    """A model, and all that it was asked and has answered; before its second answer it waits."""

    chat: LocalChat
    meeting: threading.Barrier
    asked: list[tuple[tuple[Message, ...], tuple[ToolSpec, ...], ReplyOptions]] = field(
        default_factory=list
    )
    answers: list[tuple[int, ...]] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.chat, name)

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Take note of it."""
        asked = tuple(messages), tuple(tools), options
        if len(self.asked) == 1:
            self.meeting.wait(300)
        for piece in self.chat.reply(messages, tools, options, cancel):
            if isinstance(piece, ReplyEnd):
                self.asked.append(asked)
                self.answers.append(piece.message.token_ids)
            yield piece


class HandedOverTogether:
    """Lets the worker of a host have the first two replies that are asked for after a meeting at
    the same moment, so that neither is over before the other begins."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.meeting = threading.Barrier(2, self._begin)
        self._has_met = False
        self._held: list[tuple[Seat, wire.Work]] = []
        self._submit = Worker.submit
        monkeypatch.setattr(
            Worker, "submit", lambda worker, seat, request: self._take(worker, seat, request)
        )

    def _begin(self) -> None:
        self._has_met = True

    def _take(self, worker: Worker, seat: Seat, request: wire.Work | wire.Close) -> None:
        if not (self._has_met and isinstance(request, wire.Generate) and len(self._held) < 2):
            self._submit(worker, seat, request)
            return
        self._held.append((seat, request))
        if len(self._held) == 2:
            with worker._changed:
                for held in self._held:
                    self._submit(worker, *held)


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Where an engine is found that is shared, in a thread of the test."""
    names = ("XDG_RUNTIME_DIR", "XDG_STATE_HOME", "XDG_CACHE_HOME")
    environment = {name: str(tmp_path / name.lower()) for name in names}
    for folder in environment.values():
        Path(folder).mkdir()
    address = address_of(SETTINGS, environment)
    with address.locked():
        listener = address.listen()

    def opener(on_progress: OnProgress) -> OpenedEngine:
        return open_engine(SETTINGS, on_progress)

    host = Host(listener, address, SETTINGS, 60.0, opener)
    thread = threading.Thread(target=host.run)
    thread.start()
    yield environment
    host.stop()
    thread.join(20)


@pytest.mark.slow
def test_two_attempts_write_in_one_forward_what_each_writes_alone(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    num_rows: list[int] = []
    forward = Together.forward

    def counted(self: Together, tokens: Sequence[int], states: Sequence[Any]) -> Any:
        num_rows.append(len(tokens))
        return forward(self, tokens, states)

    monkeypatch.setattr(Together, "forward", counted)
    monkeypatch.setattr(Gain, "pays", lambda *_: True)  # whatever was learnt on a busy machine
    (tmp_path / "repo").mkdir()
    lay_out(generate(SEED), tmp_path / "repo")
    model = ModelConfig(name="nano", max_new_tokens=MAX_NEW_TOKENS)
    request = FixRequest(
        tmp_path / "repo",
        model="nano",
        attempts=2,
        python=plain_python(),
        config=Config(model=model, fix=FixConfig(together=2)),
    )
    engine = HostEngine(SETTINGS, environment=environment)
    about = Tokenizer.from_folder(NANO_FOLDER), profile_for(engine.model.config, NANO_FOLDER)
    meeting = HandedOverTogether(monkeypatch).meeting
    heard = [Heard(chat, meeting) for chat in lines_of(LocalChat(engine, *about, "nano"), 2)]
    left = iter(heard)
    for _event in run_fix(request, never, lambda _: next(left), tmp_path / "state"):
        pass

    assert 2 in num_rows
    (first, *_), (second, *_) = (one.asked for one in heard)
    assert first[0] == second[0], "they begin with the same"
    alone = open_chat("nano")
    for one in heard:
        assert len(one.answers) >= 2
        for asked, answer in zip(one.asked, one.answers, strict=True):
            *_, end = alone.reply(*asked, never)
            assert isinstance(end, ReplyEnd)
            assert end.message.token_ids[: len(answer)] == answer
