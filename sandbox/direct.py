"""No isolation: the command runs as the user, in the user's files, under the same limits.

Chosen only when a person typed it; nothing falls back to it.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from sandbox.base import Cancel, CommandResult, View, never
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.process import Command, run_command

GRACE_S = 0.5
"""From SIGTERM to SIGKILL: out here a command may hold locks that it should let go."""


class Direct:
    """Runs commands where they can do everything that the user can."""

    level = "direct"
    """The isolation in force: none."""
    why: tuple[str, ...] = ()

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv` in `view.source`; of the rest of the view nothing can be kept here."""
        if not view.source.is_dir():
            raise SandboxError(f"{view.source} is not a folder, so no command can run in it.")
        start = view.source / view.start()
        command = Command(
            tuple(argv),
            view.variables(Path.home(), Path("/tmp")),
            start,
            talks_over=view.talks_over,
            grace_s=GRACE_S,
            writable=(view.source,),
        )
        return run_command(command, limits, cancel, on_output).result(argv)
