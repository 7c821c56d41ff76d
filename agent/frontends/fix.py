"""`qwen-agent fix`: arguments to a run, events to a screen or a stream, an exit code.

It decides nothing. Standard output holds the result that was asked for and nothing else: with
`--json`, `--stream-json` and `--patch -` everything meant for a person goes to standard error.
"""

import json
import signal
import sys
from argparse import Namespace
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import Any

from agent.compose import ChatFactory
from agent.config import config_file, load_config
from agent.errors import AgentError, UsageError
from agent.events import Event, OfAttempt, ReplyEnded
from agent.fix import resume_fix, run_fix
from agent.frontends.asked import is_standard_output, request_of, resumed
from agent.frontends.console import HEADLINES, Console, SilentConsole, open_console
from agent.frontends.github import GithubConsole
from agent.frontends.output import OutputLost, complain, drop, hand_out, is_github
from agent.frontends.report_files import ReportFiles, report_files
from agent.frontends.usage import LastReplies, reuse_sentence
from agent.outcome import CANCELLED, FixOutcome, strongest
from inference.messages import Usage
from sandbox.base import Cancel, never

Run = Generator[Event, None, FixOutcome]
NO_FILES = ReportFiles()


def run(arguments: Namespace, chat_factory: ChatFactory | None = None) -> int:
    """Carry out `qwen-agent fix`, with a model that is there already or the one it names."""
    with interrupts() as cancel:
        try:
            files = report_files(arguments)
        except UsageError as error:
            return _shown(_refused(arguments, error), arguments, cancel)
        return _shown(_started(arguments, cancel, chat_factory), arguments, cancel, files)


def refuse(error: UsageError, words: Sequence[str]) -> int:
    """Answer words that are no arguments, in the form that they ask for."""
    stream_json = "--stream-json" in words
    form = Namespace(json="--json" in words and not stream_json, stream_json=stream_json)
    arguments = Namespace(path=None, model=None, seed=None, patch=None, **vars(form))
    return _shown(_refused(arguments, error), arguments, never)


@contextmanager
def interrupts() -> Generator[Cancel, None, None]:
    """Turn Ctrl-C and the like into a flag, however often they come; let through what was held."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # ignored is what nohup asks for
        numbers.append(signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
    try:
        yield lambda: bool(came)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in before.items():
            signal.signal(number, handler)


def event_line(event: Event, before: Usage | None = None) -> str:
    """Write an event as one line of JSON; ASCII, so that no reader splits it elsewhere.

    Args:
        event: plain data, whose names are part of the format.
        before: what the last reply before it cost.
    """
    return as_json(_record_of(event, before))


def _record_of(event: Event, before: Usage | None) -> dict[str, Any]:
    record = {"type": type(event).__name__, **asdict(event)}
    if isinstance(event, OfAttempt):
        record["event"] = _record_of(event.event, before)
    if isinstance(event, ReplyEnded):
        record["reuse"] = reuse_sentence(event.usage, before)
    return record


def as_json(value: object, indent: int | None = None) -> str:
    """Write JSON in which GitHub Actions, which looks for `##[` anywhere, finds no command."""
    return json.dumps(value, indent=indent).replace("##[", r"\u0023#[")


def _started(arguments: Namespace, cancel: Cancel, chat_factory: ChatFactory | None) -> Run:
    """Begin the run; a fault in the arguments is an outcome like any other."""
    if arguments.resume is not None:
        return resume_fix(
            arguments.path,
            arguments.resume,
            cancel,
            chat_factory,
            change=lambda old: resumed(old, arguments, cancel),
        )
    try:
        request = request_of(arguments, load_config(config_file()), cancel)
    except AgentError as error:
        return _refused(arguments, error)
    return run_fix(request, cancel, chat_factory)


def _refused(arguments: Namespace, error: AgentError) -> Run:
    yield from ()
    path, model = arguments.path or Path(), arguments.model or "auto"
    return FixOutcome(error.exit_code, str(error), str(path), model, arguments.seed or 0)


def _shown(run: Run, arguments: Namespace, cancel: Cancel, files: ReportFiles = NO_FILES) -> int:
    """Show every event, then the result in the form that was asked for; return the exit code."""
    is_json = arguments.json or arguments.stream_json
    is_patch = is_standard_output(arguments.patch) and not is_json
    screen = _Screen(is_result=not is_json and not is_patch)
    try:
        outcome = _until_its_end(run, screen, arguments.stream_json)
    except OutputLost as lost:
        run.close()  # the repair would have been applied after the last event
        if lost.nobody_reads or cancel():
            return CANCELLED
        complain(f"{lost}; nothing was changed")
        return lost.exit_code
    outcome = files.write(outcome)
    try:
        screen.finish(outcome)
        if is_json:
            hand_out(_document(outcome, arguments.stream_json).encode())
        elif is_patch and outcome.patch_file:
            hand_out(Path(outcome.patch_file).read_bytes())
    except OutputLost as lost:
        if lost.nobody_reads and screen.is_result:
            return outcome.exit_code  # `| head` has seen what it wanted to see
        complain(f"{lost}; {outcome.effect}")
        return strongest({outcome.exit_code, lost.exit_code})
    if outcome.exit_code not in HEADLINES:
        complain(outcome.sentence)
    return outcome.exit_code


def _until_its_end(run: Run, screen: "_Screen", is_stream: bool) -> FixOutcome:
    replies = LastReplies()
    while True:
        try:
            event = next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome
        screen.show(event)
        if is_stream:
            hand_out(f"{event_line(event, replies.before(event))}\n".encode())


def _document(outcome: FixOutcome, is_stream: bool) -> str:
    from agent.frontends.report import report_of  # pydantic: only for who asks

    report = report_of(outcome).model_dump(mode="json")
    if is_stream:
        return f"{as_json({'type': 'FixReport', **report})}\n"
    return f"{as_json(report, indent=2)}\n"


class _Screen:
    """A console whose stream may be closed, full or gone."""

    def __init__(self, is_result: bool) -> None:
        self.is_result = is_result
        """What it shows is the result, and not words beside it."""
        self._stream = sys.stdout if is_result else sys.stderr
        self._console: Console = SilentConsole()
        with self._watched():
            is_step = is_github() and self._stream is not None
            self._console = GithubConsole(self._stream) if is_step else open_console(self._stream)

    def show(self, event: Event) -> None:
        """Show one event.

        Raises:
            OutputLost: it was the result, and cannot be shown.
        """
        with self._watched():
            self._console.show(event)

    def finish(self, outcome: FixOutcome) -> None:
        """Show what the run came to; raises as `show` does."""
        with self._watched():
            self._console.finish(outcome)

    @contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            drop(self._stream)
            self._console = SilentConsole()
            if self.is_result:
                raise OutputLost(error) from error
