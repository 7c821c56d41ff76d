"""What the program makes of closed and full streams, of bad words, and of early Ctrl-C."""

import fcntl
import json
import os
import pwd
import shlex
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.cli import INTERRUPTED, READER_GONE, answer
from agent.cli import SIGNALS as HELD_BACK
from agent.sessions import list_sessions
from tests.agent.fakes import make_repository, picture
from tests.inference.faults import wait_for

ROOT = Path(__file__).parent.parent.parent
REPAIR = {
    "command": "str_replace",
    "path": "shop/cart.py",
    "old_str": "price - tax",
    "new_str": "price + tax",
}
MENDS = [["str_replace_editor", REPAIR], ["finish", {"summary": "Mended."}]]
TAKES_A_SECOND = ["bash", {"command": "sleep 1"}]
CLI = [sys.executable, "-m", "agent.cli"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """The environment of a process whose state and settings are the test's own."""
    return {
        **os.environ,
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture
def driver(tmp_path: Path, repository: Path) -> Callable[..., list[str]]:
    """Words that run `fix` on the repository with a scripted model."""

    def words(script: list[Any], *more: str) -> list[str]:
        file = tmp_path / "script.json"
        file.write_text(json.dumps(script))
        return [sys.executable, "-m", "tests.agent.driver", str(file), str(repository), *more]

    return words


@pytest.fixture
def pipe_without_reader() -> Iterator[int]:
    reading, writing = os.pipe()
    os.close(reading)
    yield writing
    os.close(writing)


def done(
    words: list[str], variables: dict[str, str], redirect: str = "", **more: Any
) -> "subprocess.CompletedProcess[str]":
    """Run a program to its end, with its streams redirected in the words of a shell."""
    command = ["sh", "-c", f"exec {shlex.join(words)} {redirect}"]
    return subprocess.run(
        command, **{"cwd": ROOT, **more}, env=variables, capture_output=True, text=True, timeout=60
    )


def num_unread(pipe: int) -> int:
    """Return how many bytes wait in a pipe."""
    return int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)


def is_one_sentence(text: str) -> bool:
    return text.startswith("qwen-agent: ") and text.count("\n") == 1


# --- closed, full, deserted


def test_a_report_from_a_closed_standard_input_is_refused(variables: dict[str, str]) -> None:
    process = done([*CLI, "fix", "--json", "--issue", "-"], variables, "<&-")
    assert process.returncode == json.loads(process.stdout)["exit_code"] == 2
    assert process.stderr == "qwen-agent: --issue -: standard input is closed\n"


def test_waiting_for_a_report_can_be_interrupted(variables: dict[str, str]) -> None:
    reading, writing = os.pipe()
    words = [*CLI, "fix", "--json", "--issue", "-"]
    with subprocess.Popen(
        words, cwd=ROOT, env=variables, stdin=reading, stdout=subprocess.PIPE, text=True
    ) as process:
        os.write(writing, b"It is wrong.")
        wait_for(lambda: num_unread(reading) == 0, limit_s=60)  # now it waits for more
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    os.close(reading)
    os.close(writing)
    assert process.returncode == json.loads(output)["exit_code"] == 130


@pytest.mark.parametrize("redirect", [">/dev/full", ">&-"])
def test_a_result_that_cannot_be_written_is_one_sentence(
    variables: dict[str, str], repository: Path, redirect: str
) -> None:
    words = [*CLI, "fix", str(repository), "--json", "--model", "/no/such/model"]
    process = done(words, variables, redirect)
    assert process.returncode == 1
    assert is_one_sentence(process.stderr)
    assert "nothing was changed" in process.stderr


def test_a_lost_result_says_whether_the_repair_was_applied(
    variables: dict[str, str], driver: Callable[..., list[str]], repository: Path
) -> None:
    process = done(driver(MENDS, "--json"), variables, ">/dev/full")
    assert process.returncode == 1
    assert process.stderr.endswith("; the repair was applied\n")
    assert "price + tax" in (repository / "shop/cart.py").read_text()


@pytest.mark.parametrize("form", ["--stream-json", "--attempts=1"])
def test_a_reader_that_leaves_cancels_the_run_without_a_word(
    variables: dict[str, str],
    driver: Callable[..., list[str]],
    repository: Path,
    tmp_path: Path,
    form: str,
) -> None:
    before = picture(repository)
    waits = ["bash", {"command": "until [ -e left ]; do sleep 0.05; done"}]

    def has_ended() -> bool:
        """Let the command end, and say whether all has."""
        for tree in tmp_path.glob("state/qwen-agent/sessions/*/tree"):
            (tree / "left").touch()
        return process.poll() is not None

    with subprocess.Popen(
        driver([waits, *MENDS], form),
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        wait_for(has_ended, limit_s=60)
        words = process.stderr.read()
        assert process.returncode == 130
    assert ("Traceback" in words, words == "") == (False, form != "--stream-json")
    assert [info.exit_code for info in list_sessions(tmp_path / "state/qwen-agent")] == [130]
    assert picture(repository) == before


@pytest.mark.parametrize("redirect", ["2>&-", "2>/dev/full"])
def test_the_result_comes_without_a_standard_error(
    variables: dict[str, str], driver: Callable[..., list[str]], repository: Path, redirect: str
) -> None:
    process = done(driver(MENDS, "--json"), variables, redirect)
    assert process.returncode == json.loads(process.stdout)["exit_code"] == 0
    assert "price + tax" in (repository / "shop/cart.py").read_text()
    process = done([*CLI, "fix", "--json", "--model"], variables, redirect)
    assert process.returncode == json.loads(process.stdout)["exit_code"] == 2


def test_a_file_of_ours_never_gets_the_number_of_a_closed_stream(variables: dict[str, str]) -> None:
    code = (
        "import agent.cli, os, sys\n"
        "agent.cli._hold_standard_streams()\n"
        "held = [os.fstat(number) for number in range(3)]\n"
        "sys.exit(os.open('/dev/null', os.O_RDONLY) < 3)\n"
    )
    process = done([sys.executable, "-c", code], variables, "<&- >&- 2>&-")
    assert process.returncode == 0


def test_a_list_whose_reader_left_ends_without_a_word(
    variables: dict[str, str], pipe_without_reader: int
) -> None:
    process = subprocess.run(
        [*CLI, "models"],
        cwd=ROOT,
        env=variables,
        stdout=pipe_without_reader,
        stderr=subprocess.PIPE,
        timeout=60,
    )
    assert (process.returncode, process.stderr) == (READER_GONE, b"")
    full = done([*CLI, "models"], variables, ">/dev/full")
    assert full.returncode == 1
    assert is_one_sentence(full.stderr)


def test_a_deleted_working_folder_is_a_sentence(
    variables: dict[str, str], tmp_path: Path, repository: Path
) -> None:
    gone = tmp_path / "gone"
    leave = f"mkdir {gone} && cd {gone} && rmdir {gone} && exec"
    for words, code in (
        (["fix", "--json"], 2),
        (["fix", "--json", "--resume"], 2),
        (["fix", "--json", str(repository), "--model", "/nope"], 7),
    ):
        process = subprocess.run(
            ["sh", "-c", f"{leave} {shlex.join([*CLI, *words])}"],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert process.returncode == json.loads(process.stdout)["exit_code"] == code
        assert is_one_sentence(process.stderr)


# --- words that are no arguments


@pytest.mark.parametrize("words", [["--max-turns", "abc"], ["--foo"], ["--sandbox", "none"]])
def test_words_that_are_no_arguments_are_answered_in_the_form_asked_for(
    capfd: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert answer(["fix", *words]) == 2
    output, complaint = capfd.readouterr()
    assert output == ""
    assert is_one_sentence(complaint)
    assert answer(["fix", "--json", *words]) == 2
    output, complaint = capfd.readouterr()
    assert json.loads(output)["exit_code"] == 2
    assert json.loads(output)["sentence"] in complaint
    assert answer(["fix", "--stream-json", *words]) == 2
    (line,) = capfd.readouterr().out.splitlines()
    assert json.loads(line)["type"] == "FixReport"


def test_other_commands_refuse_in_a_sentence(capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["fox"], ["sessions", "burn"], ["eval", "nano", "--seeds", "9"], ["--fix"]):
        assert answer(words) == 2
        output, complaint = capfd.readouterr()
        assert output == ""
        assert is_one_sentence(complaint)


# --- Ctrl-C before the program is all there


RAISES = """
import signal, sys
import agent.cli

# nohup ignores the one, a shell's background job the other, and children inherit that.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)

class Finder:
    def find_spec(self, name, *rest):
        if name == {module!r}:
            signal.raise_signal(signal.{number})

sys.meta_path.insert(0, Finder())
sys.exit(agent.cli.main({words!r}))
"""


@pytest.mark.parametrize(
    ("number", "module"),
    [
        (signal.SIGINT, "agent.arguments"),
        (signal.SIGTERM, "agent.frontends.fix"),
        (signal.SIGHUP, "agent.compose"),
    ],
)
def test_a_signal_while_the_program_is_loaded_cancels_cleanly(
    variables: dict[str, str],
    repository: Path,
    tmp_path: Path,
    module: str,
    number: signal.Signals,
) -> None:
    before = picture(repository)
    words = ["fix", str(repository), "--json", "--model", "nano"]
    code = RAISES.format(module=module, number=number.name, words=words)
    process = done([sys.executable, "-c", code], variables)
    assert process.returncode == json.loads(process.stdout)["exit_code"] == INTERRUPTED
    assert is_one_sentence(process.stderr)
    assert picture(repository) == before
    assert not (tmp_path / "state").exists()


def test_an_interrupted_list_ends_without_a_traceback(variables: dict[str, str]) -> None:
    code = RAISES.format(module="agent.frontends.doctor", number="SIGINT", words=["doctor"])
    process = done([sys.executable, "-c", code], variables)
    assert (process.returncode, process.stderr) == (INTERRUPTED, "")


def test_nohup_is_heard(variables: dict[str, str], driver: Callable[..., list[str]]) -> None:
    words = driver([TAKES_A_SECOND, *MENDS], "--stream-json")
    with subprocess.Popen(
        ["sh", "-c", f"trap '' HUP; exec {shlex.join(words)}"],
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGHUP)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert json.loads(output.splitlines()[-1])["outcome"] == "fixed"


def test_what_comes_before_signals_are_held_back_is_small() -> None:
    code = "import sys, agent.cli; print('argparse' in sys.modules, 'pathlib' in sys.modules)"
    words = [sys.executable, "-S", "-c", code]
    assert subprocess.check_output(words, cwd=ROOT, text=True, timeout=60) == "False False\n"


@pytest.mark.slow
@pytest.mark.parametrize("number", HELD_BACK)
def test_a_signal_while_the_weights_are_read_ends_the_run_at_once(
    variables: dict[str, str], repository: Path, number: signal.Signals
) -> None:
    before = picture(repository)
    words = [*CLI, "fix", str(repository), "--stream-json", "--model", "nano"]
    with subprocess.Popen(
        words,
        cwd=ROOT,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Under nohup and in a background job some are ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line)["type"] == "ModelLoading":
                break
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert json.loads(output.splitlines()[-1])["outcome"] == "cancelled"
    assert picture(repository) == before


# --- the home folder


@pytest.mark.parametrize("home", ["", "here"])
def test_a_home_that_is_no_folder_is_the_one_of_the_user_database(
    variables: dict[str, str], home: str
) -> None:
    environment = {**variables, "HOME": home}
    environment.pop("XDG_STATE_HOME")
    process = done([*CLI, "doctor"], environment)
    state = Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local/state/qwen-agent"
    assert f"state folder: {state}" in process.stdout
