"""One command in a process group of its own, for systems without Linux's ways to find descendants.

It isolates nothing. What leaves the group (`setsid`) outlives the command; on Linux, where nothing
does, `process.py` stands in its place.
"""

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from sandbox.base import Cancel, CommandResult
from sandbox.limits import Limits
from sandbox.output import HeadAndTail

POLL_S = 0.05
"""How long a cancel may wait to be seen."""
READ_BYTES = 64 * 1024
MAX_READS = 16
"""After the end: what may still be in the pipe, from a writer that may never close it."""

Stopped = Literal["", "limit", "cancel"]


def run_group(
    argv: Sequence[str],
    environment: Mapping[str, str],
    cwd: Path,
    limits: Limits,
    cancel: Cancel,
    on_output: Callable[[bytes], None] | None,
    shown: tuple[str, ...],
) -> CommandResult:
    """Run `argv` to its end, its limit or a cancel; the result calls it `shown`."""
    kept = HeadAndTail(limits.output_bytes)

    def take(data: bytes) -> None:
        kept.feed(data)
        if on_output:
            on_output(data)

    started = time.monotonic()
    with subprocess.Popen(
        list(argv),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environment),
        cwd=cwd,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None, "a pipe was asked for"
        output = process.stdout.fileno()
        os.set_blocking(output, False)
        try:
            stopped = _follow(process, output, take, cancel, started + limits.wall_s)
        finally:
            with suppress(ProcessLookupError, PermissionError):  # all of it is gone
                os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
        _drain(output, take)
    return CommandResult(
        argv=shown,
        exit_code=None if stopped else code,
        output=kept.text(),
        num_output_bytes=kept.num_bytes,
        timed_out=stopped == "limit",
        cancelled=stopped == "cancel",
        duration_s=time.monotonic() - started,
    )


def _follow(
    process: "subprocess.Popen[bytes]",
    output: int,
    take: Callable[[bytes], None],
    cancel: Cancel,
    deadline: float,
) -> Stopped:
    """Read what the command prints until it has ended or must be stopped; say why it must."""
    with selectors.DefaultSelector() as selector:
        selector.register(output, selectors.EVENT_READ)
        while process.poll() is None:
            if cancel():
                return "cancel"
            if time.monotonic() > deadline:
                return "limit"
            if selector.get_map() and selector.select(POLL_S):
                data = os.read(output, READ_BYTES)
                if data:
                    take(data)
                else:  # it closed its output and goes on
                    selector.unregister(output)
            elif not selector.get_map():
                time.sleep(POLL_S)
    return ""


def _drain(output: int, take: Callable[[bytes], None]) -> None:
    with suppress(BlockingIOError):
        for _ in range(MAX_READS):
            data = os.read(output, READ_BYTES)
            if not data:
                return
            take(data)
