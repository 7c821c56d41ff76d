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
from collections.abc import Callable, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Literal

from sandbox.base import Cancel
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.output import HeadAndTail

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
SUPERVISOR = Path(__file__).with_name("supervisor.py")


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


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    exit_code: int | None
    """None if it was stopped."""
    output: str
    num_output_bytes: int
    stopped: Literal["", "limit", "cancel"]
    duration_s: float


def run_command(
    command: Command,
    limits: Limits,
    cancel: Cancel,
    on_output: Callable[[bytes], None] | None = None,
) -> Outcome:
    """Run a command to its end, its limit or a cancel; nothing of it runs on afterwards.

    Raises:
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
        output, output_in = _pipe(stack)
        status, status_in = _pipe(stack)
        control_out, control = _pipe(stack)
        supervisor = subprocess.Popen(
            [sys.executable, "-I", "-S", str(SUPERVISOR), str(status_in.fileno())],
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
    if report["num_left"]:
        raise SandboxError(f"{report['num_left']} processes of {command.argv[0]} would not die")
    return Outcome(
        exit_code=None if report["stopped"] else report["exit_code"],
        output=kept.text(),
        num_output_bytes=kept.num_bytes,
        stopped=report["stopped"],
        duration_s=time.monotonic() - started,
    )


def _pipe(stack: ExitStack) -> tuple[FileIO, FileIO]:
    """Open a pipe, to read and to write; both ends are closed with `stack` at the latest."""
    read, write = os.pipe()
    return (
        stack.enter_context(FileIO(read, "rb")),
        stack.enter_context(FileIO(write, "wb")),
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
            "rlimits": _rlimits(limits),
            "wall_s": limits.wall_s,
            "grace_s": command.grace_s,
            "agent": os.getpid(),
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
