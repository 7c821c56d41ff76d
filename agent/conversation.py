"""A person's talk with the model about one repository, on the person's own files; prints nothing.

A front end opens one (`open_talk.py`), runs turns and shows their events. One thread at a time runs
a turn or goes back and forth; meanwhile others steer, queue, take back, change the mode, run a
command and read `status`. What a turn changes is in the files at once, and can be undone: they are
saved before the turn and after every call.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from agent.approval import Answer, Ask
from agent.approver import Person
from agent.bench import tool_view
from agent.context import shorten_now
from agent.engine import meant
from agent.errors import RunCancelled, SessionError, UsageError
from agent.events import Event, Notice, StopReason, TestsStarted, TurnEnded
from agent.fork_session import fork_session
from agent.inbox import Inbox
from agent.lease import writer_lease
from agent.loading import Loading
from agent.reach import Reach
from agent.read_ahead import ReadAhead
from agent.rewind import Point, Rewound, changed_by_both, last_change, list_points, redo, rewind
from agent.servers import Servers
from agent.session import Session
from agent.settings import ApprovalMode, Effort
from agent.status import Gauge, Status
from agent.talk_attempts import attempted
from agent.talk_bench import Surroundings, TalkBench
from agent.talk_commit import Draft, commit, draft, work_of
from agent.talk_request import TalkRequest
from agent.talk_turn import TalkTurns
from agent.tests_ran import tests_ran
from agent.told import Told
from agent.turn import Turn
from agent.typed import typed_in
from agent.user_commit import Work
from sandbox.base import Cancel, CommandResult
from sandbox.errors import SandboxError
from sandbox.remove import remove_tree
from tools.errors import ProjectError

Events = Generator[Event, None, None]
"""To be read to its end, or closed."""

PATIENCE_S = 1.0
"""How long another session that writes to the same files is waited for."""


class Conversation:
    """One talk; made by `open_conversation` or `resume_conversation`."""

    def __init__(
        self,
        request: TalkRequest,
        around: Surroundings,
        session: Session,
        person: Person,
        loading: Loading | None = None,
        notices: Sequence[str] = (),
    ) -> None:
        """Go on with a session, which may be empty; `notices` are told with the first turn."""
        self.session = session
        self._person = person
        self._inbox = Inbox()
        self._told = Told(around.repository, request.folders)
        self._notices = list(notices)
        self._bench = TalkBench(
            request, around, session, self._ask, self._inbox, self._told, loading, person.fill
        )
        self._busy = threading.Lock()
        self._is_interrupted = False
        self._ahead = ReadAhead(self._bench)
        self._gauge = Gauge(session, self._bench, self._ahead)
        self._turns = TalkTurns(session, self._bench, self._told)

    @property
    def id(self) -> str:
        """The session's name, which it is resumed by."""
        return self.session.id

    @property
    def mode(self) -> ApprovalMode:
        """What runs without asking."""
        return self._bench.mode

    @property
    def request(self) -> TalkRequest:
        """What the talk was opened with, as it was changed since."""
        return self._bench.request

    def status(self) -> Status:
        """Say where the talk stands; costs next to nothing, from any thread."""
        return self._gauge.read()

    # ---- turns

    def turn(self, text: str, cancel: Cancel, pictures: Sequence[Path] = ()) -> Events:
        """Answer a prompt; the last event is a `TurnEnded`. A model on its way is waited for.

        When it is cancelled all stays good: the next turn goes on from the same state. Cancelled
        before the model was there, the prompt is not part of the conversation.

        Raises:
            UsageError: something else is being done already.
            WorkspaceBusy: another session is writing to the files.
            InferenceError, SandboxError, ProjectError: it cannot be; the talk can go on later.
        """
        with self._alone(), self._writing():
            stops = self._stops(cancel)
            while self._notices:
                yield Notice(self._notices.pop(0))
            try:
                bench = yield from self._bench.ready(stops)
            except RunCancelled:
                yield TurnEnded(StopReason.CANCELLED, "cancelled")
                return
            yield from self._turns.say(text, pictures, bench, stops)
            yield from self._turns.answered(bench, stops)

    def read_ahead(self, draft: str = "") -> None:
        """Have the model read what it will be told, and the draft of a prompt, while nobody asks.

        Costs next to nothing where that is done; from any thread. What is asked next stops it.
        """
        if self.request.config.model.read_ahead:
            self._ahead.begin((self._bench.loading, *self.session.messages), draft)

    def load(self, cancel: Cancel) -> Events:
        """Wait for the model, as a turn does.

        Raises:
            RunCancelled: the person did not want to wait.
            InferenceError: the model cannot be had.
        """
        yield from self._bench.load(cancel)

    def stop_call(self) -> bool:
        """Stop the call in hand; the model is told, and the turn goes on. False if none runs."""
        return self._bench.in_hand.stop()

    def steer(self, text: str) -> None:
        """Tell the model something with its next result, while a turn runs."""
        self._inbox.steer(text)

    def queue(self, text: str) -> None:
        """Keep a prompt for when the turn has ended."""
        self._inbox.queue(text)

    def queued(self) -> tuple[str, ...]:
        """Return the prompts that are kept for when the turn has ended."""
        return self._inbox.queued()

    def take_back(self) -> str | None:
        """Return what was typed last and has not reached the model, as if it had not been typed."""
        return self._inbox.take_back()

    def next_prompt(self) -> str | None:
        """Take what no turn has met: the prompt to go on with when one has ended, if any."""
        return self._inbox.take_prompt()

    def compact(self, cancel: Cancel) -> Events:
        """Put the conversation in short form now; raises as `turn` does, and RunCancelled."""
        with self._alone():
            bench = yield from self._bench.ready(cancel)
            if not (yield from shorten_now(Turn(self.session, bench.parts, cancel))):
                yield Notice("The conversation is as short as it can be.")

    def attempts(self, text: str, num_attempts: int, cancel: Cancel) -> Events:
        """Have attempts made on copies, judged by the tests; a good one is brought into the files.

        The last event is a `TurnEnded` with what it came to. Raises as `turn` does, and
        RunCancelled.
        """
        if self.mode == "plan":
            raise UsageError("in plan mode nothing may be changed; choose another mode first")
        with self._alone():
            bench = yield from self._bench.ready(cancel)
            yield from self._turns.say(text, (), bench, cancel)
            request = self._bench.request.as_fix(text, num_attempts)
            turn = Turn(self.session, bench.parts, cancel)
            yield from attempted(turn, request, self._bench.around.state)

    def run_tests(self, cancel: Cancel) -> Iterator[Event]:
        """Run the project's tests on the files as they are, for the person alone.

        Raises:
            ProjectError: nothing says how they are run.
            SandboxError: they cannot be.
        """
        place = self._bench.place()
        if not place.command:
            raise ProjectError("nothing says how the tests are run; see --test-cmd")
        yield TestsStarted("now")
        report = place.run_tests(cancel)
        yield tests_ran("now", report)

    def run_shell(
        self, command: str, cancel: Cancel, on_output: Callable[[bytes], None] | None = None
    ) -> CommandResult:
        """Run a command of the person in the sandbox; the next prompt tells the model of it.

        Raises:
            SandboxError, ProjectError: it cannot be run.
        """
        place = self._bench.place()
        words, view = ("bash", "-c", command), tool_view(place)
        result = place.sandbox.run(words, view, place.command_limits, cancel, on_output)
        self._told.ran(command, result)
        return result

    # ---- back and forth

    def points(self) -> tuple[Point, ...]:
        """Return the moments that can be gone back to, oldest first."""
        return list_points(self.session)

    def changed_by_both(self, point: Point) -> tuple[str, ...]:
        """Name the files that a rewind would put back although the person changed them, too."""
        with self._alone():
            return tuple(
                sorted(changed_by_both(self.session, self._bench.place().checkpoint, point))
            )

    def rewind(self, point: Point) -> Rewound:
        """Make the conversation what it was at a point, and the files that the model changed since.

        Raises:
            UsageError: a turn is running, or the point is not there any more.
            SandboxError: a file cannot be written; the conversation is as it was.
        """
        with self._alone(), self._writing():
            if point not in self.points():
                raise UsageError("that point is not part of the conversation any more")
            typed = typed_in(self.session, point.num_kept) if point.kind == "prompt" else ""
            self._bench.renew()
            paths = rewind(self.session, self._bench.place().checkpoint, point)
            return Rewound(point, typed, tuple(sorted(paths)))

    def undo(self) -> Rewound:
        """Take back the last change of the model.

        Raises:
            UsageError: it has changed nothing; else as `rewind` does.
        """
        return self.rewind(last_change(self.session))

    def redo(self) -> Rewound:
        """Take back the last rewind or undo.

        Raises:
            UsageError: there is none, or the talk went on since; else as `rewind` does.
        """
        with self._alone(), self._writing():
            self._bench.renew()
            paths = redo(self.session, self._bench.place().checkpoint)
            return Rewound(None, "", tuple(sorted(paths)))

    def fork(self, person: Person | None = None, reach: Reach | None = None) -> "Conversation":
        """Begin a second talk that has said the same until now, on the same files and model.

        `person` is who is talked with there, `reach` what they put in between; the same ones if
        left out.

        Raises:
            UsageError: a turn is running.
            SessionError: it cannot be written.
        """
        with self._alone():
            bench = self._bench
            session = fork_session(self.session, bench.around.state)
            around = replace(bench.around, reach=reach or bench.around.reach)
            person = person or self._person
            return Conversation(bench.request, around, session, person, bench.loading)

    def diff(self) -> str:
        """Return what has become of the files since the talk began, as a patch."""
        place = self._bench.place()
        return place.checkpoint.diff(place.base)

    # ---- MCP servers

    @property
    def servers(self) -> Servers:
        """The MCP servers: how they stand, their prompts and resources; after the first turn."""
        return self._bench.servers

    def reload_servers(self) -> None:
        """Start the servers anew with the next turn; raises UsageError in one."""
        with self._alone():
            self._bench.reload_servers()

    # ---- a commit of the person's

    def draft_commit(self, cancel: Cancel) -> Generator[Event, None, Draft]:
        """Say what `commit` would commit now, with a message that the model proposes.

        Raises as `work_of`, `draft` and `turn` do, and RunCancelled.
        """
        with self._alone():
            bench = yield from self._bench.ready(cancel)
            turn = Turn(self.session, bench.parts, cancel)
            return (yield from draft(turn, self._work(), self._bench.around.repository))

    def commit(self, words: str) -> str:
        """Commit the files that the model changed and no others; return the commit's id.

        Raises as `work_of` and `commit` of `talk_commit.py` do, and UsageError in a turn.
        """
        with self._alone(), self._writing():
            return commit(self._bench.around.repository, self._work(), words)

    def _work(self) -> Work:
        return work_of(self.session, self._bench.around.repository, self._bench.place().checkpoint)

    def settle(self) -> None:
        """Answer the call that an ended process has left open, and save what it may have changed.

        Asked once, before anything else, of a talk that is gone on with.
        """
        with suppress(ProjectError, SandboxError):  # the next turn says why it cannot be
            if cut := self._turns.settle_cut():
                self._notices.append(
                    f"When this talk was last open, {cut} was cut short; what it changed until "
                    "then can be taken back with /undo."
                )

    # ---- settings

    def set_mode(self, mode: ApprovalMode) -> None:
        """Change what runs without asking from the next call on; raises as the bench does."""
        self._bench.set_mode(mode)

    def set_thinking(self, effort: Effort) -> None:
        """Change how much the model thinks, from the next turn on."""
        self._bench.set_thinking(effort)

    def set_attempts(self, number: int) -> None:
        """Change how many attempts a prompt may take."""
        self._bench.set_attempts(number)

    def set_model(self, name: str) -> None:
        """Go on with another model from the next turn on; raises as `meant` does."""
        self._ahead.stop()
        self._bench.set_model(meant(name, self.request.config.engine))

    def load_again(self) -> None:
        """Begin to load the model anew, if it could not be had: the fault is known already."""
        self._bench.load_again()

    def close(self) -> None:
        """End what runs in the background, and let another process resume the talk."""
        has_ended = self._ahead.end(PATIENCE_S)
        self._bench.leave()
        prompts = [point.words for point in self.points() if point.kind == "prompt"]
        if not self.session.messages:
            self.session.close()
            if has_ended:  # else its files are being saved, and it is left to be pruned
                remove_tree(self.session.folder)
            return
        with suppress(SessionError):  # all that was said is on disk already
            self.session.record("end", exit_code=0, sentence=prompts[0] if prompts else "")
        self.session.close()

    # ---- who is asked, and who is in the way

    def _ask(self, ask: Ask) -> Answer:
        answer = self._person.ask(ask)
        if answer is None:
            self._is_interrupted = True
            return Answer(False)
        return answer

    def _stops(self, cancel: Cancel) -> Cancel:
        """Stop for whoever runs the turn, and for a person who answers so."""
        self._is_interrupted = False
        return lambda: self._is_interrupted or cancel()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._ahead.held_off():
            if not self._busy.acquire(blocking=False):
                raise UsageError("a turn is running; stop it first")
            try:
                yield
            finally:
                self._busy.release()

    def _writing(self) -> AbstractContextManager[None]:
        """Keep other sessions from writing to the files meanwhile."""
        return writer_lease(self._bench.around.repository, PATIENCE_S)
