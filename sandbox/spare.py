"""Supervisors, seen from the agent: started ahead, so that no command waits for an interpreter.

One waits while another works; it takes its order from a socket, with the descriptors that the
command is to inherit. An agent that ends, in whatever way, closes the socket and so ends it.
"""

import array
import atexit
import os
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

from sandbox.streams import pipe

START = "import sys; sys.path.append(sys.argv[1]); from sandbox.supervisor import main; main()"
"""The folder with this package comes last, after the library."""
PACKAGES = Path(__file__).parents[1]
FIRST_FD = 100
"""The number under which a command inherits the first descriptor; the others follow."""
OVERTIME_S = 45.0
"""How long a supervisor may still be sweeping before it is killed itself."""


class Supervisor:
    """The process that will run one command, and the ends of its pipes."""

    def __init__(self) -> None:
        with ExitStack() as stack:  # what is still in it, should anything fail, is closed
            self.output, output_in = pipe(stack)
            self.status, status_in = pipe(stack)
            self._control, theirs = socket.socketpair()
            stack.callback(self._control.close)
            self.process: subprocess.Popen[bytes] = subprocess.Popen(
                [sys.executable, "-I", "-S", "-c", START, str(PACKAGES), str(status_in.fileno())],
                stdin=theirs.fileno(),
                stdout=output_in,
                stderr=output_in,
                env={},
                cwd="/",
                pass_fds=(status_in.fileno(),),
                start_new_session=True,  # Ctrl-C in the terminal is the agent's to handle
            )
            for end in (output_in, status_in, theirs):
                end.close()
            self._ends = stack.pop_all()
        self.agent = os.getpid()

    def send(self, order: bytes, fds: tuple[int, ...]) -> None:
        """Say what to run; the command inherits `fds` as `FIRST_FD` and so on."""
        size = len(order).to_bytes(4, "little")
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        with suppress(BrokenPipeError):  # it died at its start; the missing report says so
            self._control.sendmsg([size], rights)
            self._control.sendall(order)

    def stop(self) -> None:
        """Ask it to kill the command."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._control.sendall(b"x")

    def end(self) -> int:
        """Let go: it kills what is left when its socket closes. Give its exit code."""
        self._control.close()
        try:
            return self.process.wait(OVERTIME_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def close(self) -> None:
        """End it if it has not ended, and close all that it wrote to."""
        self.end()
        self._ends.close()

    def is_ready(self) -> bool:
        """Say whether it is this process's to use and still alive."""
        return self.agent == os.getpid() and self.process.poll() is None


_lock = threading.Lock()
_spare: Supervisor | None = None


def take() -> Supervisor:
    """Give the supervisor that waits, or a new one."""
    global _spare
    with _lock:
        supervisor, _spare = _spare, None
    if supervisor and supervisor.is_ready():
        return supervisor
    if supervisor:
        supervisor.close()
    return Supervisor()


def start_next() -> None:
    """See to it that one waits."""
    global _spare
    with _lock, suppress(OSError):  # without one, the next command waits for its own
        if _spare is None:
            _spare = Supervisor()


@atexit.register
def _dismiss() -> None:
    """Nobody will give the one that waits an order."""
    if _spare and _spare.agent == os.getpid():
        _spare.process.kill()
        _spare.close()
