"""One attempt at a repair: the model's turn on a copy of its own, then the verdict on what it left.

Attempts share the conversation they start from, so the engine prefills that once. Which of them
are made, and which is kept, is `best_of.py`. With a report and green tests an attempt has two
phases: first a test that shows the bug, in new files only, then the repair that makes it pass.
"""

import time
from collections.abc import Generator
from dataclasses import dataclass, replace
from pathlib import Path

from agent.bench import Materials
from agent.clean_copy import restore_deciding_files
from agent.compose import make_bench, reply_options
from agent.errors import HookBroken, RunCancelled
from agent.events import AttemptStarted, Event, Judged, Notice, StopReason, TurnEnded
from agent.leaving_out import leave_out
from agent.loop import continue_turn, run_turn
from agent.models import NANO
from agent.outcome import BUDGET, DENIED, FIXED, NOTHING, RED, strongest
from agent.read_only import ReadOnlyWhile
from agent.request import FixRequest
from agent.session import Session
from agent.shown import shown_to
from agent.tests_ran import tests_ran
from agent.user_commit import summary_of
from agent.verdict import Verdict, judge
from agent.wording import prompt
from agent.workplace import Workplace, find_repository, own_workplace
from inference.chat import ChatModel
from inference.errors import ModelUnavailable
from sandbox.base import Cancel
from sandbox.errors import SandboxUnavailable
from tools.base import Tool
from tools.run_tests import describe
from tools.test_report import TestReport

ADD_TEST = "add_test"
REPAIR = "repair"
STOPPED = "cancelled; `qwen-agent fix --resume` goes on from here"
MAX_LEFT_OUT = 5
"""Told of what is left out of a repair."""
BUDGET_REASONS = (StopReason.MAX_TOKENS, StopReason.MAX_TURN_REQUESTS)


@dataclass(frozen=True)
class Ground:
    """What a repair is judged against."""

    commit: str
    """The checkpoint of the files before the repair, an added test included."""
    before: TestReport
    targets: frozenset[str]
    """The red tests to mend; empty where a test has to be added first."""
    note: str = ""
    """What else the model may want to know; a sentence or nothing."""


@dataclass(frozen=True)
class Task:
    """What every attempt of a run starts from."""

    request: FixRequest
    place: Workplace
    folder: Path
    """That of the run's session."""
    ground: Ground
    deadline_s: float
    """When the model must stop for its work still to be judged, on the monotonic clock."""
    end_s: float
    """When the time of the whole run is spent."""
    server_tools: tuple[Tool, ...] = ()
    """Those of the MCP servers of the run."""


@dataclass(frozen=True)
class Start:
    """Where an attempt begins: with the files of the user, or the best that is there so far."""

    commit: str
    report: TestReport
    """What the tests say of these files, for the model."""


@dataclass(frozen=True)
class AttemptResult:
    """What one attempt came to."""

    exit_code: int
    sentence: str
    ended: TurnEnded
    final: str
    """The checkpoint of the files as they would be applied."""
    targets: frozenset[str]
    verdict: Verdict | None = None
    """None if there was nothing to judge."""
    judged: str = ""
    """The checkpoint of the files as they were judged, with the original tests."""


