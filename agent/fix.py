"""One run of `fix`, from a request to an outcome; a generator of events that prints nothing.

The order is the contract: what is cheap and can refuse comes first, the model is loaded when there
is something to repair, the verdict comes from a clean copy, and the user's files are touched once,
at the very end, by a repair that was judged good.
"""

import shlex
import time
from collections.abc import Callable, Generator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from agent.add_context import add_context, check_takes_context
from agent.attempts import AttemptResult, Ground, Task
from agent.compose import ChatFactory
from agent.config import narrow, state_folder
from agent.engine import found
from agent.errors import (
    AgentError,
    NotApplied,
    RunCancelled,
    SessionError,
    UsageError,
    WorkspaceBusy,
)
from agent.events import Event, ModelLoading, Notice, RunStarted
from agent.fix_servers import Named, attempts_with, servers_of
from agent.landing import land
from agent.loading import load_for_all
from agent.models import NANO
from agent.outcome import BUDGET, CANCELLED, ERROR, FIXED, NOTHING, RESUMABLE, FixOutcome, Tests
from agent.outputs import OUTPUTS
from agent.patch import check_target, write_whole
from agent.regressions import check_base, look_back
from agent.reopening import reopened
from agent.request import FixRequest
from agent.session import Session
from agent.settings import HooksConfig
from agent.state_folder import usable_state
from agent.stopped import stopped_by
from agent.tests_ran import tests_ran
from agent.together import TOGETHER
from agent.tree_size import check_size
from agent.user_commit import Work, check_commit, make_commit, message_of, summary_of
from agent.workplace import (
    ASIDE,
    ATTEMPTS,
    Workplace,
    check_writable,
    find_repository,
    open_workplace,
)
from sandbox.base import Cancel, never
from sandbox.errors import SandboxError
from sandbox.full_disk import is_full
from sandbox.proxy import way_out
from sandbox.remove import remove_tree
from sandbox.tree import check_changes
from tools.errors import ProjectError
from tools.run_tests import why_no_tests, why_not_started
from tools.test_report import TestReport

VERDICT_S = 1.0
"""For what a verdict does besides running the tests twice."""

Steps = Generator[Event, None, None]


def run_fix(
    request: FixRequest,
    cancel: Cancel = never,
    chat_factory: ChatFactory | None = None,
    state: Path | None = None,
) -> Generator[Event, None, FixOutcome]:
    """Repair a repository; every way it can end is an outcome, none is an exception.

    `chat_factory` gives a model that is loaded already, instead of the one the request names; once
    for each of the attempts that are made at once.
    """
    try:
        where = state or state_folder()
    except AgentError as error:
        return _refusal(request.path, error)
    return (yield from FixRun(request, cancel, chat_factory, where).to_its_end(None))


def resume_fix(
    path: Path | None,
    name: str = "",
    cancel: Cancel = never,
    chat_factory: ChatFactory | None = None,
    state: Path | None = None,
    change: Callable[[FixRequest], FixRequest] = lambda request: request,
) -> Generator[Event, None, FixOutcome]:
    """Go on with the session `name`, or with the last unfinished one of the repository.

    `change` makes the request from the recorded one; it raises a `UsageError` to refuse.
    """
    try:
        where = state or state_folder()
        session, request = reopened(path, name, where, change)
    except AgentError as error:
        return _refusal(path or Path(), error)
    return (yield from FixRun(request, cancel, chat_factory, where).to_its_end(session))


