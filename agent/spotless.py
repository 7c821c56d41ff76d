"""A sandbox whose commands leave no trace in the files: for tests that the agent runs by itself.

What tests write (a database, a log, a lock file) is no part of a repair, and the user may have
files of these names that git does not keep.
"""

from collections.abc import Callable, Sequence

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.checkpoint import Checkpoint
from sandbox.limits import Limits


class Spotless:
    """Runs a command in another sandbox, and puts the files back as they were before it."""

    def __init__(
        self, sandbox: Sandbox, checkpoint: Checkpoint, is_shared: Callable[[], bool]
    ) -> None:
        """Take the checkpoint of the files that commands see.

        `is_shared` says whether something else is writing there, whose work must not be undone.
        """
        self._sandbox = sandbox
        self._checkpoint = checkpoint
        self._is_shared = is_shared

    @property
    def level(self) -> str:
        """Say what isolation is in force."""
        return self._sandbox.level

    def run(
        self,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        cancel: Cancel = never,
        on_output: Callable[[bytes], None] | None = None,
    ) -> CommandResult:
        """Run `argv`; see `Sandbox.run`."""
        before = self._checkpoint.save("before tests")
        try:
            return self._sandbox.run(argv, view, limits, cancel, on_output)
        finally:
            if not self._is_shared():
                self._checkpoint.restore(before)
