"""One command and everything it starts, in a process of its own that leaves none of it behind.

Run as `python -I -S supervisor.py STATUS_FD`; it imports nothing of this project and little of the
library, since each command waits for it (`signal`, `json` and `subprocess` would double its start).
It isolates nothing: what it runs is `bwrap` or the bare command, as `process.py` says.

    fd 0        the control pipe: first what to run, then one byte or the end of the pipe means stop
    fd 1, 2     the output of the command
    STATUS_FD   the report, written once, when no descendant is left
"""

from __future__ import annotations

import ctypes
import marshal
import os
import resource
import select
import sys
import time

TYPE_CHECKING = False  # the name that type checkers know; importing typing costs milliseconds
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SIGKILL, SIGTERM, SIGSTOP = 9, 15, 19
MAY_BE_IGNORED = (1, 2, 13, 15, 25)
"""SIGPIPE and SIGXFSZ by every Python, SIGHUP under nohup, SIGINT and SIGTERM by an agent that is
about to end: a command would inherit that."""

GIVE_UP_S = 10.0
"""How long the last sweep tries; what then remains is not ours to kill (a setuid program)."""
TICK_S = 0.5
"""How often the agent is looked for, if a copy of the control pipe outlives it elsewhere."""

_libc = ctypes.CDLL(None, use_errno=True)


def supervise(control: int, status: int) -> None:
    """Run the command read from `control`; report to `status` when all of it is gone."""
    # Orphans come to a sub-reaper instead of init: nothing can leave by losing its parent.
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_inheritable(status, False)
    order = read_order(control)
    child = spawn(order)
    for fd in order["fds"]:
        os.close(fd)
    child_end = os.pidfd_open(child)
    deadline = time.monotonic() + order["wall_s"]
    stopped = wait_for_end(child_end, control, deadline, order["agent"])
    if stopped and order["grace_s"]:
        signal_all(SIGTERM)
        wait_until(child_end, order["grace_s"])
    code, num_left = sweep(child)
    report = {"exit_code": code, "stopped": stopped, "num_left": num_left}
    write_all(status, marshal.dumps(report))


def read_order(control: int) -> dict[str, Any]:
    """Read what to run: 4 bytes of length, then a marshalled dictionary."""
    size = int.from_bytes(read_exactly(control, 4), "little")
    order: dict[str, Any] = marshal.loads(read_exactly(control, size))
    return order


def read_exactly(fd: int, size: int) -> bytes:
    """Read `size` bytes; the agent may die before it has written them, then so do we."""
    data = b""
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            sys.exit(1)
        data += piece
    return data


def write_all(fd: int, data: bytes) -> None:
    """Write to a pipe whose reader may be gone."""
    try:
        while data:
            data = data[os.write(fd, data) :]
    except BrokenPipeError:
        return


def spawn(order: dict[str, Any]) -> int:
    """Start the command and give its process id."""
    supervisor = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        become_command(order, supervisor)
    except OSError as error:
        os.write(2, f"{order['argv'][0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(126)


def become_command(order: dict[str, Any], supervisor: int) -> None:
    """Turn this fresh child into the command: session, input, limits, then exec."""
    os.setsid()  # `kill 0` in the command must not reach the supervisor
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)
    if os.getppid() != supervisor:
        os._exit(126)
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for number in MAY_BE_IGNORED:
        _libc.signal(number, 0)
    prefer_for_the_oom_killer()
    os.chdir(order["cwd"])
    for number, limit in order["rlimits"]:
        hard = resource.getrlimit(number)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(number, (value, value))
    os.execvpe(order["argv"][0], order["argv"], order["environment"])


def prefer_for_the_oom_killer() -> None:
    """Let the kernel kill this command before the model that asked for it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib is slow to load
            file.write("1000")
    except OSError:
        pass  # a host with a read-only /proc: a worse choice under memory pressure, no more


def wait_for_end(child_end: int, control: int, deadline: float, agent: int) -> str:
    """Wait for the command; say why it must be stopped: `limit`, `cancel`, or nothing."""
    poll = select.poll()
    poll.register(child_end, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return "limit"
        ready = {fd for fd, _ in poll.poll(min(left, TICK_S) * 1000 + 1)}
        if child_end in ready:
            return ""
        if control in ready or os.getppid() != agent:
            return "cancel"


def wait_until(child_end: int, timeout_s: float) -> None:
    """Give the command a moment to end by itself."""
    poll = select.poll()
    poll.register(child_end, select.POLLIN)
    poll.poll(timeout_s * 1000)


def sweep(child: int) -> tuple[int | None, int]:
    """Kill and reap until no descendant is left; return the command's status and what resisted.

    Everything is stopped before anything is killed: a stopped process forks no more, while each
    one killed would make room for a fork bomb under its limit.
    """
    code: int | None = None
    give_up = time.monotonic() + GIVE_UP_S
    stopped: set[int] = set()
    while True:
        # 1. Reap. With a sub-reaper, "no children" means "no descendants".
        try:
            pid, wait_status = os.waitpid(-1, os.WNOHANG)
            while pid:
                if pid == child:
                    code = os.waitstatus_to_exitcode(wait_status)
                pid, wait_status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code, 0
        # 2. Freeze what is new, and look again; when nothing is new, kill it all.
        alive = descendants()
        if time.monotonic() > give_up:
            return code, len(alive)
        fresh = alive - stopped
        for pid in fresh:
            send(pid, SIGSTOP)
        stopped |= fresh
        if not fresh:
            for pid in alive:
                send(pid, SIGKILL)
            stopped.clear()
            time.sleep(0.001)


def signal_all(number: int) -> None:
    """Send a signal to every descendant once."""
    for pid in descendants():
        send(pid, number)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone or another user's."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def descendants() -> set[int]:
    """Find every process below this one, in whatever session or namespace."""
    found: set[int] = set()
    waiting = [os.getpid()]
    while waiting:
        fresh = [pid for pid in children(waiting.pop()) if pid not in found]
        found.update(fresh)
        waiting.extend(fresh)
    return found


def children(pid: int) -> list[int]:
    """List the children of all threads of a process; none if it just ended."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208
            with open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


if __name__ == "__main__":
    supervise(control=0, status=int(sys.argv[1]))
