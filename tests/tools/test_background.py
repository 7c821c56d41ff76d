"""Commands that run on: really started, looked at, and gone when they have to be."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from sandbox.errors import SandboxError
from tests.sandbox.conftest import processes_with, until_gone
from tools.background import BackgroundBash
from tools.base import ToolResult
from tools.bash import Bash
from tools.jobs import MAX_RUNNING, Jobs
from tools.registry import Registry


class Terminal:
    """The tool as the model calls it, and its jobs."""

    def __init__(self, folder: Path) -> None:
        view, sandbox = View(folder, Path("/workspace")), Bubblewrap()
        self.jobs = Jobs(sandbox, view)
        self.tools = Registry([BackgroundBash(Bash(sandbox, view), self.jobs)])

    def __call__(self, **arguments: object) -> ToolResult:
        return self.tools.call("bash", arguments)


@pytest.fixture
def bash(tmp_path: Path) -> Iterator[Terminal]:
    terminal = Terminal(tmp_path)
    yield terminal
    terminal.jobs.close()


@pytest.fixture
def watches_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fresh job is watched until it has ended, however long a busy machine takes."""
    monkeypatch.setattr("tools.background.START_S", 60.0)


def test_a_foreground_command_is_as_it_always_was(bash: Terminal) -> None:
    result = bash(command="echo hello; exit 3")
    assert result.text == "hello\n[exit code 3]"


def test_a_job_goes_on_while_others_run_and_tells_what_is_new(
    bash: Terminal, tmp_path: Path, nap: str
) -> None:
    script = f"echo up; while [ ! -e go ]; do sleep 0.02; done; echo seen; sleep {nap}"
    started = bash(command=script, background="true")
    assert "[job 1: runs, " in started.text
    assert started.summary.startswith("started job 1: echo up; while")
    assert bash(command="echo x > go; cat go").text == "x"
    seen = started.text
    while "seen" not in seen:
        seen += bash(poll=1, timeout_s=1).text
    assert seen.count("up") == 1
    assert bash(poll="1", timeout_s="1").text.startswith("[no new output]\n[job 1: runs, ")
    assert bash(kill=1).text == "[no new output]\n[job 1: killed]"
    assert until_gone(nap) == []
    assert (tmp_path / "go").exists()


@pytest.mark.usefixtures("watches_to_the_end")
def test_a_job_that_ends_says_how_with_its_last_words(bash: Terminal) -> None:
    assert (
        bash(command="echo no; exit 4", background=True).text == "no\n[job 1: ended, exit code 4]"
    )
    assert bash(poll=1).text == "[no new output]\n[job 1: ended, exit code 4]"
    assert bash(kill=1).text == "[no new output]\n[job 1: ended, exit code 4]"
    limited = bash(command="sleep 98791", background=True, timeout_s=1)
    assert re.fullmatch(r"\[no new output\]\n\[job 2: timed out after \d+ s\]", limited.text)
    assert bash(poll=2).text == limited.text


@pytest.mark.usefixtures("watches_to_the_end")
def test_output_that_nobody_reads_is_kept_at_both_ends(bash: Terminal) -> None:
    text = bash(command="seq 1 200000", background=True).text
    assert text.startswith("1\n2\n")
    assert text.endswith("\n200000\n[job 1: ended, exit code 0]")
    assert len(text) < 12_200


def test_there_is_an_end_to_how_many_run(bash: Terminal, nap: str) -> None:
    for _ in range(MAX_RUNNING):
        bash.jobs.start(["sleep", nap], "sleep")
    text = bash(command=f"sleep {nap}", background=True).text
    assert text == "4 jobs run already (1, 2, 3, 4); kill one first."
    assert bash(poll=7).text == "There is no job 7; running: 1, 2, 3, 4."
    assert [job.number for job in bash.jobs.close()] == [1, 2, 3, 4]
    assert processes_with(nap) == []
    assert bash.jobs.close() == ()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Give one of command, poll and kill."),
        ({"poll": 1, "kill": 1}, "Give one of command, poll and kill."),
        ({"command": " ", "background": True}, "command is empty."),
        ({"command": "ls", "background": "later"}, "background must be true or false. Form: "),
        ({"poll": 1, "timeout_s": 0}, "timeout_s must be 1 or more."),
    ],
)
def test_a_call_without_sense_is_refused(
    bash: Terminal, arguments: dict[str, object], said: str
) -> None:
    result = bash(**arguments)
    assert not result.ok
    assert result.text.startswith(said)


@pytest.mark.usefixtures("watches_to_the_end")
def test_a_job_that_cannot_be_run_is_no_job_that_goes_on(tmp_path: Path) -> None:
    bash = Terminal(tmp_path / "gone")
    with pytest.raises(SandboxError, match="does not exist"):
        bash(command="sleep 60", background=True)
    assert bash.jobs.running() == ()


AGENT = """
import os, signal, sys
from pathlib import Path
from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from tools.jobs import Jobs

jobs = Jobs(Bubblewrap(), View(Path(sys.argv[1]), Path("/workspace")))
script = "touch up; setsid sleep {0} & sleep {0}".format(sys.argv[3])
job = jobs.start(["sh", "-c", script], "sleep")
while not Path(sys.argv[1], "up").exists():
    pass
if sys.argv[2] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("how", ["killed", "ended"])
def test_jobs_die_with_the_process_however_it_ends(tmp_path: Path, how: str, nap: str) -> None:
    root = Path(__file__).parents[2]
    code = subprocess.run(
        [sys.executable, "-c", AGENT, str(tmp_path), how, nap],
        env={**os.environ, "PYTHONPATH": str(root)},
        timeout=120,
        check=False,
    ).returncode
    assert code == (-signal.SIGKILL if how == "killed" else 0)
    assert until_gone(nap) == []
