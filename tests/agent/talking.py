"""A talk on real files with a model that reads from a script, and a person who answers from one.

As a program (`python -m tests.agent.talking REPOSITORY STATE`) it is a talk to be killed in a call.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agent.approval import Answer, Ask
from agent.conversation import Conversation
from agent.events import CallEnded, Event, TurnEnded
from agent.open_talk import open_conversation, resume_conversation
from agent.reach import Reach
from agent.settings import ApprovalMode, Config, VerifyConfig
from agent.talk_request import TalkRequest
from inference.chat import ChatModel
from sandbox.base import Cancel, never
from tests.agent.fakes import Say, ScriptedModel, bash, make_repository
from tools.mcp_form import Form, Values

YES, NO = Answer(True), Answer(False, reason="use tabs")
QUIET = Config(verify=VerifyConfig(tests=False))
"""No test runs after edits: most of what is tested here has none."""


@dataclass
class Listener:
    """A person who gives these answers one after the other, and the last one from then on."""

    answers: Sequence[Answer | None] = (YES,)
    asked: list[Ask] = field(default_factory=list)
    values: Values | None = None
    """What is filled in."""
    forms: list[Form] = field(default_factory=list)

    def ask(self, ask: Ask) -> Answer | None:
        """Answer."""
        self.asked.append(ask)
        return self.answers[min(len(self.asked), len(self.answers)) - 1]

    def fill(self, form: Form) -> Values | None:
        """Fill in a form."""
        self.forms.append(form)
        return self.values


@dataclass
class Talk:
    """A conversation and all that can be asked about it."""

    conversation: Conversation
    model: ScriptedModel
    person: Listener
    repository: Path
    events: list[Event] = field(default_factory=list)

    def say(self, text: str, cancel: Cancel = never, on: Callable[[Event], Any] = id) -> TurnEnded:
        """Run a turn; `on` is told of each event while it runs."""
        self.events = []
        for event in self.conversation.turn(text, cancel):
            self.events.append(event)
            on(event)
        ended = self.events[-1]
        assert isinstance(ended, TurnEnded)
        return ended

    def all(self, kind: type[Any]) -> list[Any]:
        """Return the events of a kind in the last turn."""
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def results(self) -> list[str]:
        """What the model was told, call by call, in the last turn."""
        return [event.text for event in self.all(CallEnded)]

    def read(self, name: str) -> str:
        """Return a file of the repository."""
        return (self.repository / name).read_text()

    def resumed(self, chat: ChatModel | None = None) -> "Talk":
        """Go on in the way that another process would."""
        self.conversation.close()
        conversation = resume_conversation(
            self.conversation.id,
            self.person,
            chat_factory=lambda _request: chat or self.model,
            state=self.conversation.session.folder.parents[1],
        )
        return replace(self, conversation=conversation)


def start_talk(
    folder: Path,
    *script: Say,
    mode: ApprovalMode = "auto",
    answers: Sequence[Answer | None] = (YES,),
    chat: ChatModel | None = None,
    reach: Reach | None = None,
    **changes: Any,
) -> Talk:
    """Begin a talk about a repository with one bug; `changes` are fields of the request."""
    repository = folder / "work"
    if not repository.exists():
        make_repository(repository)
    model, person = ScriptedModel([script]), Listener(answers)
    request = TalkRequest(repository, model="scripted", mode=mode, sandbox="direct", config=QUIET)
    conversation = open_conversation(
        replace(request, **changes),
        person,
        chat_factory=lambda _request: chat or model,
        state=folder / "state",
        reach=reach,
    )
    return Talk(conversation, model, person, repository)


def main() -> int:
    """Talk until the process is killed, in a command that writes and then hangs."""
    repository, state = map(Path, sys.argv[1:])
    script = ScriptedModel([[bash("echo half > made.txt; echo ready; sleep 60")]])
    request = TalkRequest(repository, model="scripted", mode="auto", sandbox="direct", config=QUIET)
    talk = open_conversation(request, Listener(), lambda _request: script, state)
    print(talk.id, flush=True)
    for _event in talk.turn("Make a file.", never):
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
