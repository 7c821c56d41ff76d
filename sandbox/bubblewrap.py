"""Isolation by bubblewrap: a root of allow-listed read-only folders, one workspace, no network.

What `bwrap.py` and the view do not name does not exist inside: no home, no other project, no
socket of the host. Started by root, a command gets a user id of its own as well, where the file
system allows it (level `full`); otherwise it is the user who started us (level `namespaces`).
Limits and killing are `process.py`'s.
"""

import os
import tempfile
from collections.abc import Callable, Collection, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache
from io import FileIO
from pathlib import Path

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.bwrap import (
    CHECK_S,
    ENVIRONMENT,
    HOME,
    SYNTHETIC_FILES,
    Bwrap,
    Handles,
    arguments,
    find_bwrap,
)
from sandbox.errors import LevelRefused, SandboxError, SandboxUnavailable
from sandbox.kernel import counts_processes_by_namespace, limits_process_ids_by_namespace
from sandbox.limits import Limits
from sandbox.mounts import FORWARD, PROXY, SYSTEM, Mount, check_mounts, mount_points, mounts_of
from sandbox.process import Command, Outcome, run_command
from sandbox.seccomp import program
from sandbox.spare import FIRST_FD
from sandbox.staging import STAGE
from sandbox.streams import memory_file

UIDS = (64001, 64002, 64003)
"""Ids that no account has; whoever owns a workspace, as user and group, one is left."""
FATAL_SIGNALS = (4, 5, 6, 7, 8, 9, 11, 13, 15, 24, 25, 31)
"""bwrap reports a signal as a shell does, by 128 + n; these are hardly anyone's own exit codes."""

START = 'exec "$@"'
"""A shell starts the command, so that "not found" is 127 and cannot be a failure of bwrap."""
LIMIT_AND_START = 'ulimit -u {n} 2>/dev/null || ulimit -p {n} 2>/dev/null; exec "$@"'
"""The same with a limit of processes, which bash and dash name differently. Set inside, since
there only those of the sandbox are counted. Root is exempt from it."""
PROXY_PORT = 3128
PYTHONS = (Path("/usr/bin/python3"), Path("/usr/local/bin/python3"))
"""Where a sandbox may have an interpreter of the system's."""


