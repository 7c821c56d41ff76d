"""One talk as an editor sees it: prompts in, updates out, in a thread of its own."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from acp import schema

from agent.conversation import Conversation
from agent.errors import RunCancelled, WorkspaceBusy
from agent.events import Event, StopReason, TurnEnded
from agent.frontends.acp.commands import Commands
from agent.frontends.acp.failures import failure
from agent.frontends.acp.hands import Hands
from agent.frontends.acp.lane import Lane, Work
from agent.frontends.acp.options import chosen, options_of
from agent.frontends.acp.permission import AtEditor
from agent.frontends.acp.pictures import SentPicture, as_files
from agent.frontends.acp.replay import replayed
from agent.frontends.acp.rpc import Peer, Request
from agent.frontends.acp.updates import (
    Story,
    Update,
    doing,
    said,
    send,
    sum_of,
    titled,
    typed,
    used,
)
from agent.frontends.acp.words import as_params
from agent.settings import ApprovalMode
from sandbox.base import Cancel

log = logging.getLogger(__name__)
MAX_TITLE = 80
LEAVE_S = 10.0
"""How long a turn that was told to stop is waited for."""


class EditorTalk:
    """An open session."""

    def __init__(
        self,
        talk: Conversation,
        person: AtEditor,
        hands: Hands,
        story: Story,
        peer: Peer,
        commands: Commands,
    ) -> None:
        self.talk = talk
        self.hands = hands
        self._person = person
        self._story = story
        self._peer = peer
        self._commands = commands
        self._lane = Lane(f"session {talk.id}")
        self._prompts: set[Request] = set()
        self._running: Request | None = None
        self._known: tuple[object, ...] = ()
        person.enter(talk.id, story)
        hands.enter(talk.id, story)

    def tell(self, update: Update) -> None:
        """Send one update."""
        send(self._peer, self.talk.id, update)

    def do(self, work: Work) -> None:
        """Have something done when no turn runs."""
        self._lane.do(work)

    def welcome(self) -> None:
        """Tell what an editor shows of a session that was just opened."""
        self.tell(self._commands.offers())

    def replay(self) -> None:
        """Tell the whole conversation again."""
        for update in replayed(self.talk.session.messages, self._story):
            self.tell(update)
        self.tell(used(self.talk.status(), None))

    def prompt(self, request: Request, text: str, pictures: Sequence[SentPicture] = ()) -> None:
        """Answer a prompt after those before it; that it has come is told at once."""
        is_first = not self.talk.points() and not text.startswith("/")
        self._prompts.add(request)
        request.when_cancelled(lambda: self._leave_out(request))
        self.tell(titled(text.partition("\n")[0][:MAX_TITLE] if is_first else None))
        self._lane.do(lambda: self._run(request, text, pictures))

    def cancel(self) -> None:
        """Stop the prompt that runs, and those that wait."""
        for request in tuple(self._prompts):
            request.cancel()

    def set_mode(self, mode: ApprovalMode) -> None:
        """Change what runs without asking, and tell it."""
        self.talk.set_mode(mode)
        self.tell(
            schema.CurrentModeUpdate(session_update="current_mode_update", current_mode_id=mode)
        )

    def know_options(self) -> None:
        """Take the editor to know how everything is set."""
        self._known = chosen(self.talk)

    def tell_options(self) -> None:
        """Tell how everything is set, if that is not what the editor knows."""
        if chosen(self.talk) != self._known:
            self.know_options()
            options = options_of(self.talk)
            self.tell(
                schema.ConfigOptionUpdate(
                    session_update="config_option_update", config_options=options
                )
            )

    def close(self) -> None:
        """Stop what runs, save what was said, and end what the talk has started."""
        self.cancel()
        if not self._lane.end(LEAVE_S):
            log.warning("session %s is still busy and is left", self.talk.id)
        self.talk.close()

    # ---- one prompt

    def _leave_out(self, request: Request) -> None:
        """Answer a prompt that was taken back before its turn came."""
        if request is not self._running and request in self._prompts:
            self._prompts.discard(request)
            request.succeed(as_params(schema.PromptResponse(stop_reason="cancelled")))

    def _run(self, request: Request, text: str, pictures: Sequence[SentPicture]) -> None:
        self._running = request
        if request not in self._prompts:
            return
        try:
            with as_files(pictures, self.talk.session.folder) as files:
                ended = self._turn(text, files, request.is_cancelled)
        except Exception as error:
            if request.is_cancelled() or isinstance(error, RunCancelled):
                ended = TurnEnded(StopReason.CANCELLED, "cancelled")
                log.info("cancelled: %s", error)
            else:
                self._prompts.discard(request)
                request.fail(failure(error))
                return
        finally:
            for update in self._story.end():
                self.tell(update)
        self.tell_options()
        self._prompts.discard(request)
        answer = schema.PromptResponse(
            stop_reason=_reason(ended).value, usage=sum_of(self._story.usages)
        )
        request.succeed(as_params(answer))

    def _turn(self, text: str, pictures: Sequence[Path], cancel: Cancel) -> TurnEnded:
        """Run a prompt, and what came too late to steer it; return how the last turn ended."""
        self._story.begin()
        self._person.begin(cancel)
        self.hands.begin(cancel)
        ended = TurnEnded(StopReason.END_TURN, "")
        next_text: str | None = text
        while next_text is not None and not cancel():
            for item in self._unhurried(next_text, pictures, cancel):
                if isinstance(item, TurnEnded):
                    ended = item
                for update in self._updates(item):
                    self.tell(update)
            next_text, pictures = self.talk.next_prompt(), ()
            if next_text is not None:
                self.tell(typed(next_text))
        return TurnEnded(StopReason.CANCELLED, "cancelled") if cancel() else ended

    def _updates(self, item: Event | str) -> Iterator[Update]:
        if isinstance(item, str):
            yield said(f"{item}\n")
        else:
            yield from self._story.updates(item, self.talk.status)

    def _unhurried(
        self, text: str, pictures: Sequence[Path], cancel: Cancel
    ) -> Iterator[Event | str]:
        """Run a prompt, once no other session writes to the same files."""
        is_told = False
        while not cancel():
            try:
                yield from self._commands.run(self.talk, text, cancel, pictures)
                return
            except WorkspaceBusy as error:
                if not isinstance(error.__cause__, BlockingIOError):
                    raise  # it cannot be locked at all
            if not is_told:
                self.tell(doing("waiting"))
                is_told = True


def _reason(ended: TurnEnded) -> StopReason:
    """Return the protocol's word; its refusal would take the prompt out of the conversation."""
    return StopReason.END_TURN if ended.reason is StopReason.REFUSAL else ended.reason
