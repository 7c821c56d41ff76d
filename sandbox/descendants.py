"""All processes below this one: finding them, signalling them, and leaving none alive.

Part of the supervisor, so it imports next to nothing. No session, group or namespace hides a
process from this; losing its parent brings one nearer, since the supervisor is a sub-reaper.
"""

from __future__ import annotations

import os
import time

SIGKILL, SIGSTOP = 9, 19
GIVE_UP_S = 30.0
"""How long the last sweep tries; what then remains is not ours to kill (a setuid program)."""


def sweep(child: int) -> tuple[int | None, int]:
    """Kill and reap until no descendant is left; return the child's status and what resisted.

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
        alive = set(descendants())
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
    """Send a signal to every descendant once, to a parent before its children.

    A shell that lost its child first would say so, or begin what comes next in its script.
    """
    for pid in descendants():
        send(pid, number)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone or another user's."""
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def descendants() -> list[int]:
    """Find every process below this one, in whatever session or namespace, parents first."""
    found: dict[int, None] = {}
    waiting = [os.getpid()]
    while waiting:
        fresh = [pid for pid in children(waiting.pop()) if pid not in found]
        found.update(dict.fromkeys(fresh))
        waiting.extend(fresh)
    return list(found)


def children(pid: int) -> list[int]:
    """List the children of all threads of a process; none if it just ended."""
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - pathlib is slow to load
            with open(f"/proc/{pid}/task/{thread}/children") as file:  # noqa: PTH123
                found += [int(word) for word in file.read().split()]
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found
