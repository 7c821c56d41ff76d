"""Running commands: what comes back, and that nothing is left running, in both sandboxes."""

import dataclasses
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from sandbox.base import Sandbox, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.errors import SandboxError
from sandbox.limits import MIB, Limits
from tests.sandbox.conftest import long_enough, until_gone

Survivors = Callable[[str], list[str]]
SHORT = Limits(wall_s=60)


def test_output_and_exit_code_come_back(sandbox: Sandbox, view: View) -> None:
    result = sandbox.run(["sh", "-c", "cat hello.txt; echo no >&2; exit 3"], view, SHORT)
    assert (result.exit_code, result.output, result.num_output_bytes) == (3, "hello\nno\n", 9)
    assert not result.timed_out
    assert not result.cancelled
    assert not result.truncated


def test_a_command_starts_in_the_folder_of_the_view_or_what_is_left_of_it(
    sandbox: Sandbox, view: View
) -> None:
    (view.source / "a" / "b").mkdir(parents=True)
    inside = dataclasses.replace(view, folder=PurePosixPath("a/b"))
    pwd = sandbox.run(["sh", "-c", "pwd; rm -r ../b"], inside, SHORT)
    assert pwd.output == f"{view.workspace}/a/b\n"
    assert sandbox.run(["pwd"], inside, SHORT).output == f"{view.workspace}/a\n"


def test_limits_end_with_the_time_that_is_left() -> None:
    now = time.monotonic()
    assert 4000 < Limits(wall_s=9000).until(now + 5000).wall_s <= 5000
    assert Limits(wall_s=20).until(now + 5000).wall_s == 20
    assert 0 < Limits(wall_s=20).until(now - 5).wall_s < 0.1


@pytest.mark.parametrize("code", [0, 1, 129, 255])
def test_exit_codes_pass_through(sandbox: Sandbox, view: View, code: int) -> None:
    assert sandbox.run(["sh", "-c", f"exit {code}"], view, SHORT).exit_code == code


@pytest.mark.parametrize("signal", [9, 11])
def test_a_signal_is_told_as_its_negative_number(sandbox: Sandbox, view: View, signal: int) -> None:
    result = sandbox.run(["sh", "-c", f"kill -{signal} $$"], view, SHORT)
    assert result.exit_code == -signal


def test_a_missing_command_is_a_result(sandbox: Sandbox, view: View) -> None:
    result = sandbox.run(["no-such-command"], view, SHORT)
    assert result.exit_code == 127
    assert "no-such-command" in result.output


def test_a_file_without_the_right_to_run_is_a_result(sandbox: Sandbox, view: View) -> None:
    assert sandbox.run(["./hello.txt"], view, SHORT).exit_code == 126


def test_arguments_arrive_as_given(sandbox: Sandbox, view: View) -> None:
    words = ["", " two words ", "$HOME", "-n", "--", "é\n", "'\""]
    script = "import sys; print(ascii(sys.argv[1:]))"
    result = sandbox.run(["/usr/bin/python3", "-c", script, *words], view, SHORT)
    assert result.output == ascii(words) + "\n"


def test_stdin_is_at_its_end(sandbox: Sandbox, view: View) -> None:
    assert sandbox.run(["cat"], view, SHORT).exit_code == 0


def test_a_pipe_that_closes_early_ends_its_writer_quietly(sandbox: Sandbox, view: View) -> None:
    result = sandbox.run(["sh", "-c", "yes | head -1"], view, SHORT)
    assert (result.exit_code, result.output) == (0, "y\n")


def test_the_limit_ends_a_command_and_keeps_its_output(
    sandbox: Sandbox, view: View, nap: str, survivors: Survivors
) -> None:
    script = ["sh", "-c", f"echo begun; sleep {nap}"]
    result = long_enough(lambda wall_s: sandbox.run(script, view, Limits(wall_s=wall_s)))
    assert (result.exit_code, result.output, result.timed_out) == (None, "begun\n", True)
    assert survivors(nap) == []


