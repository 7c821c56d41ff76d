"""The agent's side of a command: starts the supervisor, reads the output, watches for a cancel.

It decides nothing about isolation: `bubblewrap.py` and `direct.py` say what to run. It may be
called from any thread; a command lives as long as its control pipe, not as long as the thread.
"""

import marshal
import os
import resource
import selectors
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from sandbox import spare
from sandbox.base import Cancel, CommandResult, TooMuch
from sandbox.errors import CommandRefused, LevelRefused, SandboxError
from sandbox.limits import Limits
from sandbox.output import HeadAndTail
from sandbox.spare import Supervisor

POLL_S = 0.01
"""How long a cancel may wait to be seen."""
READ_BYTES = 64 * 1024
PIPE_BYTES = 1024 * 1024
"""The most that a pipe can hold."""
MAX_WORD_BYTES = 128 * 1024 - 1
"""Of one argument, on Linux."""
NUM_OPEN_FILES = 4096
KILLED = -9
"""The exit code of what was stopped for using too much; the end of its output says of what."""
LEAST_PROCESS_IDS = 301
"""Linux takes no smaller limit for a namespace."""
OVER_THE_LIMIT = 100
"""Processes above the limit that end the command, where the kernel does not refuse them before."""
IDS_OF_OURS = 100
"""Process ids beyond those the command may use, so that its own limit is met first."""


@dataclass(frozen=True)
class Command:
    """What the supervisor executes."""

    argv: tuple[str, ...]
    environment: Mapping[str, str]
    cwd: Path
    fds: tuple[int, ...] = ()
    """Descriptors of ours that the command inherits, as `spare.FIRST_FD` and the numbers after."""
    talks_over: int | None = None
    """Another one, that becomes its standard input and output."""
    grace_s: float = 0.0
    """Seconds between SIGTERM and SIGKILL when it is stopped; 0 sends no SIGTERM."""
    writable: tuple[Path, ...] = ()
    """Where on disk it can write, the workspace first."""
    trees: tuple[tuple[Path, bool], ...] = ()
    """With `uid`: what to stage, each with whether it may be written."""
    uid: int | None = None
    """The user id that root gives it."""
    has_own_process_ids: bool = False
    """Whether root gives it a namespace of process ids, with a limit."""
    confined: Mapping[str, Any] | None = None
    """What `confine.confine` is asked for, where there are no namespaces."""
    without: frozenset[str] = frozenset()
    """The layers left out, see `bwrap.LAYERS`."""

    @property
    def all_fds(self) -> tuple[int, ...]:
        """Give every descriptor that the supervisor is sent, in order."""
        return self.fds if self.talks_over is None else (*self.fds, self.talks_over)


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    exit_code: int | None
    """None if it was stopped by the clock or a person."""
    output: str
    num_output_bytes: int
    stopped: Literal["", "limit", "cancel"]
    """By the clock or by a person."""
    too_much: TooMuch
    duration_s: float

    def result(self, argv: Sequence[str]) -> CommandResult:
        """Give it as the room's door does."""
        return CommandResult(
            argv=tuple(argv),
            exit_code=self.exit_code,
            output=self.output,
            num_output_bytes=self.num_output_bytes,
            timed_out=self.stopped == "limit",
            cancelled=self.stopped == "cancel",
            duration_s=self.duration_s,
            too_much=self.too_much,
        )


