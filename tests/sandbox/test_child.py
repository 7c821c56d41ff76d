"""A command that is talked with: its words arrive, and nothing of it outlives us."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.base import Sandbox, View
from sandbox.child import Child
from sandbox.landlock import Landlock, refusal_of_landlock
from sandbox.limits import Limits
from tests.sandbox.conftest import until_gone

ROOT = Path(__file__).parents[2]
AGENT = """
import sys, time
from pathlib import Path
from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.child import Child
from sandbox.limits import Limits
folder, script = Path(sys.argv[1]), f"echo up; sleep {sys.argv[2]}"
child = Child(Bubblewrap(), ["sh", "-c", script], View(folder, folder), Limits())
print(child.socket.recv(9).decode(), end="", flush=True)
time.sleep(600)
"""


def said(child: Child, num_lines: int = 1) -> bytes:
    child.socket.settimeout(60)
    heard = b""
    while heard.count(b"\n") < num_lines and (data := child.socket.recv(4096)):
        heard += data
    return heard


def test_a_child_answers_on_the_socket_and_its_complaints_are_told(
    sandbox: Sandbox, view: View
) -> None:
    script = 'read line; echo "heard $line"; read line; echo "no $line" >&2; exit 3'
    child = Child(sandbox, ["sh", "-c", script], view, Limits())
    child.socket.sendall(b"one\n")
    assert said(child) == b"heard one\n"
    assert child.is_running
    child.socket.sendall(b"two\n")
    assert child.socket.recv(10) == b""  # all of it is gone
    child.socket.close()
    child.stop(grace_s=60)  # what ends by itself may take its time
    assert child.why() == "it ended with exit code 3: no two"


def test_nothing_of_a_stopped_child_is_left(
    sandbox: Sandbox, view: View, nap: str, survivors: Callable[[str], list[str]]
) -> None:
    child = Child(sandbox, ["sh", "-c", f"setsid sleep {nap} & echo up; wait"], view, Limits())
    with child.socket:
        assert said(child) == b"up\n"
        child.stop()
    assert not child.is_running
    assert survivors(nap) == []


def test_a_child_that_cannot_be_run_says_why(sandbox: Sandbox, view: View) -> None:
    child = Child(sandbox, ["no-such-program"], view, Limits())
    with child.socket:
        assert said(child) == b""
    child.stop(grace_s=60)
    assert "no-such-program" in child.why()


@pytest.mark.skipif(bool(refusal_of_landlock()), reason="no Landlock here")
def test_a_child_is_talked_with_where_there_are_no_namespaces_either(view: View) -> None:
    child = Child(Landlock(), ["sh", "-c", "read a; echo $a"], _without_git(view), Limits())
    with child.socket:
        child.socket.sendall(b"on\n")
        assert said(child) == b"on\n"
    child.stop()


def _without_git(view: View) -> View:
    return View(view.source, view.workspace, writable=False)


def test_a_child_dies_with_the_agent(view: View, nap: str) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, str(view.source), nap], stdout=subprocess.PIPE, cwd=ROOT
    )
    with agent:
        assert agent.stdout is not None
        assert agent.stdout.readline() == b"up\n"
        agent.kill()
    assert until_gone(nap) == []