def test_cancel_is_seen_soon(sandbox: Sandbox, view: View, nap: str, survivors: Survivors) -> None:
    asked = time.monotonic() + 0.3
    result = sandbox.run(["sleep", nap], view, SHORT, cancel=lambda: time.monotonic() > asked)
    assert result.cancelled
    assert result.exit_code is None
    assert survivors(nap) == []


def test_output_is_passed_on_as_it_comes(sandbox: Sandbox, view: View) -> None:
    heard = b""

    def hear(data: bytes) -> None:
        nonlocal heard
        heard += data
        (view.source / "heard").touch()

    script = "echo one; while [ ! -e heard ]; do sleep 0.01; done; echo two"
    assert sandbox.run(["sh", "-c", script], view, SHORT, on_output=hear).exit_code == 0
    assert heard == b"one\ntwo\n"


def test_an_error_while_passing_output_on_leaves_nothing_running(
    sandbox: Sandbox, view: View, nap: str, survivors: Survivors
) -> None:
    def fail(data: bytes) -> None:
        raise RuntimeError(data)

    with pytest.raises(RuntimeError, match="begun"):
        sandbox.run(["sh", "-c", f"echo begun; sleep {nap}"], view, SHORT, on_output=fail)
    assert survivors(nap) == []


@pytest.mark.parametrize(
    "script",
    [
        "sleep NAP & echo done",
        "setsid sleep NAP & echo done",
        "(setsid sh -c 'trap \"\" TERM HUP INT; sleep NAP; sleep NAP' &) ; echo done",
        "setsid sh -c 'kill -STOP $$; sleep NAP' & sleep 0.1; echo done",
    ],
    ids=["background", "session", "daemon that ignores signals", "stopped"],
)
def test_a_child_in_the_background_neither_holds_the_call_nor_outlives_it(
    sandbox: Sandbox, view: View, nap: str, survivors: Survivors, script: str
) -> None:
    result = sandbox.run(["sh", "-c", script.replace("NAP", nap)], view, SHORT)
    assert (result.exit_code, result.output) == (0, "done\n")
    assert survivors(nap) == []


def test_a_command_that_ignores_sigterm_dies_at_the_limit(
    sandbox: Sandbox, view: View, nap: str, survivors: Survivors
) -> None:
    script = f"trap '' TERM HUP INT; sleep {nap} & sleep {nap}; sleep {nap}"
    result = sandbox.run(["sh", "-c", script], view, Limits(wall_s=0.3))
    assert result.timed_out
    assert survivors(nap) == []


def test_endless_output_is_cut_in_the_middle(sandbox: Sandbox, view: View) -> None:
    result = long_enough(
        lambda wall_s: sandbox.run(["yes"], view, Limits(wall_s=wall_s, output_bytes=1000)),
        num_bytes=100_001,
    )
    assert result.timed_out
    assert result.truncated
    assert len(result.output) < 1100
    assert result.num_output_bytes > 100_000


