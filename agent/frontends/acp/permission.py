"""Asking the person at the editor: about a call, with four answers, or what a form asks for."""

import logging
from collections.abc import Mapping
from typing import Literal

from acp import schema
from pydantic import ValidationError

from agent.approval import Answer, Ask
from agent.frontends.acp.calls import diffs, kind_of, places_of, raw_input, title_of, words
from agent.frontends.acp.forms import asked_of, given_of
from agent.frontends.acp.rpc import Gone, Params, Peer, RpcError
from agent.frontends.acp.updates import Story, send
from agent.frontends.acp.words import as_params
from agent.rules import changes_file
from sandbox.base import Cancel, never
from tools.mcp_form import Form, Values

log = logging.getLogger(__name__)
Kind = Literal["allow_once", "allow_always", "reject_once", "reject_always"]
ANSWERS: Mapping[Kind, Answer] = {
    "allow_once": Answer(True),
    "allow_always": Answer(True, always=True),
    "reject_once": Answer(False),
    "reject_always": Answer(False, always=True),
}
UNASKED = Answer(False, reason="nobody could be asked; find another way.", by_nobody=True)


class AtEditor:
    """The person of one talk, for the thread in which its turns run."""

    def __init__(self, peer: Peer, has_forms: bool = False) -> None:
        """Reach them by `peer`; `has_forms` is whether their editor can show one."""
        self._peer = peer
        self._has_forms = has_forms
        self._session_id = ""
        self._story: Story | None = None
        self._cancel: Cancel = never

    def enter(self, session_id: str, story: Story) -> None:
        """Sit down at a talk."""
        self._session_id, self._story = session_id, story

    def begin(self, cancel: Cancel) -> None:
        """Be there for a new turn; whoever waits for an answer goes on when `cancel` says so."""
        self._cancel = cancel

    def ask(self, ask: Ask) -> Answer | None:
        """Let them decide; None when the whole turn is to stop."""
        assert self._story is not None, "a turn runs after `enter`"
        if number := self._story.running_id:
            return self._answer(self._request(ask, number, self._story))
        # Not a call of the model: what is asked about is told of, so that it has a place.
        number = f"ask-{ask.key[:16]}"
        self._tell(
            schema.ToolCallStart(
                session_update="tool_call",
                tool_call_id=number,
                title=title_of(ask.call),
                kind=kind_of(ask.call),
                status="pending",
            )
        )
        answer = self._answer(self._request(ask, number, self._story))
        is_allowed = answer is not None and answer.allowed
        self._tell(
            schema.ToolCallProgress(
                session_update="tool_call_update",
                tool_call_id=number,
                status="completed" if is_allowed else "failed",
            )
        )
        return answer

    def _answer(self, request: Params) -> Answer | None:
        try:
            found = self._peer.ask("session/request_permission", request, self._cancel)
            outcome = schema.RequestPermissionResponse.model_validate(found).outcome
        except Gone:
            return None
        except (RpcError, ValidationError):
            return UNASKED
        if isinstance(outcome, schema.DeniedOutcome):
            return None
        return _answer_of(outcome.option_id)

    def _tell(self, update: schema.ToolCallStart | schema.ToolCallProgress) -> None:
        send(self._peer, self._session_id, update)

    def fill(self, form: Form) -> Values | None:
        """Let them fill in a form, if their editor can show one."""
        if not self._has_forms:
            return None
        assert self._story is not None, "a turn runs after `enter`"
        asked = asked_of(form, self._session_id, self._story.running_id)
        try:
            found = self._peer.ask("elicitation/create", as_params(asked), self._cancel)
            return given_of(form, found)
        except (Gone, RpcError, ValueError) as error:
            log.info("a form was not filled in: %s", error)
            return None

    def _request(self, ask: Ask, number: str, story: Story) -> Params:
        """Show exactly what would happen: the diff, or the command."""
        is_edit = changes_file(ask.call)
        call, what = ask.call, "this file" if is_edit else "this"
        changes = [*diffs(ask.exact, story.files, "-")] if is_edit else []
        names = {
            "allow_once": "Allow",
            "allow_always": f"Always allow {what}",
            "reject_once": "Reject",
            "reject_always": f"Never allow {what}",
        }
        return as_params(
            schema.RequestPermissionRequest(
                session_id=self._session_id,
                tool_call=schema.ToolCallUpdate(
                    tool_call_id=number,
                    title=title_of(call),
                    kind=kind_of(call),
                    content=[*changes] or [words(ask.preview, fenced=True)],
                    locations=places_of(call, story.files) or None,
                    raw_input=raw_input(call),
                ),
                options=[
                    schema.PermissionOption(option_id=kind, kind=kind, name=names[kind])
                    for kind in ANSWERS
                ],
            )
        )


def _answer_of(option: str) -> Answer:
    return next((answer for kind, answer in ANSWERS.items() if kind == option), UNASKED)
