from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.bubblewrap import Bubblewrap
from tools.bash import Bash
from tools.errors import ToolFailed


@pytest.fixture
def bash(tmp_path: Path) -> Bash:
    return Bash(Bubblewrap(), View(tmp_path, Path("/workspace")))


@pytest.mark.parametrize(
    ("command", "text", "summary"),
    [
        ("echo hello", "hello", "ran echo hello (exit 0)"),
        ("pwd", "/workspace", "ran pwd (exit 0)"),
        ("true", "[no output]", "ran true (exit 0)"),
        ("false", "[exit code 1]", "ran false (exit 1)"),
        ("echo no >&2; exit 3", "no\n[exit code 3]", "ran echo no >&2; exit 3 (exit 3)"),
        ("printf '\\n\\n  x\\n\\n'", "  x", "ran printf '\\n\\n  x\\n\\n' (exit 0)"),
        ("printf '\\033[31mred\\033[0m\\a'", "red", None),
        ("[[ a == a ]] && echo $0", "bash", None),
        ("cat", "[no output]", None),
    ],
)
def test_what_a_command_prints_and_how_it_ends(
    bash: Bash, command: str, text: str, summary: str | None
) -> None:
    result = bash.run({"command": command})
    assert result.text == text
    assert summary is None or result.summary == summary
    assert result.ok


def test_a_command_that_is_not_there_is_named(bash: Bash) -> None:
    text = bash.run({"command": "no-such-program"}).text
    assert "no-such-program" in text
    assert text.endswith("\n[exit code 127]")


def test_a_long_output_keeps_both_ends_and_counts_the_rest(bash: Bash) -> None:
    text = bash.run({"command": "seq 1 200000"}).text
    assert text.startswith("1\n2\n3\n")
    assert text.endswith("\n199999\n200000")
    assert len(text) < 12_100
    # seq prints 1,288,895 bytes; 12,000 characters of them are shown.
    assert "\n[... 1276895 characters cut ...]\n" in text


def test_a_command_is_stopped_at_its_time_limit_with_what_it_printed(bash: Bash) -> None:
    for timeout_s in (1, 8, 50):  # longer if a busy machine did not let it print that soon
        result = bash.run({"command": "echo early; sleep 600", "timeout_s": timeout_s})
        if result.text.startswith("early"):
            break
    assert result.text == f"early\n[timed out after {timeout_s} s]"
    assert result.summary == "ran echo early; sleep 600 (timed out)"
    assert not result.ok


def test_a_cancelled_command_stops(bash: Bash) -> None:
    result = bash.run({"command": "echo early; sleep 60"}, lambda: True)
    assert result.text.endswith("[cancelled]")
    assert not result.ok


def test_a_long_command_is_one_short_line_for_a_person(bash: Bash) -> None:
    summary = bash.run({"command": "echo " + "a" * 100 + "\necho second"}).summary
    assert summary == "ran echo " + "a" * 52 + "... (exit 0)"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"command": " \n"}, "command is empty."),
        ({"command": "ls", "timeout_s": 0}, "timeout_s must be 1 or more."),
    ],
)
def test_a_call_without_sense_is_refused(
    bash: Bash, arguments: dict[str, object], said: str
) -> None:
    with pytest.raises(ToolFailed, match=said):
        bash.run(arguments)


def test_the_workspace_is_written_and_the_host_is_not(bash: Bash, tmp_path: Path) -> None:
    outside = tmp_path.parent / "outside.txt"
    bash.run({"command": f"echo x > inside.txt; echo x > {outside}"})
    assert (tmp_path / "inside.txt").read_text() == "x\n"
    assert not outside.exists()
