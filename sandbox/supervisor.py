"""One command and everything it starts, in a process of its own that leaves none of it behind.

Run in a bare interpreter (`START` in process.py): it imports little of the library, since each
command waits for it (`signal`, `json` and `subprocess` would double its start). What it runs is
`bwrap` or the bare command, as process.py says; what only root can add is staging.py's.

    fd 0        the control socket: what to run, with descriptors that the command inherits; then
                one byte, or its end, means stop
    fd 1, 2     the output of the command
    STATUS_FD   the report, written once, when no descendant is left
"""

from __future__ import annotations

import _socket  # `socket` itself would double the start
import ctypes
import marshal
import os
import resource
import select
import struct
import sys
import time

from sandbox import staging
from sandbox.descendants import signal_all, sweep
from sandbox.watch import WATCH_S, Watch

TYPE_CHECKING = False  # the name that type checkers know; importing typing costs milliseconds
if TYPE_CHECKING:
    from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
SIGKILL, SIGTERM = 9, 15
MAY_BE_IGNORED = (1, 2, 13, 15, 25)
"""SIGPIPE and SIGXFSZ by every Python, SIGHUP under nohup, SIGINT and SIGTERM by an agent that is
about to end: a command would inherit that."""

FIRST_FD = 100
"""As in spare.py, which this bare interpreter does not load."""
MOST_FDS = 16
LOOK_FOR_THE_AGENT_S = 5.0

_libc = ctypes.CDLL(None, use_errno=True)


def supervise(control: int, status: int) -> None:
    """Run the command read from `control`; report to `status` when all of it is gone."""
    # Orphans come to a sub-reaper instead of init: nothing can leave by losing its parent.
    _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    os.set_inheritable(status, False)
    order = read_order(control)
    try:
        report = carry_out(order, control)
    except staging.Refused as refusal:
        report = {"refused": str(refusal)}
    except staging.Changed as change:
        report = {"changed": str(change)}
    write_all(status, marshal.dumps(report))


def carry_out(order: dict[str, Any], control: int) -> dict[str, Any]:
    """Run the command to its end.

    Raises:
        staging.Refused: what it was to be shut in with cannot be had; it did not run.
    """
    watch = Watch(**order["watch"]) if order["watch"] else None
    program = os.open(order["argv"][0], os.O_PATH | os.O_CLOEXEC) if order["uid"] else None
    prepare(order)
    child, trouble = spawn(order, program)
    os.closerange(FIRST_FD, FIRST_FD + order["num_fds"])
    refusal = os.read(trouble, 4096)  # ends when the command begins
    os.close(trouble)
    if refusal:
        sweep(child)
        raise staging.Refused(refusal.decode())
    return watch_over(child, control, order, watch)


def prepare(order: dict[str, Any]) -> None:
    """Do in this process what the command inherits from it."""
    if order["uid"]:
        staging.stage(order["trees"], order["uid"])
    if order["pid_max"]:
        staging.own_process_ids()


def watch_over(
    child: int, control: int, order: dict[str, Any], watch: Watch | None
) -> dict[str, Any]:
    """See the command to its end; report how it ended, and what would not die."""
    child_end = os.pidfd_open(child)
    deadline = time.monotonic() + order["wall_s"]
    stopped, complaint = wait_for_end(child_end, control, deadline, order["agent"], watch)
    if stopped and order["grace_s"]:
        signal_all(SIGTERM)
        wait_until(child_end, order["grace_s"])
    code, num_left = sweep(child) if order["sweeps"] else end(child)
    os.close(child_end)
    if complaint:
        write_all(1, f"\n[stopped: {complaint}]\n".encode())
    return {"exit_code": code, "stopped": stopped, "num_left": num_left}


def read_order(control: int) -> dict[str, Any]:
    """Wait for what to run: 4 bytes of length with descriptors, then a marshalled dictionary."""
    agent = os.getppid()
    poll = select.poll()
    poll.register(control, select.POLLIN)
    while not poll.poll(LOOK_FOR_THE_AGENT_S * 1000):
        if os.getppid() != agent:  # and a copy of its socket is open elsewhere
            sys.exit(1)
    connection = _socket.socket(fileno=control)
    space = _socket.CMSG_SPACE(4 * MOST_FDS)
    head, ancillary, _, _ = connection.recvmsg(4, space, _socket.MSG_WAITALL)
    connection.detach()
    size = int.from_bytes(head + read_exactly(control, 4 - len(head)), "little")
    received = [fd for _, _, data in ancillary for (fd,) in struct.iter_unpack("i", data)]
    for number, fd in enumerate(received, FIRST_FD):
        os.dup2(fd, number)
        os.close(fd)
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