class FixRun:
    """What is known so far of one run; each method is one stage of it."""

    def __init__(
        self, request: FixRequest, cancel: Cancel, chat_factory: ChatFactory | None, state: Path
    ) -> None:
        self.request = request
        self.cancel = cancel
        self.chat_factory = chat_factory
        self.state = state
        self.servers: Named = ()
        self.session: Session | None = None
        self.has_no_room = False
        """Whether a full disk has stopped it: it can be gone on with when there is some."""
        self.start_s = time.monotonic()
        self.outcome = FixOutcome(ERROR, "", str(request.path), request.model, request.seed)

    def to_its_end(self, session: Session | None) -> Generator[Event, None, FixOutcome]:
        """Go through the stages, and make an outcome of whatever stops them."""
        self.session = session
        try:
            yield from self._stages()
        except GeneratorExit:
            self._ends_with(CANCELLED, "cancelled: nobody waits for the result any more")
            raise
        except Exception as error:
            self.has_no_room = is_full(error)
            self._ends_with(*stopped_by(error, self.cancel(), self.session, self.state))
        finally:
            if self.session is not None:
                self._close(self.session)
        return self.outcome

    # ---- stages

    def _stages(self) -> Steps:
        self._check_cancel()
        repository = find_repository(self.request.path)
        self._learn(repository=str(repository))
        if self.request.patch is not None:
            check_target(self.request.patch, repository)
        check_commit(self.request, repository)
        if self.request.base:
            check_base(self.request.base, repository)
        self.servers = servers_of(self.request)
        config, ignored = narrow(self.request.config, repository)
        self.request = replace(self.request, config=config)
        if ignored:
            yield Notice(f"Ignored in the repository's own settings: {', '.join(ignored)}.")
        if not (self.request.dry_run or self.request.branch):
            check_writable(repository)
        if self.session is None:
            check_size(repository, config.sandbox)
        check_takes_context(self.request, self.request.model)
        if self.chat_factory is None:
            # Refused at once is what could never be loaded; and `auto` may mean another model
            # when this session is resumed.
            self.request = replace(self.request, model=found(self.request.model, config.engine))
        if self.session is None:
            self.state, warning = usable_state(self.state, repository)
            if warning:
                yield Notice(warning)
        session = self._opened(repository)
        if session.damage:
            yield Notice(session.damage)
        # Without a sandbox there is nothing to lead out of.
        hosts = () if self.request.sandbox == "direct" else config.sandbox.allow_hosts
        with way_out(hosts) as network:
            if network:
                yield Notice(f"Commands can reach {', '.join(hosts)}.")
            place = open_workplace(self.request, repository, session, network)
            yield from self._work(place, repository, session)

    def _work(self, place: Workplace, repository: Path, session: Session) -> Steps:
        """Find what is red, let the model mend it, and keep what came of it."""
        command, level = shlex.join(place.command), place.sandbox.level
        folder = str(place.view.folder) if place.view.folder.parts else ""
        self._learn(sandbox=level, test_command=command, project=folder)
        session.record("isolation", level=level)
        yield RunStarted(session.id, str(repository), command, level)
        ground = yield from self._baseline(place)
        if ground is None:
            return
        turns_end_s = self._turns_end(ground.before)
        task = Task(self.request, place, session.folder, ground, turns_end_s, self.end_s)
        result = yield from self._attempts(task, session)
        self._keep(result, place, repository, session)

    @property
    def end_s(self) -> float:
        """When the time of the run is spent, on the monotonic clock."""
        return self.start_s + self.request.config.budget.max_time_s

    def _turns_end(self, report: TestReport) -> float:
        """Keep enough of the time for the verdict, so that work done in time is judged."""
        left_s = max(self.end_s - time.monotonic(), 0.0)
        return self.end_s - min(2 * report.duration_s + VERDICT_S, left_s / 2)

    def _opened(self, repository: Path) -> Session:
        """Begin a session, or go on with the one that was handed in."""
        if self.session is None:
            self.session = Session.create(
                self.state,
                {
                    "repository": str(repository),
                    "model": self.request.model,
                    "request": self.request.to_record(),
                },
            )
        self._learn(session_id=self.session.id)
        return self.session

    def _baseline(self, place: Workplace) -> Generator[Event, None, Ground | None]:
        """Run the tests before the repair; None if that already settles the run."""
        place.checkpoint.restore(place.base)
        report = place.run_tests(self.cancel, self.end_s)
        self._check_cancel()
        command = self.outcome.test_command
        if report.timed_out:
            seconds = self.request.config.sandbox.tests_s
            sentence = f"the tests did not end within {seconds:g} s: {command}"
            if time.monotonic() >= self.end_s:
                spent = self.request.config.budget.max_time_s
                sentence = f"{spent:g} seconds are spent and the tests have not ended: {command}"
            self._ends_with(BUDGET, sentence)
            return None
        if report.missing_command:
            raise ProjectError(f"{why_not_started(report)}; see --test-cmd")
        if report.no_tests:
            cause = why_no_tests(report)
            raise ProjectError(f"{command} ran no tests{f' ({cause})' if cause else ''}")
        self._learn(before=_tests(report))
        yield tests_ran("before", report)
        targets, note = self._targets(report), ""
        if self.request.base and targets:
            assert self.session is not None, "it was opened before the tests ran"
            earlier = yield from look_back(
                self.request.base, place, self.session, self.cancel, self.end_s
            )
            targets, note = targets & earlier.green, earlier.note
        if not targets and not self.request.issue:
            sentence = "the tests pass already; say what is wrong with --issue"
            if report.red:
                sentence = f"no test that is red now is green at {self.request.base}"
            self._ends_with(NOTHING, sentence)
            return None
        return Ground(place.base, report, targets, note)

    def _targets(self, report: TestReport) -> frozenset[str]:
        wanted = frozenset(self.request.tests)
        unknown = wanted - {case.id for case in report.cases}
        if unknown:
            raise UsageError(f"there is no test {min(unknown)}; ids look like {_example(report)}")
        return wanted & report.red if wanted else report.red

    def _attempts(self, task: Task, session: Session) -> Generator[Event, None, AttemptResult]:
        """Make attempts until one is green or they are spent."""
        self._check_cancel()
        yield ModelLoading(self.request.model)
        request = self.request
        chats = yield from load_for_all(request, self.chat_factory, self.cancel)
        self._learn(model=chats[0].name)
        if chats[0].name == NANO and request.config.hooks != HooksConfig():
            yield Notice("Your hooks are not run: nano goes without them.")
        if context := add_context(request, session, task.place, chats[0], self.state, self.cancel):
            yield Notice(f"Repository context: {context}.")
        attempts = attempts_with(self.servers, task, session, chats, self.state, self.cancel)
        return (yield from attempts)

    def _keep(
        self, result: AttemptResult, place: Workplace, repository: Path, session: Session
    ) -> None:
        """Write the patch down and, if the repair is good, bring it into the user's files."""
        patch = place.checkpoint.diff(place.base, result.final).encode("utf-8", "surrogateescape")
        report = result.verdict.report if result.verdict else None
        self._learn(
            targets=tuple(sorted(result.targets)),
            after=_tests(report) if report else None,
            stop_reason=result.ended.reason,
            changed_files=place.checkpoint.changed(place.base, result.final),
            patch=patch.decode("utf-8", "replace"),
        )
        kept = session.folder / "repair.patch"
        if patch:
            write_whole(kept, patch, mode=0o600)
            self._learn(patch_file=str(kept))
        if self.request.patch is not None:
            write_whole(self.request.patch, patch)
            self._learn(patch_file=str(self.request.patch))
        if result.exit_code == FIXED:
            try:
                self._land(result, place, repository, session)
            except (SandboxError, NotApplied, WorkspaceBusy) as error:
                raise NotApplied(
                    f"{str(error).rstrip('.')}. The repair is kept in {kept}."
                ) from error
        self._ends_with(result.exit_code, result.sentence)

    def _land(
        self, result: AttemptResult, place: Workplace, repository: Path, session: Session
    ) -> None:
        """Bring a good repair to where it was asked for: the files, a commit, or neither."""
        request, checkpoint = self.request, place.checkpoint
        check_changes(checkpoint, place.base, result.final)
        commit = None
        if request.commit or request.branch:
            model, tests = self.outcome.model, self.outcome.test_command
            words = message_of(summary_of(session), result.sentence, model, tests)
            paths = checkpoint.changed(place.base, result.final)
            work = Work(checkpoint, dict.fromkeys(paths, place.base), result.final)
            commit = make_commit(repository, work, request.branch, words)
        if not (request.dry_run or request.branch):
            land(session, checkpoint, place.base, result.final, repository)
            self._learn(applied=True)
        if commit is not None:
            commit.put_on(request.branch)
            self._learn(commit=commit.id)

    # ---- what is known

    def _learn(self, **facts: Any) -> None:
        self.outcome = replace(self.outcome, **facts)

    def _ends_with(self, exit_code: int, sentence: str) -> None:
        self._learn(exit_code=exit_code, sentence=sentence)

    def _check_cancel(self) -> None:
        if self.cancel():
            raise RunCancelled("cancelled; nothing was changed")

    def _close(self, session: Session) -> None:
        """Write the end down and free the space; a full disk does not change the outcome."""
        last = session.usages[-1] if session.usages else None
        parts, usages = (session, *session.beside), tuple(session.costs)
        self._learn(
            num_attempts=max(part.num_attempts for part in parts),
            usages=usages,
            num_steps=len(usages),
            num_calls=sum(part.num_results for part in parts),
            transcript_tokens=last.num_prompt + last.num_generated if last else 0,
            duration_s=time.monotonic() - self.start_s,
        )
        code, sentence = self.outcome.exit_code, self.outcome.sentence
        self.has_no_room |= any(part.fault for part in parts)
        if not self.has_no_room:
            with suppress(SessionError, OSError):
                session.record("end", exit_code=code, sentence=sentence)
        session.close()
        if code not in RESUMABLE and not self.has_no_room:
            for name in ("tree", "checkpoints", "scratch", ASIDE, OUTPUTS, ATTEMPTS, TOGETHER):
                remove_tree(session.folder / name)


def _refusal(path: Path, error: AgentError) -> FixOutcome:
    return FixOutcome(error.exit_code, str(error), str(path), model="", seed=0)


def _tests(report: TestReport) -> Tests:
    return Tests(len(report.green), tuple(sorted(report.red)), report.cases)


def _example(report: TestReport) -> str:
    return min(case.id for case in report.cases)
