"""A talk without a screen, from its opening to its exit code: one answer, or line by line."""

from collections.abc import Iterator

from agent.approver import Person
from agent.compose import ChatFactory
from agent.config import config_file, state_folder
from agent.conversation import Conversation
from agent.errors import KNOWN_ERRORS
from agent.events import Event
from agent.frontends.one_answer import Nobody, Prompt, answer_once
from agent.frontends.output import OutputLost, complain
from agent.frontends.plain_signals import Signals
from agent.frontends.resuming import Resuming
from agent.mcp_config import load_servers
from agent.open_talk import open_conversation
from agent.outcome import CANCELLED
from agent.talk_request import TalkRequest
from sandbox.base import Cancel


def run(
    request: TalkRequest,
    resuming: Resuming | None,
    prompt: Prompt | None,
    is_stream: bool,
    chat_factory: ChatFactory | None = None,
) -> int:
    """Answer `prompt`, or talk with whoever types if it is None; return the exit code.

    `resuming` names an earlier talk to go on with.
    """
    try:
        if prompt is None:
            return _in_lines(request, resuming, chat_factory)
        person = Nobody()
        talk = _opened(request, resuming, person, chat_factory)
        try:
            return answer_once(talk, person, prompt, is_stream)
        finally:
            talk.close()
    except OutputLost as lost:
        if lost.nobody_reads:
            return CANCELLED
        complain(str(lost))
        return lost.exit_code
    except KNOWN_ERRORS as error:
        complain(str(error))
        return error.exit_code


def _in_lines(
    request: TalkRequest, resuming: Resuming | None, chat_factory: ChatFactory | None
) -> int:
    """Be a talk in plain lines."""
    from agent.frontends.plain_host import PlainHost, PlainLaunch
    from agent.frontends.plain_person import PlainPerson
    from agent.frontends.plain_talk import PlainTalk
    from agent.frontends.repl.first_run import needs_choice, open_chosen
    from agent.frontends.repl.launch import top_of
    from agent.frontends.repl.talk_commands import recalled
    from agent.frontends.repl.worker import Printed

    signals = Signals()
    person = PlainPerson(signals)

    def named(model: str) -> Conversation:
        return _opened(request.answered_by(model), resuming, person, chat_factory)

    def begin(cancel: Cancel) -> Iterator[Event | Printed]:
        if resuming is None and chat_factory is None and needs_choice(request):
            host.enter((yield from open_chosen(host, named, cancel)))
            return
        host.enter(named(request.model))
        if resuming is not None and host.talk is not None:
            yield from recalled(host, host.talk)

    launch = PlainLaunch(
        root=top_of(request.path.absolute()),
        state=state_folder(),
        commands=config_file().with_name("commands"),
        resume=lambda name: _opened(request, Resuming(name), person, chat_factory),
    )
    host = PlainHost(launch, signals)
    try:
        with signals.heard():
            host.do(begin)
            return PlainTalk(host, signals).run()
    finally:
        for talk in host.talks:
            talk.close()


def _opened(
    request: TalkRequest,
    resuming: Resuming | None,
    person: Person,
    chat_factory: ChatFactory | None,
) -> Conversation:
    if resuming is None:
        servers = load_servers(config_file())
        return open_conversation(request, person, chat_factory, servers=servers)
    return resuming.open(person, request.path, chat_factory)
