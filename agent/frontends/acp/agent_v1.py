"""Version 1 of the protocol: which methods there are, and what each does to the sessions.

What takes time is done in a thread of the session's, or in the one for opening and listing; the
thread that reads only hands it over, so that a cancel always gets through.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from acp import schema
from pydantic import BaseModel

from agent.frontends.acp.blocks import text_of
from agent.frontends.acp.desk import Desk
from agent.frontends.acp.editor_talk import EditorTalk
from agent.frontends.acp.failures import failure
from agent.frontends.acp.lane import Lane, Work
from agent.frontends.acp.options import (
    ATTEMPTS,
    MODE,
    MODEL,
    THINKING,
    effort_of,
    mode_of,
    modes_of,
    number_of,
    options_of,
)
from agent.frontends.acp.pictures import pictures_of
from agent.frontends.acp.rpc import (
    CANCELLED,
    INVALID_PARAMS,
    METHOD_NOT_FOUND,
    Params,
    Request,
    RpcError,
)
from agent.frontends.acp.words import as_params, read
from inference.errors import ModelUnavailable

log = logging.getLogger(__name__)
Set = schema.SetSessionConfigOptionSelectRequest
STEER = "_qwen-agent/steer"
MAX_NAME = 80


@dataclass(frozen=True)
class Route:
    """One method."""

    words: type[BaseModel]
    """What its params are."""
    run: Callable[[Request, Any], None]


class AgentV1:
    """Answers the methods of version 1."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._lane = Lane("desk")
        self.routes = {
            "authenticate": Route(schema.AuthenticateRequest, self._authenticate),
            "logout": Route(schema.LogoutRequest, self._logout),
            "session/new": Route(schema.NewSessionRequest, self._new),
            "session/load": Route(schema.LoadSessionRequest, self._load),
            "session/resume": Route(schema.ResumeSessionRequest, self._resume),
            "session/list": Route(schema.ListSessionsRequest, self._list),
            "session/fork": Route(schema.ForkSessionRequest, self._fork),
            "session/close": Route(schema.CloseSessionRequest, self._close),
            "session/delete": Route(schema.DeleteSessionRequest, self._delete),
            "session/prompt": Route(schema.PromptRequest, self._prompt),
            "session/set_mode": Route(schema.SetSessionModeRequest, self._set_mode),
            "session/set_config_option": Route(Set, self._set_option),
        }

    def request(self, request: Request) -> None:
        """Answer, now or later."""
        route = self.routes.get(request.method)
        if route is None:
            name = request.method[:MAX_NAME]
            raise RpcError(METHOD_NOT_FOUND, f"there is no method {name}", {"method": name})
        route.run(request, read(route.words, request.params))

    def notice(self, method: str, params: Params) -> None:
        """Stop or steer a turn; of what else is told nothing is needed."""
        if method == "session/cancel":
            self._desk.get(read(schema.CancelNotification, params).session_id).cancel()
        elif method == STEER:
            session_id, text = params.get("sessionId"), params.get("text")
            if isinstance(session_id, str) and isinstance(text, str) and text.strip():
                self._desk.get(session_id).talk.steer(text)
        else:
            log.info("%s is not known", method)

    def close(self) -> None:
        """End all sessions; what was said is kept."""
        self._desk.close()

    # ---- who is there

    def _authenticate(self, _request: Request, params: schema.AuthenticateRequest) -> None:
        raise RpcError(INVALID_PARAMS, f"there is no login {params.method_id!r}: none is needed")

    def _logout(self, request: Request, _params: schema.LogoutRequest) -> None:
        request.succeed({})

    # ---- sessions

    def _new(self, request: Request, params: schema.NewSessionRequest) -> None:
        def open_it() -> None:
            session = self._desk.new(params)
            response = schema.NewSessionResponse(session_id=session.talk.id, **_settings(session))
            request.succeed(as_params(response))
            session.welcome()

        self._later(request, open_it)

    def _load(self, request: Request, params: schema.LoadSessionRequest) -> None:
        def replay(session: EditorTalk) -> None:
            session.replay()
            request.succeed(as_params(schema.LoadSessionResponse(**_settings(session))))
            session.welcome()

        def open_it() -> None:
            session = self._desk.resume(params)
            session.do(_answering(request, lambda: replay(session)))

        self._later(request, open_it)

    def _resume(self, request: Request, params: schema.ResumeSessionRequest) -> None:
        def open_it() -> None:
            session = self._desk.resume(params)
            request.succeed(as_params(schema.ResumeSessionResponse(**_settings(session))))
            session.welcome()

        self._later(request, open_it)

    def _fork(self, request: Request, params: schema.ForkSessionRequest) -> None:
        def fork() -> None:
            session = self._desk.fork(params)
            response = schema.ForkSessionResponse(session_id=session.talk.id, **_settings(session))
            request.succeed(as_params(response))
            session.welcome()

        self._later(request, fork)

    def _list(self, request: Request, params: schema.ListSessionsRequest) -> None:
        self._later(request, lambda: request.succeed(as_params(self._desk.list(params))))

    def _close(self, request: Request, params: schema.CloseSessionRequest) -> None:
        session = self._desk.get(params.session_id)
        session.cancel()

        def close() -> None:
            self._desk.close_one(params.session_id)
            request.succeed({})

        self._later(request, close)

    def _delete(self, request: Request, params: schema.DeleteSessionRequest) -> None:
        def delete() -> None:
            self._desk.delete(params.session_id)
            request.succeed({})

        self._later(request, delete)

    # ---- in a session

    def _prompt(self, request: Request, params: schema.PromptRequest) -> None:
        session = self._desk.get(params.session_id)
        pictures = pictures_of(params.prompt)
        session.prompt(request, text_of(params.prompt, pictures), pictures)

    def _set_mode(self, request: Request, params: schema.SetSessionModeRequest) -> None:
        session = self._desk.get(params.session_id)
        session.set_mode(mode_of(params.mode_id))
        request.succeed({})
        session.tell_options()

    def _set_option(self, request: Request, params: Set) -> None:
        session = self._desk.get(params.session_id)

        def answer() -> None:
            session.know_options()
            response = schema.SetSessionConfigOptionResponse(
                config_options=options_of(session.talk)
            )
            request.succeed(as_params(response))

        def set_model() -> None:
            try:
                session.talk.set_model(params.value)
            except ModelUnavailable as error:
                raise RpcError(INVALID_PARAMS, str(error)) from error
            answer()
            session.talk.read_ahead()

        if params.config_id == MODE:
            session.set_mode(mode_of(params.value))
        elif params.config_id == THINKING:
            session.talk.set_thinking(effort_of(params.value))
        elif params.config_id == ATTEMPTS:
            session.talk.set_attempts(number_of(params.value))
        elif params.config_id == MODEL:
            session.do(_answering(request, set_model))  # when no turn runs
            return
        else:
            raise RpcError(INVALID_PARAMS, f"there is no option {params.config_id!r}")
        answer()

    def _later(self, request: Request, work: Work) -> None:
        self._lane.do(_answering(request, work))


def _answering(request: Request, work: Work) -> Work:
    """Do something unless it was taken back meanwhile; say no where it fails."""

    def run() -> None:
        if request.is_cancelled():
            request.fail(RpcError(CANCELLED, "cancelled before it began"))
            return
        try:
            work()
        except Exception as error:
            request.fail(failure(error))

    return run


def _settings(session: EditorTalk) -> dict[str, Any]:
    session.know_options()
    return {"modes": modes_of(session.talk), "config_options": options_of(session.talk)}
