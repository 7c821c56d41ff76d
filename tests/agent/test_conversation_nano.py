"""A talk with nano, whose state is really reused: from turn to turn, and on a fork."""

from pathlib import Path

from agent.conversation import Conversation
from agent.events import ReplyEnded, StepStarted, StopReason, TestsStarted, TurnEnded
from agent.open_talk import open_conversation
from agent.sessions import list_sessions
from agent.talk_request import TalkRequest
from evals.nano.corpus import generate
from evals.nano.evaluate import lay_out
from inference.messages import Usage
from sandbox.base import never
from tests.agent.talking import Listener
from tests.plain import plain_python

SEED = 900_001


def first_reply(talk: Conversation, text: str) -> Usage:
    """Run a turn, and stop it after its first reply."""
    usages: list[Usage] = []
    for event in talk.turn(text, lambda: len(usages) > 0):
        if isinstance(event, ReplyEnded):
            usages.append(event.usage)
    return usages[0]


def test_no_token_is_read_twice_in_a_talk_or_on_its_fork(tmp_path: Path) -> None:
    (tmp_path / "repo").mkdir()
    lay_out(generate(SEED), tmp_path / "repo")
    request = TalkRequest(tmp_path / "repo", "nano", "auto", python=plain_python())
    talk = open_conversation(request, Listener(), state=tmp_path / "state")
    events = list(talk.turn("Something is wrong here, mend it.", never))
    assert events[-1] == TurnEnded(StopReason.END_TURN, "")
    assert TestsStarted("before") in events[: events.index(StepStarted(1))], "it takes a while"
    assert "def has_negative_credit(budget):\n-    return budget <= 0\n" in talk.diff()
    last = [event for event in events if isinstance(event, ReplyEnded)][-1].usage
    read = last.num_prompt + last.num_generated - 1  # the last token was drawn and not read

    second = first_reply(talk, "And is it good now?")
    assert (second.num_reused, second.num_repeated) == (read, 0)
    assert second.num_prefilled == second.num_prompt - read

    read = second.num_prompt + second.num_generated - 1
    on_fork = first_reply(talk.fork(), "And is it good now?")
    assert (on_fork.num_reused, on_fork.num_repeated) == (read, 0)

    prompts = [point for point in talk.points() if point.kind == "prompt"]
    assert prompts[0].words == "Something is wrong here, mend it.", "and not what nano was told"
    (info,) = [info for info in list_sessions(tmp_path / "state") if info.id == talk.id]
    assert info.title == "Something is wrong here, mend it."
    talk.rewind(prompts[1])
    again = first_reply(talk, "Or is it bad?")
    assert again.num_reused >= second.num_reused, "all from before the prompt"
    talk.close()
