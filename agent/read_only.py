"""A sandbox whose commands may write only when they are allowed to: for plan mode.

Labels of commands may be wrong about a clever script; what a command can reach is decided here.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from sandbox.base import Cancel, CommandResult, Sandbox, View, never
from sandbox.limits import Limits


class ReadOnlyWhile:
    """Runs commands in another sandbox, on files that they can only read while `holds` says so."""

    def __init__(self, sandbox: Sandbox, holds: Callable[[], bool]) -> None:
        self._sandbox = sandbox
        self._holds = holds

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
        seen = replace(view, writable=view.writable and not self._holds())
        return self._sandbox.run(argv, seen, limits, cancel, on_output)
