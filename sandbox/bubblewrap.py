"""Isolation by bubblewrap: a root of allow-listed read-only folders, one workspace, no network.

What `bwrap.py` and the view do not name does not exist inside: no home, no other project, no
socket of the host. Root and ordinary users get the same. Limits and killing are `process.py`'s.
"""

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from io import FileIO
from pathlib import Path

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.bwrap import (
    ENVIRONMENT,
    SYNTHETIC_FILES,
    Bwrap,
    arguments,
    counts_processes_by_namespace,
    find_bwrap,
)
from sandbox.errors import SandboxUnavailable
from sandbox.limits import Limits
from sandbox.mounts import FORWARD, PROXY, check_mounts, mount_points, mounts_of
from sandbox.process import Command, Outcome, run_command

FATAL_SIGNALS = (4, 5, 6, 7, 8, 9, 11, 13, 15, 24, 25, 31)
"""bwrap reports a signal as a shell does, by 128 + n; these are hardly anyone's own exit codes."""

START = 'exec "$@"'
"""A shell starts the command, so that "not found" is 127 and cannot be a failure of bwrap."""
LIMIT_AND_START = 'ulimit -u {n} 2>/dev/null || ulimit -p {n} 2>/dev/null; exec "$@"'
"""The same with a limit of processes, which bash and dash name differently. Set inside, since
there only those of the sandbox are counted. Root is exempt from it."""
PROXY_PORT = 3128
WAY_OUT = f"/usr/bin/python3 -I -S {FORWARD} {PROXY} {PROXY_PORT}"
"""Before the command, where a view has a network: what programs are told is their proxy."""


class Bubblewrap:
    """Runs commands in namespaces of their own."""

    def __init__(self, bwrap: Bwrap | None = None) -> None:
        """Use this `bwrap`, or the one that works here.

        Raises:
            SandboxUnavailable: none works; the text says how to mend that.
        """
        self._bwrap = bwrap or find_bwrap()

    @property
    def level(self) -> str:
        """Say what isolation is in force."""
        return "bubblewrap"

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv` in the workspace; nothing else of the host can be written or reached."""
        mounts = mounts_of(view)
        check_mounts(mounts)
        with ExitStack() as stack:
            stack.enter_context(mount_points(mounts))
            files = {
                path: stack.enter_context(_memory_file(text))
                for path, text in SYNTHETIC_FILES.items()
            }
            status, status_in = os.pipe()
            status_file = stack.enter_context(FileIO(status, "rb"))
            with FileIO(status_in, "wb"):
                words = arguments(
                    self._bwrap,
                    mounts,
                    view.workspace / view.start(),
                    _environment(view),
                    {path: file.fileno() for path, file in files.items()},
                    status_in,
                )
                command = Command(
                    argv=(*words, "--", "/bin/sh", "-c", _start(limits, view), "sh", *argv),
                    environment=ENVIRONMENT,
                    cwd=Path("/"),
                    fds=(*(file.fileno() for file in files.values()), status_in),
                )
                outcome = run_command(command, limits, cancel, on_output)
            _check_that_it_ran(status_file.read(), outcome)
        return _result(tuple(argv), outcome)


def available() -> str | None:
    """Say in one sentence why there is no bubblewrap here; None if there is."""
    try:
        find_bwrap()
    except SandboxUnavailable as error:
        return str(error)
    return None


def _start(limits: Limits, view: View) -> str:
    way_out = f"{WAY_OUT} && " if view.network else ""
    if counts_processes_by_namespace():
        return way_out + LIMIT_AND_START.format(n=limits.num_processes)
    return way_out + START


def _environment(view: View) -> dict[str, str]:
    """Give what the command adds to `ENVIRONMENT`."""
    return {
        "PATH": os.pathsep.join(str(folder) for folder in view.path),
        "TERM": "dumb",
        "TMPDIR": "/tmp",
        **(_proxy_variables() if view.network else {}),
        **view.environment,
    }


def _proxy_variables() -> dict[str, str]:
    """Tell programs of the proxy in the names they look for."""
    address = f"http://127.0.0.1:{PROXY_PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    local = "localhost,127.0.0.1,::1"
    return {**dict.fromkeys(names, address), "NO_PROXY": local, "no_proxy": local}


def _memory_file(text: str) -> FileIO:
    """Put text into a nameless file, read from its start."""
    file = FileIO(os.memfd_create("sandbox"), "r+b")
    file.write(text.encode())
    file.seek(0)
    return file


def _check_that_it_ran(status: bytes, outcome: Outcome) -> None:
    """Tell a failure of bwrap from a failure of the command, whatever the output claims."""
    started = b'"exit-code"' in status
    if not started and outcome.exit_code is not None and outcome.exit_code >= 0:
        lines = outcome.output.strip().splitlines() or ["it said nothing"]
        raise SandboxUnavailable(f"bubblewrap could not set up the sandbox: {lines[-1]}.")


def _result(argv: tuple[str, ...], outcome: Outcome) -> CommandResult:
    code = outcome.exit_code
    return CommandResult(
        argv=argv,
        exit_code=128 - code if code is not None and code - 128 in FATAL_SIGNALS else code,
        output=outcome.output,
        num_output_bytes=outcome.num_output_bytes,
        timed_out=outcome.stopped == "limit",
        cancelled=outcome.stopped == "cancel",
        duration_s=outcome.duration_s,
    )
