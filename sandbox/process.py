"""The agent's side of a command: starts the supervisor, reads the output, watches for a cancel.

It decides nothing about isolation: `bubblewrap.py` and `direct.py` say what to run. It may be
called from any thread; a command lives as long as its control pipe, not as long as the thread.
"""

import marshal
import os
import resource
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from sandbox.base import Cancel, CommandResult
from sandbox.errors import LevelRefused, SandboxError
from sandbox.limits import Limits
from sandbox.output import HeadAndTail
from sandbox.streams import pipe

POLL_S = 0.05
"""How long a cancel may wait to be seen."""
READ_BYTES = 64 * 1024
PIPE_BYTES = 1024 * 1024
"""The most that a pipe can hold."""
OVERTIME_S = 15.0
"""How long after its limit a supervisor may still be sweeping before it is killed itself."""
MAX_WORD_BYTES = 128 * 1024 - 1
"""Of one argument, on Linux."""
NUM_OPEN_FILES = 4096
KILLED = -9
"""The exit code of what was stopped for using too much; the end of its output says of what."""
START = "import sys; sys.path.append(sys.argv[1]); from sandbox.supervisor import main; main()"
"""Of the supervisor; the folder with this package comes last, after the library."""
PACKAGES = Path(__file__).parents[1]
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
    """Descriptors of ours that the command inherits under the same numbers."""
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


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    exit_code: int | None
    """None if it was stopped by the clock or a person."""
    output: str
    num_output_bytes: int
    stopped: Literal["", "limit", "cancel", "memory", "disk", "processes"]
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
            too_much="" if self.stopped in ("limit", "cancel") else self.stopped,
        )


def run_command(
    command: Command,
    limits: Limits,
    cancel: Cancel,
    on_output: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Run a command to its end, its limit or a cancel; nothing of it runs on afterwards.

    Raises:
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

    with ExitStack() as stack:
        output, output_in = pipe(stack)
        status, status_in = pipe(stack)
        control_out, control = pipe(stack)
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", START, str(PACKAGES), str(status_in.fileno())],
            stdin=control_out,
            stdout=output_in,
            stderr=output_in,
            env={},
            cwd="/",
            pass_fds=(status_in.fileno(), *command.fds),
            start_new_session=True,  # Ctrl-C in the terminal is the agent's to handle
        )
        stack.callback(_end, supervisor, control)
        for theirs in (output_in, status_in, control_out):
            theirs.close()
        _send_order(control, command, limits)
        give_up = started + limits.wall_s + command.grace_s + OVERTIME_S
        report_bytes = _follow(supervisor, (output, status, control), take, cancel, give_up)
        supervisor_code = _end(supervisor, control)
        _drain(output, take)
    if not report_bytes:
        raise SandboxError(
            f"the process that watches over commands ended with {supervisor_code}: "
            f"{kept.text()[-300:].strip()}"
        )
    report: dict[str, Any] = marshal.loads(report_bytes)
    if "refused" in report:
        raise LevelRefused(report["refused"])
    if report["num_left"]:
        raise SandboxError(f"{report['num_left']} processes of {command.argv[0]} would not die")
    stopped = report["stopped"]
    by_whom = {"": report["exit_code"], "limit": None, "cancel": None}
    return Outcome(
        exit_code=by_whom.get(stopped, KILLED),
        output=kept.text(),
        num_output_bytes=kept.num_bytes,
        stopped=stopped,
        duration_s=time.monotonic() - started,
    )


def _check_words(command: Command) -> None:
    """Refuse what no kernel executes, before it looks like a failure of the sandbox."""
    for word in (*command.argv, *command.environment.values()):
        if len(os.fsencode(word)) > MAX_WORD_BYTES:
            raise SandboxError(
                f"an argument of {len(word)} characters is too long for a command; "
                "put it into a file."
            )
        if "\0" in word:
            raise SandboxError(f"{word[:60]!r} holds a NUL byte, which no command can be given.")


def _send_order(control: FileIO, command: Command, limits: Limits) -> None:
    """Tell the supervisor what to run and within which limits."""
    order = marshal.dumps(
        {
            "argv": list(command.argv),
            "environment": dict(command.environment),
            "cwd": str(command.cwd),
            "fds": list(command.fds),
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
    data = len(order).to_bytes(4, "little") + order
    with suppress(BrokenPipeError):  # it died at its start; the missing report says so
        while data:
            data = data[control.write(data) or 0 :]


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
    supervisor: subprocess.Popen[bytes],
    pipes: tuple[FileIO, FileIO, FileIO],
    take: Callable[[bytes], None],
    cancel: Cancel,
    give_up: float,
) -> bytes:
    """Read the output until the report is there; ask for a stop as soon as `cancel` says so."""
    output, status, control = pipes
    report = b""
    asked = False
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        selector.register(status, selectors.EVENT_READ)
        while True:
            if not asked and cancel():
                asked = True
                with suppress(BrokenPipeError):
                    control.write(b"x")
            ready = {key.fileobj for key, _ in selector.select(POLL_S)}
            if output in ready:
                data = output.read(READ_BYTES)
                if data:
                    take(data)
                else:  # the command closed its output and goes on
                    selector.unregister(output)
            if status in ready:
                data = status.read(READ_BYTES)
                if not data:
                    return report
                report += data
            if time.monotonic() > give_up:
                supervisor.kill()


def _end(supervisor: subprocess.Popen[bytes], control: FileIO) -> int:
    """Let go of the supervisor: it kills what is left when its control pipe closes."""
    control.close()
    try:
        return supervisor.wait(OVERTIME_S)
    except subprocess.TimeoutExpired:
        supervisor.kill()
        return supervisor.wait()


def _drain(output: FileIO, take: Callable[[bytes], None]) -> None:
    """Read what is still in the pipe, without waiting for a writer that may never close it."""
    os.set_blocking(output.fileno(), False)
    for _ in range(PIPE_BYTES // READ_BYTES):
        data = output.read(READ_BYTES)
        if not data:  # the end, or None: nothing there now
            return
        take(data)
