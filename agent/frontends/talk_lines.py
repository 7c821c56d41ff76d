"""A talk without a screen, from its opening to its exit code: one answer, or line by line."""

from agent.approver import Person
from agent.compose import ChatFactory
from agent.config import config_file
from agent.conversation import Conversation
from agent.fix import KNOWN_ERRORS
from agent.frontends.one_answer import Nobody, Prompt, answer_once
from agent.frontends.output import OutputLost, complain
from agent.frontends.plain_signals import Signals
from agent.frontends.plain_talk import PlainPerson, PlainTalk
from agent.frontends.resuming import Resuming
from agent.mcp_config import load_servers
from agent.open_talk import open_conversation
from agent.outcome import CANCELLED
from agent.talk_request import TalkRequest


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
    signals = Signals()
    person = PlainPerson(signals) if prompt is None else Nobody()
    try:
        talk = _opened(request, resuming, person, chat_factory)
        try:
            if prompt is None:
                return PlainTalk(talk, signals).run()
            return answer_once(talk, prompt, is_stream)
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
