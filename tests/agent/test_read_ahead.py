"""What a talk has its model read while nobody asks: the beginning of the next turn, and a draft."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent.events import StopReason
from agent.one_at_a_time import Gate, OneAtATime
from agent.read_ahead import READER
from agent.settings import Config, ModelConfig
from inference.errors import Cancelled
from inference.messages import Message, Prefill, ReplyEnd, ReplyOptions, ToolSpec, Usage
from sandbox.base import Cancel, never
from tests.agent.fakes import Say, ScriptedModel
from tests.agent.talking import Talk, start_talk

DONE_S = 60.0


def wait_for(is_there: Callable[[], bool]) -> None:
    end_s = time.monotonic() + DONE_S
    while not is_there():
        assert time.monotonic() < end_s
        time.sleep(0.005)


def read(talk: Talk, draft: str = "") -> None:
    """Have it read ahead, and wait until that is done."""
    before = talk.model.ahead.copy()
    talk.conversation.read_ahead(draft)
    wait_for(lambda: len(talk.model.ahead) > len(before) and not is_reading())


def is_reading() -> bool:
    return any(thread.name == READER for thread in threading.enumerate())


@dataclass
class SlowReader(ScriptedModel):
    """Reads ahead until it is stopped, and knows what it was asked meanwhile."""

    began: threading.Event = field(default_factory=threading.Event)
    stopped: int = 0

    def read(
        self, messages: Sequence[Message], tools: Sequence[ToolSpec], draft: str, cancel: Cancel
    ) -> Iterator[Prefill | Usage]:
        """Read a chunk after the other."""
        yield Prefill(10, 1000, 0.1)
        self.began.set()
        while not cancel():
            time.sleep(0.001)
        self.stopped += 1
        yield Usage(10, 0, 10, 0, 0.1, 0.0)


def test_what_a_turn_will_begin_with_is_read_once_and_leaves_no_trace(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(text="Hello."))
    read(talk)
    assert [draft for _, draft in talk.model.ahead] == [""]
    assert (talk.conversation.status().num_ahead, talk.conversation.status().ahead_s) == (100, 0.5)
    assert not talk.conversation.session.messages
    assert not talk.conversation.session.usages
    tools = talk.model.specs
    talk.conversation.read_ahead()
    talk.say("Hi.")
    assert talk.model.specs == tools != ()
    assert len(talk.model.ahead) == 1, "it was known to be read"
    (messages, _), *_ = talk.model.ahead
    assert talk.model.seen[0][: len(messages)] == messages
    read(talk)
    assert talk.model.ahead[-1][0] == tuple(talk.conversation.session.messages)
    talk.conversation.close()


def test_a_talk_in_which_only_was_read_ahead_leaves_no_session(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(text="Hello."))
    read(talk, "What is")
    talk.conversation.close()
    assert not list((tmp_path / "state" / "sessions").iterdir())


def test_a_draft_is_read_after_what_comes_before_it(tmp_path: Path) -> None:
    talk = start_talk(tmp_path, Say(text="Hello."))
    read(talk, "What is")
    assert [draft for _, draft in talk.model.ahead] == ["", "What is"]
    talk.conversation.read_ahead("")  # typed on, and not yet at rest
    read(talk, "What is this")
    assert [draft for _, draft in talk.model.ahead][2:] == ["", "What is this"]
    talk.conversation.close()


def test_a_prompt_stops_what_is_read_and_nothing_is_read_in_a_turn(tmp_path: Path) -> None:
    model = SlowReader([[Say(text="Hello.")]])
    talk = start_talk(tmp_path, chat=model)
    talk.conversation.read_ahead()
    assert model.began.wait(DONE_S)
    assert talk.conversation.status().reading == Prefill(10, 1000, 0.1)
    model.on_reply = lambda _number: talk.conversation.read_ahead("typed in a turn")
    assert talk.say("Hi.").reason is StopReason.END_TURN
    assert (model.stopped, model.attempt) == (1, 0)
    assert not is_reading()
    assert talk.conversation.status().num_ahead == 10
    assert talk.conversation.status().reading is None
    talk.conversation.close()


def test_it_can_be_switched_off(tmp_path: Path) -> None:
    talk = start_talk(
        tmp_path, Say(text="Hello."), config=Config(model=ModelConfig(read_ahead=False))
    )
    talk.conversation.read_ahead()
    assert not is_reading()
    talk.conversation.close()


def test_a_reply_of_one_talk_is_not_kept_waiting_by_what_another_reads() -> None:
    model, gate = SlowReader([[Say(text="Hello.")]]), Gate()
    reader, asker = OneAtATime(model, gate), OneAtATime(model, gate)
    raised: list[Cancelled] = []

    def read_all() -> None:
        try:
            list(reader.read([], [], "", never))
        except Cancelled as error:
            raised.append(error)

    thread = threading.Thread(target=read_all)
    thread.start()
    assert model.began.wait(DONE_S)
    asked = [Message("system", "You mend."), Message("user", "Hi.")]
    reply = asker.reply(asked, [], ReplyOptions(), never)
    next(reply)
    thread.join()
    read_all()  # while the other has the model
    assert isinstance(list(reply)[-1], ReplyEnd)
    assert model.stopped == 1
    assert len(raised) == 2, "whoever reads knows that it was not to its end"
