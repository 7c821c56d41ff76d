"""Opens a conversation: a new one, or one that is on disk, also after its process was killed.

It looks at little and waits for nothing: the model loads beside, the files are saved with the first
turn. torch is not imported here.
"""

from dataclasses import replace
from pathlib import Path

from agent.approver import Person
from agent.compose import ChatFactory
from agent.config import narrow, state_folder
from agent.conversation import Conversation
from agent.engine import meant, with_engine
from agent.errors import SessionError, UsageError
from agent.loading import Loading
from agent.reach import Reach
from agent.session import Session
from agent.sessions import find_session
from agent.state_folder import usable_state
from agent.talk_bench import Surroundings
from agent.talk_request import TalkRequest
from agent.workplace import find_repository, is_writable
from sandbox.choose import choose
from tools.mcp_server import McpServer

OTHERS_FILE = ".mcp.json"
"""Where other agents read which MCP servers a repository wants started."""
NO_LIMIT = 2**62
"""Of tokens: a person is there, and stops what they do not want."""


def open_conversation(
    request: TalkRequest,
    person: Person,
    chat_factory: ChatFactory | None = None,
    state: Path | None = None,
    loading: Loading | None = None,
    servers: tuple[McpServer, ...] = (),
    reach: Reach | None = None,
) -> Conversation:
    """Begin a talk; about files that cannot be written, in plan mode.

    `chat_factory` makes the model instead of the one that the request names; `loading` is a model
    that other talks have too; `servers` are the MCP servers that may be used; `reach` is what the
    front end puts between the tools and what they work on.

    Raises:
        UsageError: the folder is in no repository, or is the home folder.
        ModelUnavailable: the name stands for no model.
        SandboxUnavailable: commands could not be contained.
        SessionError: the session cannot be written.
    """
    repository = find_repository(request.path)
    _check_is_project(repository)
    if chat_factory is None and loading is None:
        request = replace(request, model=meant(request.model, request.config.engine))
    where, fault = usable_state(state or state_folder(), repository)
    around = _around(request, repository, chat_factory, where, servers, reach)
    own, notices = _settled(request, repository)
    start = {"kind": "talk", "repository": str(repository), "model": request.model}
    session = Session.create(around.state, {**start, "request": request.to_record()})
    notices = [fault, *notices] if fault else notices
    return Conversation(own, around, session, person, loading, notices)


def resume_conversation(
    name: str,
    person: Person,
    path: Path | None = None,
    chat_factory: ChatFactory | None = None,
    state: Path | None = None,
    loading: Loading | None = None,
    servers: tuple[McpServer, ...] = (),
    folders: tuple[Path, ...] | None = None,
    reach: Reach | None = None,
    engine: str | None = None,
) -> Conversation:
    """Go on with the talk `name`, or with the last one about the repository of `path`.

    `folders` are the further ones to read, `engine` the address of the server that answers; those
    that it had if left out.

    Raises:
        UsageError: there is none.
        SessionError: it is damaged, or another process has it; else as `open_conversation` does.
    """
    where = state or state_folder()
    repository = None if name else find_repository(path or Path())
    session = Session.open(find_session(where, name, repository, "talk"))
    try:
        if session.start.get("kind") != "talk":
            raise UsageError(f"{name} is a run of fix; see `qwen-agent fix --resume {name}`")
        request = TalkRequest.from_record(session.start["request"])
        request = replace(request, model=session.facts.get("model", {}).get("name", request.model))
        request = replace(request, config=with_engine(request.config, engine))
        request = request.as_chosen(session.facts.get("mode", {}))
        repository = find_repository(Path(session.start["repository"]))
        around = _around(request, repository, chat_factory, where, servers, reach)
        request = _with_folders(request, folders)
        own, notices = _settled(request, repository)
    except (KeyError, TypeError, ValueError) as error:
        session.close()
        raise SessionError(f"session {session.id} is of another version of qwen-agent") from error
    except BaseException:
        session.close()
        raise
    notices = [session.damage, *notices] if session.damage else notices
    talk = Conversation(own, around, session, person, loading, notices)
    talk.settle()
    return talk


def _around(
    request: TalkRequest,
    repository: Path,
    factory: ChatFactory | None,
    state: Path,
    servers: tuple[McpServer, ...],
    reach: Reach | None,
) -> Surroundings:
    sandbox = choose(request.sandbox)
    return Surroundings(repository, state, sandbox, factory, servers, reach or Reach())


def _settled(request: TalkRequest, repository: Path) -> tuple[TalkRequest, list[str]]:
    """Return the request with the settings that hold here, and what is to be said of them."""
    notices: list[str] = []
    if request.mode != "plan" and not is_writable(repository):
        request = replace(request, mode="plan")
        notices.append(f"{repository} is read-only, so this is plan mode: nothing can be changed.")
    approval = replace(request.config.approval, mode=request.mode)
    budget = replace(request.config.budget, max_tokens=NO_LIMIT)
    config, ignored = narrow(replace(request.config, approval=approval, budget=budget), repository)
    if ignored:
        notices.append(f"Ignored in the repository's own settings: {', '.join(ignored)}.")
    if (repository / OTHERS_FILE).exists():
        notices.append(
            f"The repository's {OTHERS_FILE} is ignored: what it starts is yours to name, under "
            "[mcp.servers] of your own settings."
        )
    return replace(request, config=config), notices


def _with_folders(request: TalkRequest, folders: tuple[Path, ...] | None) -> TalkRequest:
    """Let these be read, or those from before that are still there."""
    kept = tuple(folder for folder in request.folders if folder.is_dir())
    return replace(request, folders=kept if folders is None else folders)


def _check_is_project(repository: Path) -> None:
    """Refuse a folder that holds all that a person has: its files are saved and shown."""
    home = Path.home().resolve()
    if home.is_relative_to(repository):
        raise UsageError(f"{repository} is or holds your home folder; talk about a project in it")
