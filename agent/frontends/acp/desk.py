"""The sessions: opening, finding, listing, closing and deleting them."""

import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from acp import schema
from pydantic import BaseModel

from agent.compose import ChatFactory
from agent.config import config_file
from agent.conversation import Conversation
from agent.errors import SessionError
from agent.folders import further_folders
from agent.frontends.acp.calls import Files
from agent.frontends.acp.commands import Commands
from agent.frontends.acp.editor_talk import EditorTalk
from agent.frontends.acp.hands import Hands
from agent.frontends.acp.handshake import Client
from agent.frontends.acp.permission import AtEditor
from agent.frontends.acp.rpc import INVALID_PARAMS, NOT_FOUND, Peer, RpcError
from agent.frontends.acp.updates import Story
from agent.mcp_config import load_servers
from agent.mcp_handed import with_handed_in
from agent.open_talk import open_conversation, resume_conversation
from agent.prune import Kept, prune
from agent.session import JOURNAL
from agent.sessions import SessionInfo, list_sessions
from agent.talk_request import TalkRequest
from agent.workplace import find_repository, project_folder
from tools.mcp_server import McpServer

PAGE = 50
"""Sessions of one answer."""
ID = re.compile(r"[A-Za-z0-9][\w.-]{0,127}", re.ASCII)
Place = schema.LoadSessionRequest | schema.ResumeSessionRequest | schema.ForkSessionRequest


@dataclass(frozen=True)
class Setup:
    """What all sessions have in common."""

    request: TalkRequest
    """Every field but the folder."""
    state: Path
    factory: ChatFactory
    resolve: Callable[[str], str]
    """From the name of a model to the one that the factory knows."""
    commands: Commands
    client: Client = field(default_factory=Client)


class Desk:
    """All sessions of one client."""

    def __init__(self, peer: Peer, setup: Setup) -> None:
        self._peer = peer
        self._setup = setup
        self._lock = threading.Lock()
        self._open: dict[str, EditorTalk] = {}

    def get(self, session_id: str) -> EditorTalk:
        """Return an open session.

        Raises:
            RpcError: it is not open.
        """
        with self._lock:
            session = self._open.get(session_id)
        if session is None:
            raise RpcError(NOT_FOUND, f"session {session_id} is not open", {"uri": session_id})
        return session

    def new(self, params: schema.NewSessionRequest) -> EditorTalk:
        """Begin a talk.

        Raises:
            RpcError, AgentError, InferenceError, SandboxError: it cannot be.
        """
        folder = _folder(params.cwd)
        servers = _servers(params.mcp_servers)
        setup, person, hands = self._setup, self._person(), self._hands(folder)
        further = further_folders(params.additional_directories or (), find_repository(folder))
        model = setup.resolve(setup.request.model)
        request = replace(setup.request, path=folder, model=model, folders=further)
        talk = open_conversation(
            request, person, setup.factory, setup.state, servers=servers, reach=hands.reach
        )
        return self._enter(talk, person, hands)

    def resume(self, params: Place) -> EditorTalk:
        """Go on with a talk, which may be open already; raises as `new` does."""
        folder = _folder(params.cwd)
        servers = _servers(params.mcp_servers or ())
        repository = find_repository(folder)
        further = further_folders(params.additional_directories or (), repository)
        with self._lock:
            session = self._open.get(params.session_id)
        if session is not None:
            _check_is_about(session.talk, repository)
            _check_reads(session.talk, further)
            return session
        person, hands = self._person(), self._hands(folder)
        talk = self._resumed(params.session_id, person, hands, servers, further)
        try:
            _check_is_about(talk, repository)
        except RpcError:
            talk.close()
            raise
        return self._enter(talk, person, hands)

    def fork(self, params: schema.ForkSessionRequest) -> EditorTalk:
        """Begin a second talk that has said the same; raises as `new` does."""
        with self._lock:
            was_open = params.session_id in self._open
        session, person = self.resume(params), self._person()
        hands = self._hands(Path(params.cwd))
        try:
            fork = session.talk.fork(person, hands.reach)
        finally:
            if not was_open:
                self.close_one(params.session_id)
        return self._enter(fork, person, hands)

    def list(self, params: schema.ListSessionsRequest) -> schema.ListSessionsResponse:
        """List the talks of one folder, or all, the newest first.

        Raises:
            RpcError: the cursor is none of ours.
        """
        cursor = params.cursor or ""
        if cursor and not ID.fullmatch(cursor):
            raise RpcError(INVALID_PARAMS, "that cursor was not given by this agent")
        found = (
            info
            for info in list_sessions(self._setup.state)
            if info.kind == "talk" and info.title and (not cursor or info.id < cursor)
            if params.cwd is None or Path(params.cwd).is_relative_to(info.repository)
        )
        page = list(islice(found, PAGE + 1))
        return schema.ListSessionsResponse(
            sessions=[_listed(info) for info in page[:PAGE]],
            next_cursor=page[PAGE - 1].id if len(page) > PAGE else None,
        )

    def close_one(self, session_id: str) -> None:
        """Close a session, if it is open."""
        with self._lock:
            session = self._open.pop(session_id, None)
        if session is not None:
            session.close()

    def delete(self, session_id: str) -> None:
        """Remove a session from the disk; one that is not there is gone already.

        Raises:
            SessionError: another process has it, or it cannot be removed.
        """
        self.close_one(session_id)
        folder = self._setup.state / "sessions" / session_id
        is_there = ID.fullmatch(session_id) and (folder / JOURNAL).is_file()
        if is_there and not prune(Kept(folder, num_bytes=0, age_s=0.0)):
            raise SessionError(f"session {session_id} is in use")

    def close(self) -> None:
        """Close all sessions."""
        with self._lock:
            names = list(self._open)
            for session in self._open.values():
                session.cancel()
        for name in names:
            self.close_one(name)

    def _hands(self, folder: Path) -> Hands:
        return Hands(self._peer, self._setup.client, folder, self._is_quiet)

    def _is_quiet(self) -> bool:
        with self._lock:
            sessions = tuple(self._open.values())
        return all(session.hands.is_quiet() for session in sessions)

    def _resumed(
        self,
        session_id: str,
        person: AtEditor,
        hands: Hands,
        servers: tuple[McpServer, ...],
        further: tuple[Path, ...],
    ) -> Conversation:
        state, factory = self._setup.state, self._setup.factory
        if not (ID.fullmatch(session_id) and (state / "sessions" / session_id / JOURNAL).is_file()):
            raise RpcError(NOT_FOUND, f"there is no session {session_id}", {"uri": session_id})
        return resume_conversation(
            session_id,
            person,
            chat_factory=factory,
            state=state,
            servers=servers,
            folders=further,
            reach=hands.reach,
        )

    def _person(self) -> AtEditor:
        return AtEditor(self._peer, self._setup.client.has_forms)

    def _enter(self, talk: Conversation, person: AtEditor, hands: Hands) -> EditorTalk:
        session = talk.session
        repository = Path(session.start["repository"])
        request = TalkRequest.from_record(session.start["request"]).as_fix()
        story = Story(Files(project_folder(request, repository)), session.num_results)
        entered = EditorTalk(talk, person, hands, story, self._peer, self._setup.commands)
        with self._lock:
            self._open[talk.id] = entered
        talk.read_ahead()
        return entered


