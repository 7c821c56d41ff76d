"""R10 to R14, R31, R33: commands that do not end as they should, and front ends that go away.

Each case once, on the plainest sandbox; all of them in every sandbox are in tests/sandbox.
"""

import json
import os
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path, PurePosixPath

import pytest

from agent.journal import read
from agent.session import JOURNAL
from agent.settings import SandboxConfig
from agent.whereabouts import Whereabouts
from sandbox.base import View
from sandbox.direct import Direct
from sandbox.limits import Limits
from tests.agent.fakes import bash, make_repository, picture
from tests.agent.stage import DONE, set_stage
from tests.inference.faults import wait_for
from tests.sandbox.conftest import processes_with
from tools.bash import MAX_TIMEOUT_S, Bash
from tools.errors import ToolFailed

ROOT = Path(__file__).parent.parent.parent
SHORT = Limits(wall_s=60)


@pytest.fixture
def view(tmp_path: Path) -> View:
    return View(tmp_path, tmp_path)


def sh(view: View, script: str, limits: Limits = SHORT) -> tuple[int | None, str]:
    result = Direct().run(["sh", "-c", script], view, limits)
    return result.exit_code, result.output


def test_r10_a_child_that_holds_the_pipe_does_not_hold_the_call(view: View, nap: str) -> None:
    assert sh(view, f"sleep {nap} & echo done") == (0, "done\n"), "and not at its limit"
    assert processes_with(nap) == []


def test_r11_a_child_in_a_session_of_its_own_that_ignores_signals_dies(
    view: View, nap: str
) -> None:
    script = f"(setsid sh -c 'trap \"\" TERM HUP INT; sleep {nap}; sleep {nap}' &); echo done"
    assert sh(view, script) == (0, "done\n")
    assert processes_with(nap) == []


def test_r12_no_time_out_and_a_silly_one_are_bounded(view: View) -> None:
    assert Limits().wall_s == SandboxConfig().command_s == 120
    assert MAX_TIMEOUT_S == 600
    bash = Bash(Direct(), view, SHORT)
    with pytest.raises(ToolFailed, match="timeout_s must be 1 or more"):
        bash.run({"command": "true", "timeout_s": -5})
    assert "[timed out after 1 s]" in bash.run({"command": "sleep 600", "timeout_s": 1}).text


def test_r13_endless_output_keeps_its_head_and_its_tail(view: View) -> None:
    limits = Limits(wall_s=60, output_bytes=1000)
    code, output = sh(
        view, "echo first; head -c 30000000 /dev/zero | tr '\\0' x; echo last", limits
    )
    assert code == 0
    assert output.startswith("first\n")
    assert output.endswith("last\n")
    assert len(output) < 1100


def test_r14_a_command_outlives_the_thread_that_asks_for_it(view: View) -> None:
    outputs: list[str] = []

    def ask() -> None:
        outputs.append(sh(view, "sleep 0.2; echo ok")[1])

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outputs == ["ok\n"] * 2


def test_r31_a_command_after_its_folder_is_gone_starts_above_it(view: View) -> None:
    (view.source / "a/b").mkdir(parents=True)
    inside = replace(view, folder=PurePosixPath("a/b"))
    assert sh(inside, "rm -r ../../a; echo gone") == (0, "gone\n")
    assert sh(inside, "pwd") == (0, f"{view.source}\n")


def test_r31_the_model_is_told_once_that_its_folder_is_gone_and_that_it_is_back(
    tmp_path: Path,
) -> None:
    folder = PurePosixPath("pkg")
    view = View(tmp_path / "tree", tmp_path / "tree", folder=folder)
    (view.source / folder).mkdir(parents=True)
    script = [bash("rm -r pkg"), bash("true"), bash("mkdir pkg"), DONE]
    stage = set_stage(tmp_path, script, after_call=(Whereabouts(view),))
    stage.play()
    gone, silent, back, _ = stage.texts
    assert gone.endswith("[pkg is gone; commands start in the root of the repository now.]")
    assert "commands start" not in silent
    assert back.endswith("[commands start in pkg now.]")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "told"),
    [(("fix",), 2, "the folder you are in was deleted"), (("sessions",), 0, "")],
)
def test_r31_a_front_end_in_a_deleted_folder_says_so_or_does_without(
    tmp_path: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    script = f"rmdir {gone} && exec {sys.executable} -m agent.cli {' '.join(words)}"
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=gone,
        env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == code, done.stderr
    assert told in done.stderr
    assert done.stderr.count("\n") == (1 if told else 0)


@pytest.mark.fault
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT])
def test_r33_a_closed_terminal_or_two_ctrl_c_flush_the_log_and_leave_no_child(
    tmp_path: Path, nap: str, number: signal.Signals
) -> None:
    repository = make_repository(tmp_path / "repo")
    before = picture(repository)
    mark = f"sleep {nap}"
    script = tmp_path / "script.json"
    script.write_text(json.dumps([["bash", {"command": f"touch started; {mark} & {mark}"}]]))
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.agent.driver", str(script), str(repository)],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # not so under nohup
    )
    sessions = tmp_path / "state/qwen-agent/sessions"
    try:
        wait_for(lambda: bool(list(sessions.glob("*/tree/started"))), limit_s=60)
        process.send_signal(number)
        process.send_signal(number)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert processes_with(mark) == []
    (journal,) = sessions.glob(f"*/{JOURNAL}")
    assert [record["type"] for record in read(journal)[-2:]] == ["call", "end"]
    assert picture(repository) == before
