"""The supervisor's own steps, called here in this process instead of in one of its own."""

import marshal
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox import descendants, supervisor
from sandbox.spare import PACKAGES

Survivors = Callable[[str], list[str]]


@pytest.fixture(autouse=True)
def no_sub_reaper_afterwards() -> Iterator[None]:
    yield
    supervisor._libc.prctl(supervisor.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)


def order(*argv: str, **changes: Any) -> dict[str, Any]:
    return {
        "argv": list(argv),
        "environment": {"PATH": os.environ["PATH"]},
        "cwd": "/",
        "num_fds": 0,
        "rlimits": [(resource.RLIMIT_CORE, 0)],
        "wall_s": 60.0,
        "grace_s": 0.0,
        "agent": os.getppid(),
        "watch": None,
        "talks_over": None,
        "confined": None,
        "uid": None,
        "trees": [],
        "pid_max": None,
        "sweeps": True,
        **changes,
    }


def supervise(what: dict[str, Any], then: bytes = b"") -> dict[str, Any]:
    """Give an order, and perhaps the sign to stop; read the report."""
    control, control_in = (end.detach() for end in socket.socketpair())
    status, status_in = os.pipe()
    data = marshal.dumps(what)
    os.write(control_in, len(data).to_bytes(4, "little") + data + then)
    try:
        supervisor.supervise(control, status_in)
        os.close(status_in)
        report: dict[str, Any] = marshal.loads(os.read(status, 4096))
        return report
    finally:
        for fd in (control, control_in, status):
            os.close(fd)


def test_the_end_of_the_command_is_reported() -> None:
    assert supervise(order("sh", "-c", "exit 7")) == {"exit_code": 7, "stopped": "", "num_left": 0}
    assert supervise(order("sh", "-c", "kill -9 $$"))["exit_code"] == -9
    assert supervise(order("no-such-command"))["exit_code"] == 127
    assert supervise(order("true", cwd="/no/such/folder"))["exit_code"] == 127


def test_the_limit_is_reported_and_nothing_is_left(nap: str, survivors: Survivors) -> None:
    report = supervise(order("sh", "-c", f"setsid sleep {nap} & sleep {nap}", wall_s=0.2))
    assert report["stopped"] == "limit"
    assert survivors(nap) == []


def test_a_byte_in_the_control_pipe_stops_it(nap: str, survivors: Survivors) -> None:
    report = supervise(order("sleep", nap), then=b"x")
    assert report["stopped"] == "cancel"
    assert survivors(nap) == []


def test_an_agent_that_is_gone_stops_it() -> None:
    assert supervise(order("sleep", "98783", agent=1_000_000))["stopped"] == "cancel"


def test_sigterm_comes_first_where_there_is_grace(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)  # which no command may inherit
    script = f"trap 'echo bye > {tmp_path}/bye; exit' TERM; while :; do sleep 0.02; done"
    try:
        for wall_s in (0.5, 5.0, 50.0):  # a busy machine may need longer to set the trap
            supervise(order("sh", "-c", script, wall_s=wall_s, grace_s=60.0))
            if (tmp_path / "bye").exists():
                break
    finally:
        signal.signal(signal.SIGTERM, before)
    assert (tmp_path / "bye").read_text() == "bye\n"


def test_descendants_of_any_session_are_found_parents_first() -> None:
    others = descendants.descendants()  # a supervisor that waits, of a test before this one

    def fresh() -> list[int]:
        return [pid for pid in descendants.descendants() if pid not in others]

    with subprocess.Popen(
        ["sh", "-c", "setsid sh -c 'sleep 98784 & wait' & echo; wait"], stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        end = time.monotonic() + 60
        while len(found := fresh()) < 3 and time.monotonic() < end:
            time.sleep(0.01)
        (shell,) = descendants.children(process.pid)
        assert found == [process.pid, shell, *descendants.children(shell)]
        assert len(found) == 3
        for pid in found:
            descendants.send(pid, descendants.SIGKILL)
    descendants.send(process.pid, descendants.SIGKILL)  # gone: no error
    assert descendants.children(process.pid) == []


def test_an_agent_that_dies_before_its_order_ends_the_supervisor() -> None:
    read, write = (end.detach() for end in socket.socketpair())
    os.write(write, b"\x10\0")
    os.close(write)
    with pytest.raises(SystemExit):
        supervisor.read_order(read)
    os.close(read)


def test_a_report_nobody_reads_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    supervisor.write_all(write, b"x")
    os.close(write)


def test_the_supervisor_starts_quickly() -> None:
    """It loads no module that costs more than the rest together."""
    code = """
import sys; sys.path.append(sys.argv[1]); import sandbox.supervisor
print(*sorted({"json", "subprocess", "typing", "signal", "pathlib"} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, PACKAGES],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "\n"