def _folder(cwd: str) -> Path:
    """Return the folder of a session.

    Raises:
        RpcError: it is no folder that a session can be in.
    """
    if not cwd.startswith("/") or "\0" in cwd:
        raise RpcError(INVALID_PARAMS, "cwd is a path from the root")
    with suppress(OSError, ValueError):
        if Path(cwd).is_dir():
            return Path(cwd)
    raise RpcError(INVALID_PARAMS, f"{cwd!r} is no folder")


def _check_is_about(talk: Conversation, repository: Path) -> None:
    about = talk.session.start["repository"]
    if str(repository) != about:
        raise RpcError(INVALID_PARAMS, f"session {talk.id} is about {about}")


def _check_reads(talk: Conversation, further: tuple[Path, ...]) -> None:
    if talk.request.folders != further:
        raise RpcError(
            INVALID_PARAMS, f"session {talk.id} is open with other further folders; close it first"
        )


def _servers(handed_in: Sequence[BaseModel]) -> tuple[McpServer, ...]:
    """Give the MCP servers of the user's settings and those of the editor.

    Raises:
        ConfigError: the settings cannot be read.
        RpcError: a server of the editor cannot be meant.
    """
    records = [one.model_dump(by_alias=True, mode="json") for one in handed_in]
    servers, left_out = with_handed_in(load_servers(config_file()), records)
    if left_out:
        raise RpcError(INVALID_PARAMS, left_out[0].removesuffix("."))
    return servers


def _listed(info: SessionInfo) -> schema.SessionInfo:
    with suppress(OSError):
        changed = datetime.fromtimestamp((info.folder / JOURNAL).stat().st_mtime, UTC)
        return schema.SessionInfo(
            session_id=info.id,
            cwd=info.repository,
            title=info.title,
            updated_at=changed.isoformat(timespec="seconds"),
            additional_directories=[*info.further] or None,
        )
    return schema.SessionInfo(session_id=info.id, cwd=info.repository, title=info.title)
