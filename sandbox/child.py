"""A command that runs beside us for as long as it is wanted, and that is talked with over a socket.

It is one `Sandbox.run` in a thread, so all that holds for a command holds for it: what it can
reach, its limits, and that nothing of it is left, also when this process is killed. Knows nothing
of what is said over the socket.
"""

import socket
import threading
from collections.abc import Sequence
from dataclasses import replace

from sandbox.base import CommandResult, Sandbox, View
from sandbox.errors import SandboxError
from sandbox.limits import Limits

NUM_LAST_LINES = 3
KILL_S = 45.0
"""How long the end of one that was told to stop is waited for."""


class Child:
    """One such command; runs from the moment it is made."""

    def __init__(self, sandbox: Sandbox, argv: Sequence[str], view: View, limits: Limits) -> None:
        self.socket, theirs = socket.socketpair()
        """Our end: what is written is its input, what is read its output. Whoever reads closes."""
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._result: CommandResult | None = None
        self._error: SandboxError | OSError | None = None
        threading.Thread(
            target=self._run, args=(sandbox, argv, view, limits, theirs), name=argv[0], daemon=True
        ).start()

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return not self._ended.is_set()

    def stop(self, grace_s: float = 0.0) -> None:
        """End it and all that it started, if it has not ended by itself in `grace_s` seconds."""
        self._ended.wait(grace_s)
        self._stop.set()
        self._ended.wait(KILL_S)

    def why(self) -> str:
        """Say how it ended, with the last lines of what it wrote to its standard error."""
        if self._error is not None:
            return str(self._error)
        if self._result is None:
            return "it still runs"
        lines = self._result.output.strip().splitlines()
        code = self._result.exit_code
        how = "it was stopped" if code is None else f"it ended with exit code {code}"
        return f"{how}: {' '.join(lines[-NUM_LAST_LINES:])}" if lines else how

    def _run(
        self,
        sandbox: Sandbox,
        argv: Sequence[str],
        view: View,
        limits: Limits,
        theirs: socket.socket,
    ) -> None:
        with theirs:  # closed last: whoever reads the end of it finds out why
            try:
                seen = replace(view, talks_over=theirs.fileno())
                self._result = sandbox.run(argv, seen, limits, self._stop.is_set)
            except (SandboxError, OSError) as error:
                self._error = error
            finally:
                self._ended.set()