class Attempt:
    """Attempt `number` of a task; `run` makes it, or goes on where the session was cut short."""

    def __init__(
        self,
        number: int,
        task: Task,
        start: Start,
        session: Session,
        chat: ChatModel,
        cancel: Cancel,
    ) -> None:
        self.number = number
        self.task = task
        self.start = start
        self.session = session
        self.cancel = cancel
        self.failures: set[int] = set()
        """Exit codes of what could not be had any more: the engine, the sandbox, a hook."""
        request = task.request
        self.place = own_workplace(task.place, number, task.folder, session.folder, start.commit)
        self.checkpoint = self.place.checkpoint
        options = reply_options(chat, number, request)
        # A label may be wrong about a clever script; in plan mode it has nothing it could write to.
        contained = ReadOnlyWhile(self.place.sandbox, lambda: self._only_plans)
        place = replace(self.place, sandbox=contained)
        self.bench = make_bench(
            Materials(
                place,
                session,
                chat,
                options,
                request.config,
                task.deadline_s,
                task.server_tools,
            )
        )
        self.parts = self.bench.parts

    def run(self) -> Generator[Event, None, AttemptResult]:
        """Make the attempt.

        Raises:
            RunCancelled: the person stopped it; the session can be resumed.
        """
        sampled = self.parts.options.sampling is not None
        yield AttemptStarted(self.number, self.task.request.attempts, sampled)
        if self.session.attempt != self.number:
            phase = REPAIR if self.task.ground.targets else ADD_TEST
            system = prompt("nano_system" if self.parts.chat.name == NANO else "system")
            self.session.begin(self.number, phase, self.start.commit, system)
        self.bench.go_on(self.session)
        ground: Ground | None = self.task.ground
        if self.session.phase == ADD_TEST:
            self.checkpoint.restore(self.session.checkpoint)
            ended = yield from self._turn(_words_for_test(self.task))
            ground = yield from self._added_test()
            if ground is None:
                sentence = "the model added no new test that shows the bug"
                return self._result(NOTHING, sentence, ended, frozenset())
            self.session.go_on(REPAIR, ground.commit)
        elif not self.task.ground.targets:
            self.checkpoint.restore(self.session.facts["phase"]["tree"])
            ground = yield from self._added_test()
        assert ground is not None, "an added test that was red before is red again"
        self.checkpoint.restore(self.session.checkpoint)
        is_red_already = bool(self.task.ground.targets)
        report = self.start.report if is_red_already else ground.before
        files = self.start.commit if is_red_already else ground.commit
        self.bench.expect(report, ground.targets, files)
        ended = yield from self._turn(_words_for_repair(self.task, ground, report))
        return (yield from self._judged(ground, ended))

    def judge_again(self, ended: TurnEnded) -> Generator[Event, None, AttemptResult]:
        """Judge the files that the attempt starts with, as an earlier process has."""
        self.checkpoint.restore(self.start.commit)
        return (yield from self._judged(self.task.ground, ended))

    def _turn(self, words: str) -> Generator[Event, None, TurnEnded]:
        """Run the turn of this phase, or go on with it; one that has ended is not run again."""
        session = self.session
        done = session.facts.get("turn", {})
        if (done.get("attempt"), done.get("phase")) == (session.attempt, session.phase):
            return TurnEnded(StopReason(done["reason"]), done["sentence"])
        if len(session.messages) > session.phase_start:
            turn = continue_turn(session, self.parts, self.cancel)
        else:
            pictures = shown_to(self.parts.chat, self.task.request.images, self.task.folder)
            turn = run_turn(session, words, self.parts, self.cancel, pictures)
        try:
            for event in turn:
                if isinstance(event, TurnEnded):
                    return (yield from self._ended(event))
                yield event
        except (ModelUnavailable, SandboxUnavailable, HookBroken) as error:
            # What was edited until now is judged all the same. Whoever resumes goes on from here.
            self.failures.add(error.exit_code)
            ended = TurnEnded(StopReason.REFUSAL, str(error).rstrip("."))
            yield ended
            return ended
        finally:
            self.bench.close()
        raise AssertionError("a turn ends with TurnEnded")

    def _ended(self, ended: TurnEnded) -> Generator[Event, None, TurnEnded]:
        """Record the end of a turn before anybody hears of it."""
        if ended.reason is not StopReason.CANCELLED:
            self.session.record(
                "turn",
                attempt=self.session.attempt,
                phase=self.session.phase,
                reason=ended.reason,
                sentence=ended.sentence,
            )
        for line in self.bench.close():
            yield Notice(f"Ended what still ran in the background: {line}")
        yield ended
        if ended.reason is StopReason.CANCELLED:
            raise RunCancelled(STOPPED)
        return ended

    def _added_test(self) -> Generator[Event, None, Ground | None]:
        """Look at what the first phase left: a red test in new files, and nothing else changed."""
        base = self.place.base
        commit = self.checkpoint.save("with a new test")
        paths = self.checkpoint.changed(base, commit)
        old = [path for path in paths if self.checkpoint.entry(base, path) is not None]
        if old or not paths:
            if old:
                yield Notice(f"The model was to add a test only, but changed {old[0]}.")
            return None
        report = self.place.run_tests(self.cancel, self.task.end_s)
        self._check_cancel()
        self.checkpoint.restore(commit)
        yield tests_ran("with the new test", report)
        before = self.task.ground.before
        spoiled = report.red & before.green
        if spoiled and not report.by_exit_code:
            yield Notice(f"The new files break {min(spoiled)}, which passed before.")
            return None
        targets = report.red - before.red
        return Ground(commit, report, targets) if targets else None

    def _judged(self, ground: Ground, ended: TurnEnded) -> Generator[Event, None, AttemptResult]:
        """Judge what the model left, and keep of it what was judged."""
        place = self.place
        if self._only_plans:
            self.checkpoint.restore(ground.commit)
        repository = find_repository(self.task.request.path)
        obeyed = place.view.obeyed
        left_out = leave_out(repository, self.checkpoint, ground.commit, obeyed)
        for sentence in left_out[:MAX_LEFT_OUT]:
            yield Notice(f"Not in the repair: {sentence}.")
        changed = self.checkpoint.changed(ground.commit)
        if not changed:
            sentence = "nothing was changed"
            if self._only_plans:
                sentence = "nothing was changed, in plan mode"
                yield Notice(f"The plan: {summary_of(self.session) or '[none]'}")
            yield Judged(self.number, False, sentence)
            return self._result(NOTHING, _with_cause(sentence, ended), ended, ground.targets)
        if time.monotonic() >= self.task.end_s:
            sentence = _with_cause("there was no time left to judge the repair", ended)
            yield Judged(self.number, False, sentence)
            return self._result(BUDGET, sentence, ended, ground.targets)
        # What the tests leave behind is no part of the repair.
        left = self.checkpoint.save("as the model left it")
        verdict = judge(
            place.command,
            place.environment,
            place.view,
            place.sandbox,
            place.test_limits,
            self.checkpoint,
            ground.commit,
            ground.before,
            self.session.folder,
            ground.targets,
            cancel=self.cancel,
            end_s=self.task.end_s,
        )
        self._check_cancel()
        yield tests_ran("after", verdict.report)
        yield Judged(self.number, verdict.fixed, verdict.reason)
        # Only what was judged is applied: tests and their configuration stay as they were.
        assert verdict.deciding is not None, "judge says what it put back"
        restore_deciding_files(place.view.source, self.checkpoint, ground.commit, verdict.deciding)
        judged = self.checkpoint.save("as it was judged")
        code, sentence, final = FIXED, verdict.reason, judged
        if not verdict.fixed:
            code, sentence, final = RED, _with_cause(verdict.reason, ended), left
        return self._result(code, sentence, ended, verdict.targets, verdict, final, judged)

    def _result(
        self,
        code: int,
        sentence: str,
        ended: TurnEnded,
        targets: frozenset[str],
        verdict: Verdict | None = None,
        final: str | None = None,
        judged: str = "",
    ) -> AttemptResult:
        """Weigh the verdict against how the turn ended."""
        codes = {code}
        if ended.reason in BUDGET_REASONS or time.monotonic() >= self.task.end_s:
            codes.add(BUDGET)
        if "denied" in self.session.facts and not self._only_plans:
            codes.add(DENIED)
            if strongest(codes) == DENIED:
                sentence = f"{sentence.rstrip('.')}; {self._why_denied()}"
        codes |= self.failures
        kept = final or self.checkpoint.save("as the model left it")
        return AttemptResult(strongest(codes), sentence, ended, kept, targets, verdict, judged)

    def _why_denied(self) -> str:
        fact = self.session.facts["denied"]
        if not fact.get("unanswered"):
            return f"the settings deny {fact['tool']}"
        mode = self.task.request.config.approval.mode
        return (
            f"in mode {mode} somebody is asked about {fact['tool']}, and nobody was there: "
            "allow it in approval.allow, or set approval.mode to auto"
        )

    @property
    def _only_plans(self) -> bool:
        return self.task.request.config.approval.mode == "plan"

    def _check_cancel(self) -> None:
        if self.cancel():
            raise RunCancelled(STOPPED)


def _words_for_test(task: Task) -> str:
    return prompt("add_test", issue=task.request.issue, report=describe(task.ground.before))


def _words_for_repair(task: Task, ground: Ground, red: TestReport) -> str:
    report = describe(red)
    if ground.note:
        report = f"{report}\n\n{ground.note}"
    if not task.request.issue:
        return prompt("fix", report=report)
    if not task.ground.targets:
        return prompt("fix_after_test", report=report)
    return prompt("fix_issue", issue=task.request.issue, report=report)


def _with_cause(sentence: str, ended: TurnEnded) -> str:
    cause = ended.sentence.rstrip(".")
    return f"{sentence.rstrip('.')} ({cause})" if cause else sentence
