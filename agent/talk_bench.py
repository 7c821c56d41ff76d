"""What a talk works with, made when it is first needed: the files, the model, the tools.

Nothing here waits before the first turn: the model loads beside, and the files are looked at when
something is to be done with them.
"""

import threading
from collections.abc import Generator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from agent.approver import Approver, AskPerson
from agent.bench import Bench, Materials, tool_view
from agent.compose import ChatFactory, make_bench
from agent.effects import effects_on
from agent.errors import SessionError, UsageError
from agent.events import Event, ModelLoading
from agent.in_hand import InHand
from agent.inbox import Inbox
from agent.loading import Loading, begin_loading
from agent.models import NANO
from agent.one_at_a_time import OneAtATime
from agent.reach import Reach, workspace_of
from agent.read_ahead import Beginning
from agent.read_only import ReadOnlyWhile
from agent.remembered import Remembered
from agent.servers import Servers
from agent.session import Session, read_anew
from agent.settings import ApprovalMode, Effort, ModelConfig
from agent.talk_request import TalkRequest
from agent.told import Told
from agent.wording import prompt
from agent.workplace import ASIDE, Workplace, is_writable, open_own_files
from inference.chat import ChatModel
from inference.errors import InferenceError
from inference.messages import Message, ReplyOptions
from sandbox.base import Cancel, Sandbox
from sandbox.proxy import way_out
from sandbox.scan import Watched
from tools.editor_forms import FOR_NANO, FULL
from tools.mcp_asking import Fill, nobody_fills
from tools.mcp_server import McpServer

MAX_NANO_TOKENS = 512
"""Of one reply: it needs fewer, and to words that it does not know it finds no end."""


@dataclass(frozen=True)
class Surroundings:
    """Where a talk takes place."""

    repository: Path
    state: Path
    """The folder of sessions and of what is allowed for always."""
    sandbox: Sandbox
    factory: ChatFactory | None
    """Makes the model; None loads the one that is named."""
    servers: tuple[McpServer, ...] = ()
    """The MCP servers that the person or their editor has named."""
    reach: Reach = field(default_factory=Reach)
    """What a front end puts between the tools and what they work on."""


