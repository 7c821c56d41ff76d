"""A talk with nano, whose state is really reused: from turn to turn, and on a fork."""

from pathlib import Path

from agent.conversation import Conversation
from agent.events import Event, ReplyEnded, StopReason, TurnEnded
from agent.open_talk import open_conversation
from agent.talk_request import TalkRequest
from evals.nano.corpus import generate
from evals.nano.evaluate import lay_out
from inference.messages import Usage
from sandbox.base import never
from tests.agent.talking import Listener
from tests.plain import plain_python

SEED = 900_001


def usages(events: list[Event]) -> list[Usage]:
    return [event.usage for event in events if isinstance(event, ReplyEnded)]


def turn(talk: Conversation, text: str) -> list[Event]:
    events = list(talk.turn(text, never))
    assert events[-1] == TurnEnded(StopReason.END_TURN, "")
    return events


def test_no_token_is_read_twice_in_a_talk_or_on_its_fork(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    lay_out(generate(SEED), tmp_path / "repo")
    request = TalkRequest(tmp_path / "repo", "nano", "auto", python=plain_python())
    talk = open_conversation(request, Listener(), state=tmp_path / "state")
    replies = usages(turn(talk, "Something is wrong here, mend it."))
    assert "def has_negative_credit(budget):\n-    return budget <= 0\n" in talk.diff()
    read = replies[-1].num_prompt + replies[-1].num_generated

    (first, *_) = usages(turn(talk, "And is it good now?"))
    # The last token of a reply was drawn and not read; all after it is the new prompt.
    assert first.num_reused == read - 1
    assert first.num_repeated == 0
    assert first.num_prefilled == first.num_prompt - read + 1

    fork = talk.fork()
    before = talk.session.usages[-1]
    (other, *_) = usages(turn(fork, "What else is there?"))
    assert other.num_reused == before.num_prompt + before.num_generated - 1
    assert other.num_repeated == 0

    prompts = [point for point in talk.points() if point.kind == "prompt"]
    talk.rewind(prompts[1])
    (again, *_) = usages(turn(talk, "Or is it bad?"))
    assert again.num_reused >= replies[-1].num_prompt
    assert again.num_prefilled < first.num_prompt - first.num_reused + 40
    fork.close()
    talk.close()
