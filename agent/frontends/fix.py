"""`qwen-agent fix`: arguments to a request, events to a screen or a stream, an exit code.

It decides nothing. Standard output holds the result that was asked for and nothing else: with
`--json` and `--stream-json` everything meant for a person goes to standard error.
"""

import json
import shlex
import signal
import sys
from argparse import Namespace
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import FrameType

from agent.compose import ChatFactory
from agent.config import Config, config_file, load_config
from agent.errors import AgentError, UsageError
from agent.events import Event
from agent.fix import resume_fix, run_fix
from agent.frontends.console import HEADLINES, open_console
from agent.outcome import FixOutcome
from agent.request import FixRequest
from sandbox.base import Cancel

MAX_ISSUE_BYTES = 256 * 1024
SHELL_WORDS = frozenset("|&;<>()$`*?{}~#")
Run = Generator[Event, None, FixOutcome]


def run(arguments: Namespace, chat_factory: ChatFactory | None = None) -> int:
    """Carry out `qwen-agent fix`, with a model that is there already or the one it names."""
    with interrupts() as cancel:
        outcome = _shown(_started(arguments, cancel, chat_factory), arguments)
    if outcome.exit_code not in HEADLINES:
        print(f"qwen-agent: {outcome.sentence}", file=sys.stderr)
    return outcome.exit_code


@contextmanager
def interrupts() -> Generator[Cancel, None, None]:
    """Turn Ctrl-C and the like into a flag, as often as they come."""
    came: list[int] = []

    def note(number: int, _frame: FrameType | None) -> None:
        came.append(number)

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def request_of(arguments: Namespace, config: Config) -> FixRequest:
    """Read the arguments as a request.

    Raises:
        UsageError: a value that cannot be meant.
    """
    limits = {
        "max_steps": ("--max-turns", arguments.max_turns),
        "max_time_s": ("--max-time", arguments.max_time),
        "max_tokens": ("--max-tokens", arguments.max_tokens),
    }
    for flag, value in limits.values():
        if value is not None and not value > 0:
            raise UsageError(f"{flag} must be more than 0, not {value}")
    given = {name: value for name, (_, value) in limits.items() if value is not None}
    config = replace(config, budget=replace(config.budget, **given))
    if arguments.attempts < 1:
        raise UsageError("--attempts must be 1 or more")
    if arguments.patch is not None and not arguments.patch.absolute().parent.is_dir():
        raise UsageError(f"{arguments.patch}: there is no such folder to write the patch to")
    return FixRequest(
        path=arguments.path.absolute(),
        issue=_issue(arguments.issue),
        test_command=_command(arguments.test_cmd),
        tests=tuple(arguments.tests or ()),
        model=arguments.model or config.model.name,
        attempts=arguments.attempts,
        seed=arguments.seed,
        python=arguments.python and arguments.python.absolute(),
        dry_run=arguments.dry_run,
        reuse=not arguments.no_reuse,
        sandbox=arguments.sandbox,
        patch=arguments.patch and arguments.patch.absolute(),
        config=config,
    )


def event_line(event: Event) -> str:
    """Write an event as one line of JSON; ASCII, so that no reader splits it elsewhere."""
    # Events are plain data, and their names are part of the format.
    return json.dumps({"type": type(event).__name__, **asdict(event)})


def _started(arguments: Namespace, cancel: Cancel, chat_factory: ChatFactory | None) -> Run:
    """Begin the run; a fault in the arguments is an outcome like any other."""
    if arguments.resume is not None:
        return resume_fix(arguments.path, arguments.resume, cancel, chat_factory)
    try:
        return run_fix(request_of(arguments, load_config(config_file())), cancel, chat_factory)
    except AgentError as error:
        return _refused(arguments, error)


def _refused(arguments: Namespace, error: AgentError) -> Run:
    yield from ()
    model, seed = arguments.model or "auto", arguments.seed
    return FixOutcome(error.exit_code, str(error), str(arguments.path), model, seed)


def _shown(run: Run, arguments: Namespace) -> FixOutcome:
    """Show every event, then the result in the form that was asked for."""
    is_json = arguments.json or arguments.stream_json
    console = open_console(sys.stderr if is_json else sys.stdout)
    while True:
        try:
            event = next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            break
        console.show(event)
        if arguments.stream_json:
            print(event_line(event), flush=True)
    console.finish(outcome)
    if is_json:
        from agent.frontends.report import report_of  # pydantic: only for who asks

        report = report_of(outcome).model_dump(mode="json")
        if arguments.stream_json:
            report = {"type": "FixReport", **report}
        print(json.dumps(report, indent=None if arguments.stream_json else 2), flush=True)
    return outcome


def _issue(text: str | None) -> str:
    """Read the report: as given, from a file, or from standard input."""
    if text is None:
        return ""
    try:
        if text == "-":
            text = sys.stdin.read(MAX_ISSUE_BYTES)
        elif text.startswith("@"):
            with Path(text[1:]).expanduser().open(encoding="utf-8") as file:
                text = file.read(MAX_ISSUE_BYTES)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--issue {text}: {error}") from error
    if not text.strip():
        raise UsageError("--issue holds no text")
    return text.strip()


def _command(text: str | None) -> tuple[str, ...]:
    """Split a test command into words, or hand it to a shell if it is written for one."""
    if text is None:
        return ()
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"--test-cmd {text}: {error}") from error
    if not words:
        raise UsageError("--test-cmd holds no command")
    if SHELL_WORDS & set(text) or "=" in words[0]:
        return ("sh", "-c", text)
    return words