class Bubblewrap:
    """Runs commands in namespaces of their own."""

    def __init__(self, bwrap: Bwrap | None = None, without: Collection[str] = ()) -> None:
        """Use this `bwrap`, or the one that works here.

        `without` leaves out layers of `bwrap.LAYERS`, to see that the tests of the sandbox notice.

        Raises:
            SandboxUnavailable: none works; the text says how to mend that.
        """
        self._room = Room(bwrap or find_bwrap(), frozenset(without))
        refusal = "left out" if "uid" in without else refusal_of_full(self._room.bwrap)
        self.level = "namespaces" if refusal else "full"
        """The isolation in force."""
        self.why: tuple[str, ...] = (f"full: {refusal}",) if refusal else ()
        """Of each higher level, why it is not in force."""
        self._has_own_ids = os.geteuid() == 0 and limits_process_ids_by_namespace()

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv` in the workspace; nothing else of the host can be written or reached."""
        while True:
            room = replace(
                self._room, has_own_uid=self.level == "full", has_own_ids=self._has_own_ids
            )
            try:
                return room.run(argv, view, limits, cancel, on_output)
            except LevelRefused as refusal:  # nothing ran yet
                self._go_down(str(refusal))

    def _go_down(self, refusal: str) -> None:
        if self.level == "full":
            self.level, self.why = "namespaces", (f"full: {refusal}",)
        else:
            assert self._has_own_ids, "what is not asked for cannot be refused"
            self._has_own_ids = False
            self.why += (f"a limit of processes: {refusal}",)


@dataclass(frozen=True)
class Room:
    """How a command is shut in; which level that is, `Bubblewrap` decides."""

    bwrap: Bwrap
    without: frozenset[str] = frozenset()
    has_own_uid: bool = False
    """Whether root gives the command a user id of its own."""
    has_own_ids: bool = False
    """Whether root gives it process ids of its own, and a limit of them."""

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv`; see `Sandbox.run`.

        Raises:
            LevelRefused: it did not run, since what only root can give could not be had.
        """
        mounts = mounts_of(view, guards="git" not in self.without)
        check_mounts(mounts)
        with ExitStack() as stack:
            stack.enter_context(mount_points(mounts))
            files = [stack.enter_context(memory_file(data)) for data in self._files()]
            status, status_in = os.pipe()
            status_file = stack.enter_context(FileIO(status, "rb"))
            with FileIO(status_in, "wb"):
                fds = (status_in, *(file.fileno() for file in files))
                command = self._command(argv, view, limits, mounts, fds)
                outcome = run_command(command, limits, cancel, on_output)
            _check_that_it_ran(status_file.read(), outcome)
        return _result(argv, outcome)

    def _files(self) -> list[bytes]:
        """Give what `bwrap` reads from descriptors: files of /etc, the filter of system calls."""
        texts = [text.encode() for text in SYNTHETIC_FILES.values()]
        return texts if "seccomp" in self.without else [*texts, program()]

    def _command(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        mounts: Sequence[Mount],
        fds: tuple[int, ...],
    ) -> Command:
        """Put together what the supervisor starts."""
        inside = [FIRST_FD + at for at in range(len(fds))]
        handles = Handles(
            status=inside[0],
            files=dict(zip(SYNTHETIC_FILES, inside[1:], strict=False)),
            seccomp=None if "seccomp" in self.without else inside[-1],
        )
        staged = [replace(mount, source=Path(STAGE, str(at))) for at, mount in enumerate(mounts)]
        words = arguments(
            self.bwrap,
            staged if self.has_own_uid else mounts,
            view.workspace / view.start(),
            _environment(view),
            handles,
            self.without,
        )
        has_limits = "limits" not in self.without
        return Command(
            argv=(*words, "--", "/bin/sh", "-c", _start(limits, view, has_limits), "sh", *argv),
            environment=os.environ if "environment" in self.without else ENVIRONMENT,
            cwd=Path("/"),
            fds=fds,
            talks_over=view.talks_over,
            writable=tuple(mount.source for mount in mounts if mount.writable),
            trees=tuple((mount.source, mount.writable) for mount in mounts),
            uid=_own_uid(view) if self.has_own_uid else None,
            has_own_process_ids=has_limits and self.has_own_ids,
            without=self.without,
        )


@cache
def refusal_of_full(bwrap: Bwrap) -> str:
    """Say why no command can get a user id of its own here; empty if it can. Asked once."""
    if os.geteuid() != 0:
        return "only root can give a command a user id of its own"
    with tempfile.TemporaryDirectory(prefix="qwen-agent-") as name:
        view = View(Path(name), Path(name))
        try:
            Room(bwrap, has_own_uid=True).run(["true"], view, Limits(wall_s=CHECK_S))
        except SandboxError as error:
            return str(error)
    return ""


def _own_uid(view: View) -> int:
    """Give an id that is not already the owner's."""
    owner = view.source.stat()
    return next(uid for uid in UIDS if uid not in (owner.st_uid, owner.st_gid))


def _start(limits: Limits, view: View, has_limits: bool) -> str:
    way_out = f"{_way_out()} && " if view.network else ""
    if has_limits and counts_processes_by_namespace():
        return way_out + LIMIT_AND_START.format(n=limits.num_processes)
    return way_out + START


def _way_out() -> str:
    """Give what runs before the command: it opens the port that programs are told is their proxy.

    Raises:
        SandboxUnavailable: no interpreter that a sandbox sees could run it.
    """
    for python in PYTHONS:
        if python.exists() and python.resolve().is_relative_to(SYSTEM):
            return f"{python} -I -S {FORWARD} {PROXY} {PROXY_PORT}"
    raise SandboxUnavailable(
        f"a way out to allowed hosts needs {' or '.join(map(str, PYTHONS))}; install python3."
    )


def _environment(view: View) -> dict[str, str]:
    """Give the variables of the command, which may name its own way out."""
    way_out = _proxy_variables() if view.network else {}
    return {**way_out, **view.variables(Path(HOME), Path("/tmp"))}


def _proxy_variables() -> dict[str, str]:
    """Tell programs of the proxy in the names they look for."""
    address = f"http://127.0.0.1:{PROXY_PORT}"
    names = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")
    local = "localhost,127.0.0.1,::1"
    return {**dict.fromkeys(names, address), "NO_PROXY": local, "no_proxy": local}


def _check_that_it_ran(status: bytes, outcome: Outcome) -> None:
    """Tell a failure of bwrap from a failure of the command, whatever the output claims."""
    started = b'"exit-code"' in status
    if not started and outcome.exit_code is not None and outcome.exit_code >= 0:
        lines = outcome.output.strip().splitlines() or ["it said nothing"]
        raise SandboxUnavailable(f"bubblewrap could not set up the sandbox: {lines[-1]}.")


def _result(argv: Sequence[str], outcome: Outcome) -> CommandResult:
    code = outcome.exit_code
    if code is not None and code - 128 in FATAL_SIGNALS:
        outcome = replace(outcome, exit_code=128 - code)
    return outcome.result(argv)