def spawn(order: dict[str, Any], program: int | None) -> tuple[int, int]:
    """Start the command, `program` if that is open already.

    Returns its process id, and a pipe that says why it could not be shut in.
    """
    supervisor = os.pidfd_open(os.getpid())
    trouble, trouble_in = os.pipe()
    child = os.fork()
    if child:
        os.close(supervisor)
        os.close(trouble_in)
        return child, trouble
    try:
        become_command(order, supervisor, program, trouble_in)
    except OSError as error:
        os.write(2, f"{order['argv'][0]}: {error.strerror}\n".encode(errors="replace"))
        os._exit(127 if isinstance(error, FileNotFoundError) else 126)
    finally:
        os._exit(126)


def become_command(
    order: dict[str, Any], supervisor: int, program: int | None, trouble: int
) -> None:
    """Turn this fresh child into the command: session, input, what shuts it in, then exec."""
    os.setsid()  # `kill 0` in the command must not reach the supervisor
    os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
    for number in MAY_BE_IGNORED:
        _libc.signal(number, 0)
    prefer_for_the_oom_killer()
    os.chdir(order["cwd"])
    path = find(order["argv"][0], order["environment"])
    try:
        shut_in(order)
    except OSError as error:
        os.write(trouble, f"{error.filename or 'an own user'}: {error.strerror}".encode())
        os._exit(126)
    _libc.prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0)  # a change of user would have undone it
    if wait_until(supervisor, 0):  # it died before
        os._exit(126)
    os.execve(path if program is None else program, order["argv"], order["environment"])


def find(name: str, environment: dict[str, str]) -> str:
    """Look for a program on the command's own PATH, while the folders can still be seen."""
    if "/" not in name:
        for folder in environment["PATH"].split(":"):
            path = f"{folder}/{name}"
            if os.path.isfile(path) and os.access(path, os.X_OK):  # noqa: PTH113
                return path
    return name


def shut_in(order: dict[str, Any]) -> None:
    """Give up what the command is not to have, in the order in which that is possible."""
    if order["pid_max"]:
        staging.limit_process_ids(order["pid_max"])
    for number, limit in order["rlimits"]:
        hard = resource.getrlimit(number)[1]
        value = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(number, (value, value))
    if order["uid"]:
        staging.drop(order["uid"])
    if order["confined"]:
        from sandbox.confine import confine  # rare, and each start would pay for it

        confine(order["confined"])


def prefer_for_the_oom_killer() -> None:
    """Let the kernel kill this command before the model that asked for it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123 - pathlib is slow to load
            file.write("1000")
    except OSError:
        pass  # a host with a read-only /proc: a worse choice under memory pressure, no more


def wait_for_end(
    child_end: int, control: int, deadline: float, agent: int, watch: Watch | None
) -> tuple[str, str]:
    """Wait for the command; say why it must be stopped, in a word (or none) and a sentence.

    The words are `limit` (of time), `cancel`, and those of `Watch.complaint`.
    """
    poll = select.poll()
    poll.register(child_end, select.POLLIN)
    poll.register(control, select.POLLIN)
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            return "limit", ""
        ready = {fd for fd, _ in poll.poll(min(left, WATCH_S) * 1000 + 1)}
        if child_end in ready:
            return "", ""
        # A copy of the control pipe may outlive the agent elsewhere.
        if control in ready or os.getppid() != agent:
            return "cancel", ""
        passed, complaint = watch.complaint() if watch else ("", "")
        if passed:
            return passed, complaint


def wait_until(end: int, timeout_s: float) -> bool:
    """Give a process a moment to end by itself; say whether it has."""
    poll = select.poll()
    poll.register(end, select.POLLIN)
    return bool(poll.poll(timeout_s * 1000))


def end(child: int) -> tuple[int, int]:
    """Kill the command alone, whatever it started: the layer `sweep` left out."""
    os.kill(child, SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0


def main() -> None:
    """Supervise one command; the argument is the number of the status pipe."""
    given = int(sys.argv[-1])
    status = os.dup(given)  # the agent's number for it may be one that the command's files get
    os.close(given)
    supervise(control=0, status=status)
