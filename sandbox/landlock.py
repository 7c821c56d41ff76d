"""Isolation without namespaces: Landlock and a filter of system calls; the last level before none.

For containers that allow no namespaces. Nothing can be mounted, so a command sees the workspace
where it is on disk, and the rest of the system through names that it cannot open. It has no /proc,
no /dev/shm, no socket, not even to itself, and its changes of modes and times are left out. It can
still see which files exist.
"""

import tempfile
from collections.abc import Callable, Collection, Sequence
from functools import cache
from pathlib import Path

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.bwrap import CHECK_S, SYSTEM_FILES, SYSTEM_FOLDERS
from sandbox.confine import landlock_version
from sandbox.errors import LevelRefused, SandboxError, SandboxUnavailable
from sandbox.limits import Limits
from sandbox.process import Command, run_command
from sandbox.seccomp import program

LEAST_VERSION = 6
"""The first that keeps signals in."""
DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
FILES = ("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", *SYSTEM_FILES)


class Landlock:
    """Runs commands that may open what the view shows and nothing else."""

    level = "landlock"
    """The isolation in force."""

    def __init__(self, why: tuple[str, ...] = (), without: Collection[str] = ()) -> None:
        """Keep `why` no higher level is in force; `without` may name `seccomp`, for tests.

        Raises:
            SandboxUnavailable: it does not work here; the text says what is missing.
        """
        refusal = refusal_of_landlock()
        if refusal:
            raise SandboxUnavailable(refusal)
        self.why = why
        self._without = frozenset(without)

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv` in `view.source`; see `Sandbox.run`."""
        _check(view)
        with tempfile.TemporaryDirectory(prefix="qwen-agent-", ignore_cleanup_errors=True) as tmp:
            command = _command(argv, view, Path(tmp), self._without)
            try:
                return run_command(command, limits, cancel, on_output).result(argv)
            except LevelRefused as refusal:
                raise SandboxUnavailable(f"the command could not be shut in ({refusal}).") from None


@cache
def refusal_of_landlock() -> str:
    """Say why it does not work here; empty if it does. Asked once."""
    version = landlock_version()
    if version < LEAST_VERSION:
        return f"Landlock is too old or missing (version {version}); Linux 6.12 or newer has it."
    with tempfile.TemporaryDirectory(prefix="qwen-agent-") as name:
        view = View(Path(name), Path(name))
        try:
            done = run_command(
                _command(["/bin/sh", "-c", "true"], view, Path(name), frozenset()),
                Limits(wall_s=CHECK_S),
                never,
            )
        except SandboxError as error:
            return str(error)
    return "" if done.exit_code == 0 else done.output.strip()


def _check(view: View) -> None:
    """Refuse what no rule of Landlock can keep: a read-only place in a writable one."""
    if not view.source.is_dir():
        raise SandboxError(f"{view.source} is not a folder, so no command can run in it.")
    if view.writable:
        inside = [path for path, _ in view.protected if path.is_relative_to(view.source)]
        git = view.source / ".git"
        for path in (*inside, *([git] if git.exists() else [])):
            raise SandboxUnavailable(
                f"{path} can be protected by namespaces only, which do not work here."
            )


def _command(argv: Sequence[str], view: View, private: Path, without: frozenset[str]) -> Command:
    """Put together what the supervisor starts; `private` is for temporary files and the home."""
    own = [private, *([view.scratch] if view.scratch else [])]
    protected = [path for path, _ in view.protected]
    readable = [Path(name) for name in ("/usr", *SYSTEM_FOLDERS, *FILES)]
    readable += [*view.read_only, *protected]
    (own if view.writable else readable).insert(0, view.source)
    calls = b"" if "seccomp" in without else program(has_namespaces=False)
    return Command(
        argv=tuple(argv),
        environment={
            "GIT_CONFIG_NOSYSTEM": "1",  # /etc/gitconfig cannot be read, and git would not start
            **view.variables(private, private),
        },
        cwd=view.source / view.start(),
        talks_over=view.talks_over,
        writable=tuple(own),
        confined={
            "readable": [str(path) for path in readable if path.exists()],
            "writable": [str(path) for path in own],
            "devices": [path for path in DEVICES if Path(path).exists()],
            "seccomp": calls,
        },
        without=without,
    )