def run_command(
    command: Command,
    limits: Limits,
    cancel: Cancel,
    on_output: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Run a command to its end, its limit or a cancel; nothing of it runs on afterwards.

    Raises:
        CommandRefused: it did not run, for no kernel takes its words.
        LevelRefused: it did not run, for what `Command.trees` asks cannot be had.
        SandboxError: the supervisor failed, or something would not die.
    """
    _check_words(command)
    started = time.monotonic()
    kept = HeadAndTail(limits.output_bytes)

    def take(data: bytes) -> None:
        kept.feed(data)
        if on_output:
            on_output(data)

    supervisor = spare.take()
    with closing(supervisor):
        supervisor.send(_order(command, limits), command.all_fds)
        spare.start_next()
        give_up = started + limits.wall_s + command.grace_s + spare.OVERTIME_S
        report_bytes = _follow(supervisor, take, cancel, give_up)
        code = supervisor.end()
        _drain(supervisor.output, take)
    if not report_bytes:
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        said = kept.text()[-300:].strip()
        raise SandboxError(
            f"the process that watches over commands {how}" + (f": {said}" if said else "")
        )
    report: dict[str, Any] = marshal.loads(report_bytes)
    if "refused" in report:
        raise LevelRefused(report["refused"])
    if "changed" in report:
        raise SandboxError(report["changed"])
    if report["num_left"]:
        raise SandboxError(f"{report['num_left']} processes of {command.argv[0]} would not die")
    stopped = report["stopped"]
    is_asked = stopped in ("limit", "cancel")
    return Outcome(
        exit_code=None if is_asked else KILLED if stopped else report["exit_code"],
        output=kept.text(),
        num_output_bytes=kept.num_bytes,
        stopped=stopped if is_asked else "",
        too_much="" if is_asked else stopped,
        duration_s=time.monotonic() - started,
    )


def _check_words(command: Command) -> None:
    """Refuse what no kernel executes, before it looks like a failure of the sandbox."""
    for word in (*command.argv, *command.environment.values()):
        if len(os.fsencode(word)) > MAX_WORD_BYTES:
            raise CommandRefused(
                f"an argument of {len(word)} characters is too long for a command; "
                "put it into a file."
            )
        if "\0" in word:
            raise CommandRefused(f"{word[:60]!r} holds a NUL byte, which no command can be given.")


def _order(command: Command, limits: Limits) -> bytes:
    """Write down what to run and within which limits."""
    return marshal.dumps(
        {
            "argv": list(command.argv),
            "environment": dict(command.environment),
            "cwd": str(command.cwd),
            "num_fds": len(command.all_fds),
            "talks_over": None if command.talks_over is None else len(command.fds),
            "rlimits": [] if "limits" in command.without else _rlimits(limits),
            "watch": None if "limits" in command.without else _watch(command, limits),
            "wall_s": limits.wall_s,
            "grace_s": command.grace_s,
            "agent": os.getpid(),
            "confined": dict(command.confined) if command.confined else None,
            "uid": command.uid,
            "trees": [(str(path), is_writable) for path, is_writable in command.trees],
            "pid_max": _process_ids(limits) if command.has_own_process_ids else None,
            "sweeps": "sweep" not in command.without,
        }
    )


def _rlimits(limits: Limits) -> list[tuple[int, int]]:
    """Translate limits into those that the kernel keeps for each process."""
    return [
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_FSIZE, limits.file_bytes),
        (resource.RLIMIT_CPU, limits.cpu_s),
        (resource.RLIMIT_NOFILE, NUM_OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ]


def _watch(command: Command, limits: Limits) -> dict[str, Any]:
    """Name those that the supervisor keeps, see `watch.Watch`."""
    return {
        "folders": [str(folder) for folder in command.writable],
        "resident_bytes": limits.resident_bytes,
        "num_processes": limits.num_processes + OVER_THE_LIMIT,
        "disk_bytes": limits.disk_bytes,
        "free_bytes": limits.free_bytes,
    }


def _process_ids(limits: Limits) -> int:
    return max(limits.num_processes + IDS_OF_OURS, LEAST_PROCESS_IDS)


def _follow(
    supervisor: Supervisor, take: Callable[[bytes], None], cancel: Cancel, give_up: float
) -> bytes:
    """Read the output until the report is there; ask for a stop as soon as `cancel` says so."""
    report = b""
    asked = False
    with selectors.DefaultSelector() as selector:
        selector.register(supervisor.output, selectors.EVENT_READ)
        selector.register(supervisor.status, selectors.EVENT_READ)
        while True:
            if not asked and cancel():
                asked = True
                supervisor.stop()
            ready = {key.fileobj for key, _ in selector.select(POLL_S)}
            if supervisor.output in ready:
                data = supervisor.output.read(READ_BYTES)
                if data:
                    take(data)
                else:  # the command closed its output and goes on
                    selector.unregister(supervisor.output)
            if supervisor.status in ready:
                data = supervisor.status.read(READ_BYTES)
                if not data:
                    return report
                report += data
            if time.monotonic() > give_up:
                supervisor.process.kill()


def _drain(output: FileIO, take: Callable[[bytes], None]) -> None:
    """Read what is still in the pipe, without waiting for a writer that may never close it."""
    os.set_blocking(output.fileno(), False)
    for _ in range(PIPE_BYTES // READ_BYTES):
        data = output.read(READ_BYTES)
        if not data:  # the end, or None: nothing there now
            return
        take(data)
