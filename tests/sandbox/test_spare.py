"""The supervisor that waits: used once, replaced when it died, and gone with the agent."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from sandbox import spare
from sandbox.base import Sandbox, View
from sandbox.direct import Direct
from sandbox.limits import Limits

REPOSITORY = Path(__file__).parents[2]


def waiting() -> spare.Supervisor:
    """Look at the one that waits, and leave it waiting."""
    assert spare._spare is not None
    return spare._spare


def run(view: View, script: str) -> str:
    return Direct().run(["sh", "-c", script], view, Limits(wall_s=60)).output


def test_one_waits_while_another_works_and_does_the_next_command(view: View) -> None:
    run(view, "true")
    first = waiting().process.pid
    assert run(view, "ps -o ppid= $$").strip() == str(first)
    assert waiting().process.pid != first


def test_one_that_died_is_replaced(view: View) -> None:
    run(view, "true")
    dead = waiting()
    dead.process.send_signal(signal.SIGKILL)
    dead.process.wait()
    assert run(view, "echo fine") == "fine\n"
    dead.close()
    assert waiting().is_ready()


def test_one_of_another_process_is_not_used(view: View) -> None:
    run(view, "true")
    waiting().agent = os.getppid()
    before = waiting()
    assert run(view, "echo fine") == "fine\n"
    before.close()
    assert waiting() is not before


def test_it_ends_with_the_agent_that_is_killed() -> None:
    agent = """
from sandbox import spare
spare.start_next()
print(spare._spare.process.pid, flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", agent],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=REPOSITORY,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        assert Path(f"/proc/{pid}").exists()
        process.kill()
    end = time.monotonic() + 60
    while Path(f"/proc/{pid}").exists() and time.monotonic() < end:
        time.sleep(0.02)
    assert not Path(f"/proc/{pid}").exists()


def test_an_agent_with_many_files_open_runs_commands_all_the_same(
    bubblewrap: Sandbox, view: View
) -> None:
    files = [os.open(os.devnull, os.O_RDONLY)]
    while files[-1] < spare.FIRST_FD:
        files.append(os.open(os.devnull, os.O_RDONLY))
    try:
        for _ in range(20):  # each supervisor gets other numbers, around those of a command's files
            assert bubblewrap.run(["echo", "fine"], view, Limits(wall_s=60)).output == "fine\n"
            os.close(files.pop())
    finally:
        for file in files:
            os.close(file)