def test_a_command_works_when_called_from_a_thread_that_ends(view: View) -> None:
    results = []
    threads = [
        threading.Thread(
            target=lambda: results.append(
                Bubblewrap().run(["sh", "-c", "sleep 0.2; echo ok"], view, SHORT).output
            )
        )
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == ["ok\n"] * 4


def test_memory_is_limited(sandbox: Sandbox, view: View) -> None:
    script = "x = bytearray(2_000_000_000)"
    limits = Limits(wall_s=60, memory_bytes=512 * MIB)
    result = sandbox.run(["/usr/bin/python3", "-c", script], view, limits)
    assert result.exit_code == 1
    assert "MemoryError" in result.output


def test_the_size_of_a_file_is_limited(
    sandbox: Sandbox, view: View, workspace_folder: Path
) -> None:
    limits = Limits(wall_s=60, file_bytes=MIB)
    result = sandbox.run(["sh", "-c", "head -c 3000000 /dev/zero > big"], view, limits)
    assert result.exit_code != 0
    assert (workspace_folder / "big").stat().st_size == MIB


def test_cpu_time_is_limited(bubblewrap: Bubblewrap, view: View) -> None:
    result = bubblewrap.run(["sh", "-c", "while :; do :; done"], view, Limits(wall_s=60, cpu_s=1))
    assert result.exit_code in (-9, -24)
    assert not result.timed_out


def test_the_agents_environment_stays_with_the_agent(
    sandbox: Sandbox, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "canary-7d1f")
    view = View(view.source, view.workspace, environment={"MINE": "yes"})
    output = sandbox.run(["env"], view, SHORT).output
    assert "MINE=yes" in output
    assert "canary-7d1f" not in output


def test_no_descriptor_of_the_agent_leaks_in(sandbox: Sandbox, view: View) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        result = sandbox.run(["sh", "-c", "ls /proc/self/fd"], view, SHORT)
    finally:
        os.close(read)
        os.close(write)
    assert result.output.split() == ["0", "1", "2", "3"]  # 3 is the folder being listed


def test_running_leaves_no_descriptor_open(sandbox: Sandbox, view: View) -> None:
    sandbox.run(["true"], view, SHORT)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        sandbox.run(["true"], view, SHORT)
    # Fewer, where a thread of an earlier test closes its own only now.
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


def test_a_missing_folder_is_said_in_a_sentence(sandbox: Sandbox, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    with pytest.raises(SandboxError, match="gone"):
        sandbox.run(["true"], View(gone, gone), SHORT)


def test_a_command_longer_than_the_kernel_takes_is_said(sandbox: Sandbox, view: View) -> None:
    with pytest.raises(SandboxError, match="too long"):
        sandbox.run(["sh", "-c", "#" * 200_000], view, SHORT)


AGENT = """
import sys
from pathlib import Path
from sandbox.base import View
from sandbox.choose import choose
from sandbox.limits import Limits
level, folder, nap = sys.argv[1:]
view = View(Path(folder), Path(folder))
choose(level).run(
    ["sh", "-c", f"setsid sleep {nap} & echo up; sleep {nap}"],
    view,
    Limits(),
    on_output=lambda data: print("up", flush=True),
)
"""


@pytest.mark.fault
@pytest.mark.parametrize("level", ["bubblewrap", "direct"])
def test_kill_minus_nine_of_the_agent_ends_the_command(level: str, view: View, nap: str) -> None:
    agent = subprocess.Popen(
        [sys.executable, "-c", AGENT, level, str(view.source), nap],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert agent.stdout is not None
    with agent.stdout:
        assert agent.stdout.readline() == b"up\n"
        agent.kill()
        agent.wait()
    assert until_gone(nap) == []


@pytest.mark.fault
def test_cancel_at_any_moment_after_the_start_leaves_nothing(
    sandbox: Sandbox, view: View, nap: str, survivors: Survivors
) -> None:
    for number in range(60):
        moment = time.monotonic() + number * 0.0015
        result = sandbox.run(
            ["sh", "-c", f"setsid sleep {nap} & sleep {nap}"],
            view,
            SHORT,
            cancel=lambda moment=moment: time.monotonic() > moment,
        )
        assert result.cancelled
        assert survivors(nap) == []


@pytest.mark.fault
def test_kill_of_the_supervisor_ends_the_sandbox(
    bubblewrap: Bubblewrap, view: View, nap: str
) -> None:
    def kill_supervisor(data: bytes) -> None:
        for path in (
            Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
        ):
            if b"sandbox.supervisor" in Path(f"/proc/{path}/cmdline").read_bytes():
                os.kill(int(path), 9)

    with pytest.raises(SandboxError, match="watches over"):
        bubblewrap.run(
            ["sh", "-c", f"echo up; setsid sleep {nap} & sleep {nap}"],
            view,
            SHORT,
            on_output=kill_supervisor,
        )
    assert until_gone(nap) == []