class TalkBench:
    """The files, the model and the tools of one talk."""

    def __init__(
        self,
        request: TalkRequest,
        around: Surroundings,
        session: Session,
        ask: AskPerson,
        inbox: Inbox,
        told: Told,
        loading: Loading | None = None,
        fill: Fill = nobody_fills,
    ) -> None:
        """Begin to load the model, if it is not given."""
        self.request = request
        self.around = around
        self.loading = loading or self._load()
        self.in_hand = InHand()
        self._session = session
        self._ask = ask
        self._fill = fill
        self._inbox = inbox
        self._told = told
        self._place: Workplace | None = None
        self._place_lock = threading.Lock()
        self._held_open = ExitStack()
        self._bench: Bench | None = None
        self._approver: Approver | None = None
        self._remembered = Remembered(around.state, around.repository)
        self.servers = Servers(around.servers, around.sandbox, fill)
        """Asked for their tools before the first turn, and not again."""

    @property
    def chat(self) -> ChatModel | None:
        """The model that the tools were made for; None before the first turn."""
        return self._bench.parts.chat if self._bench else None

    @property
    def mode(self) -> ApprovalMode:
        """What runs without asking."""
        return self.request.config.approval.mode

    def set_mode(self, mode: ApprovalMode) -> None:
        """Change that, from the next call on; what runs in the background may not write on.

        Raises:
            UsageError: it would let files be changed that cannot be written.
        """
        if mode == "plan":
            self.close()
        elif not is_writable(self.around.repository):
            raise UsageError(f"{self.around.repository} is read-only; plan is the only mode in it")
        config = self.request.config
        approval = replace(config.approval, mode=mode)
        self.request = replace(self.request, mode=mode, config=replace(config, approval=approval))
        if self._approver is not None:
            self._approver.config = approval
        self._note_choices()

    def set_thinking(self, effort: Effort) -> None:
        """Change how much the model thinks, from the next turn on."""
        self.request = self.request.thinking(effort)
        self._note_choices()

    def set_attempts(self, number: int) -> None:
        """Change how many attempts a prompt may take, from the next one on."""
        self.request = replace(self.request, attempts=number)
        self._note_choices()

    def set_model(self, name: str) -> None:
        """Begin to load another model, for the next turn."""
        self.request = replace(self.request, model=name)
        self.loading = self._load()
        self.renew()

    def load_again(self) -> None:
        """Begin to load the model anew, if it could not be had."""
        if self.loading.fault:
            self.loading = self._load()

    def place(self) -> Workplace:
        """Return the files and what commands need around them; from any thread.

        Raises:
            ProjectError: the tests cannot be run as it was asked for.
            SandboxError: the files cannot be saved.
        """
        with self._place_lock:
            if self._place is None:
                bare = self.around.reach.bare(self.around.sandbox)
                watched = Watched(bare, self._session.folder / ASIDE)
                place = open_own_files(
                    self.request.as_fix(),
                    self.around.repository,
                    self._session,
                    ReadOnlyWhile(watched, lambda: self.mode == "plan"),
                    self._held_open.enter_context(way_out(self._hosts)),
                )
                self._place = _beside(place, self.request.folders)
            return self._place

    def ready(self, cancel: Cancel) -> Generator[Event, None, Bench]:
        """Return what a turn works with, once the model is there.

        Raises:
            RunCancelled: the person did not want to wait.
            InferenceError: the model cannot be had; the next call tries again.
            ProjectError, SandboxError: as `place`.
        """
        if self._bench is None:
            if not self.loading.is_done:
                yield ModelLoading(self.loading.name)
            place = self.place()  # the files are saved while the model loads
            if self.loading.name != NANO:
                self.servers.start(place.view)
            try:
                chat = yield from self.loading.steps(cancel)
            except InferenceError:
                self.loading = self._load()
                raise
            if chat.name != NANO:
                yield from self.servers.offer(self._ask, self._remembered, cancel)
            self._bench = self._taken_up(self._made(OneAtATime(chat, self.loading.gate)))
            self._adopt(chat.name)
        yield from self.servers.news()
        self._note_choices()
        self._bench = _thinking_as(self.request.config.model, self._bench)
        return self._bench

    @property
    def is_loading(self) -> bool:
        """Whether the model is on its way."""
        return not self.loading.is_done

    def beginning(self) -> Beginning | None:
        """Return what the next turn will begin with; None if the model cannot be had, or the person
        is yet to agree to MCP servers, whose tools are part of it. Changes nothing.

        Raises:
            ProjectError, SandboxError: as `place`.
        """
        chat, session = self.loading.chat, self._session
        if chat is None or not self.servers.is_settled:
            return None
        parts = (self._bench or self._made(OneAtATime(chat, self.loading.gate))).parts
        system, messages = _system_of(chat.name), tuple(session.messages)
        if not messages:
            messages = (Message("system", system),)
        elif session.facts.get("model", {}).get("name") != chat.name:
            messages = read_anew(messages, system)
        return Beginning(parts.chat, messages, parts.specs)

    def load(self, cancel: Cancel) -> Generator[Event, None, None]:
        """Wait until the model is there; raises as `ready` does."""
        if not self.loading.is_done:
            yield ModelLoading(self.loading.name)
        yield from self.loading.steps(cancel)

    def forget(self) -> None:
        """Take what was shown for not shown: the conversation may no longer hold it."""
        self._told.forget()
        if self._bench is not None:
            for tell in self._bench.parts.on_compacted:
                tell()

    def renew(self) -> None:
        """Make the tools anew for the next turn, which find in the session what they must know."""
        self.close()
        self._bench = None
        self._told.forget()

    def reload_servers(self) -> None:
        """Start the MCP servers anew with the next turn, which takes the tools they have then."""
        self.servers.close()
        self.servers = Servers(self.around.servers, self.around.sandbox, self._fill)
        self.renew()

    def close(self) -> None:
        """End what still runs in the background."""
        if self._bench is not None:
            self._bench.close()

    def leave(self) -> None:
        """End all that the talk holds; nothing can be asked of it any more."""
        self.close()
        self.servers.close()
        with suppress(SessionError):  # all that was said is on disk already
            self._note_choices()
        self._held_open.close()

    @property
    def _hosts(self) -> tuple[str, ...]:
        """Where commands may go; without a sandbox there is nothing to lead out of."""
        request = self.request
        return () if request.sandbox == "direct" else request.config.sandbox.allow_hosts

    def _note_choices(self) -> None:
        """Let who goes on have the talk's mode and the like, also after a kill."""
        thinking = self.request.config.model.thinking
        folders, attempts = [*map(str, self.request.folders)], self.request.attempts
        chosen = {"mode": self.mode, "thinking": thinking, "attempts": attempts, "folders": folders}
        noted = self._session.facts.get("mode", {})
        if any(noted.get(key) != value for key, value in chosen.items()):
            self._session.record("mode", **chosen)

    def _load(self) -> Loading:
        return begin_loading(self.request.as_fix(), self.around.factory)

    def _made(self, chat: ChatModel) -> Bench:
        place, request, is_nano = self.place(), self.request, chat.name == NANO
        num_new = request.config.model.max_new_tokens
        num_new = min(num_new, MAX_NANO_TOKENS) if is_nano else num_new
        options = ReplyOptions(max_new_tokens=num_new, thinking=not is_nano)
        given = Materials(place, self._session, chat, options, request.config)
        given = replace(given, server_tools=self.servers.tools, reach=self.around.reach)
        return make_bench(given)

    def _taken_up(self, bench: Bench) -> Bench:
        """Join what a talk has to a bench, for its turns."""
        bench.go_on(self._session)
        request, is_nano = self.request, bench.parts.chat.name == NANO
        view = tool_view(self.place())
        self._approver = Approver(
            request.config.approval,
            self._ask,
            effects_on(workspace_of(view), view, FOR_NANO if is_nano else FULL, bench.files),
            self._remembered,
        )
        parts = replace(
            bench.parts,
            approve=self._approver,
            on_compacted=(*bench.parts.on_compacted, self._told.forget),
            steering=self._inbox.take_steering,
            in_hand=self.in_hand,
            talks=True,
        )
        return replace(bench, parts=parts)

    def _adopt(self, model: str) -> None:
        """Begin the conversation, or go on with the one that another model has had until now."""
        session, system = self._session, _system_of(model)
        if not session.messages:
            session.begin(1, "talk", self.place().base, system)
        if session.facts.get("model", {}).get("name") != model:
            session.use_model(model, system)
            self._told.forget()


def _system_of(model: str) -> str:
    return prompt("nano_system" if model == NANO else "talk")


def _beside(place: Workplace, folders: tuple[Path, ...]) -> Workplace:
    """Show further folders beside the files."""
    view = place.view
    view = replace(view, further=folders, read_only=(*view.read_only, *folders))
    return replace(place, view=view)


def _thinking_as(config: ModelConfig, bench: Bench) -> Bench:
    """Let replies be drawn as the settings of the model now say."""
    parts = bench.parts
    if parts.config.model == config:
        return bench
    return replace(bench, parts=replace(parts, config=replace(parts.config, model=config)))
