"""Opens the interactive session: its folders, its terminal, its talk; then `Repl` runs it.

Nothing here is heavy: the prompt is there before the repository is read and the model is loaded.
"""

import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from agent.approval import Answer, Ask
from agent.config import config_file, state_folder
from agent.events import Event
from agent.frontends.repl.first_run import needs_choice, open_chosen
from agent.frontends.repl.launch import Launch, top_of
from agent.frontends.repl.output import FrameOutput
from agent.frontends.repl.repl import Repl
from agent.frontends.repl.source import Source
from agent.frontends.repl.talk_commands import recalled
from agent.frontends.repl.theme import theme_for
from agent.frontends.repl.worker import Blank, Printed, Question
from agent.frontends.resuming import Resuming
from agent.mcp_config import load_servers
from agent.talk_request import TalkRequest
from sandbox.base import Cancel
from tools.mcp_form import Form, Values

if TYPE_CHECKING:
    from agent.compose import ChatFactory
    from agent.conversation import Conversation


class AtScreen:
    """The person at the screen, for the thread in which a turn runs."""

    def __init__(self, repl: Repl) -> None:
        self._repl = repl

    def ask(self, ask: Ask) -> Answer | None:
        """Let them decide."""
        question = Question(ask)
        self._repl.feed.put(question)
        return question.wait(self._repl.worker.is_stopping)

    def fill(self, form: Form) -> Values | None:
        """Let them fill in a form."""
        blank = Blank(form)
        self._repl.feed.put(blank)
        return blank.wait(self._repl.worker.is_stopping)


def run(
    request: TalkRequest,
    resuming: Resuming | None = None,
    chat_factory: "ChatFactory | None" = None,
) -> int:
    """Be the session; `resuming` names an earlier talk to go on with."""

    def resume(repl: Repl, name: str) -> "Conversation":
        return Resuming(name).open(AtScreen(repl), request.path, chat_factory)

    def begin(repl: Repl, cancel: Cancel) -> Iterator[Event | Printed]:
        from agent.open_talk import open_conversation

        if resuming is not None:
            talk = resuming.open(AtScreen(repl), request.path, chat_factory)
            repl.enter(talk)
            yield from recalled(repl, talk)
            return

        def opened(name: str) -> "Conversation":
            named, servers = request.answered_by(name), load_servers(config_file())
            return open_conversation(named, AtScreen(repl), chat_factory, servers=servers)

        if chat_factory is None and needs_choice(request):
            repl.enter((yield from open_chosen(repl, opened, cancel)))
        else:
            repl.enter(opened(request.model))

    settings = request.config.repl
    launch = Launch(
        root=top_of(request.path.absolute()),
        history=state_folder() / "prompts.jsonl",
        commands=config_file().with_name("commands"),
        theme=theme_for(settings.theme),
        is_vi=settings.keys == "vi",
        state=state_folder(),
        begin=begin,
        resume=resume,
    )
    output = FrameOutput.from_pty(sys.stdout, term=os.environ.get("TERM"))
    assert isinstance(output, FrameOutput), "the class that was asked for"
    output.enable_cpr = False  # its answer would come between the keys
    return Repl(launch, Source(sys.stdin), output).run()
