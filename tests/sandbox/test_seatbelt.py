"""The profile for macOS, word for word, and by what its rules come to; no Mac is needed, or used.

`Rules` reads a profile as macOS is documented to: the last rule that matches decides. What runs
commands is tried with a stand-in for `sandbox-exec` that isolates nothing.
"""

import re
from pathlib import Path

import pytest

from sandbox.base import View
from sandbox.errors import SandboxError, SandboxUnavailable
from sandbox.limits import MIB, Limits
from sandbox.seatbelt import Seatbelt, arguments, profile
from tests.sandbox.conftest import long_enough, until_gone

GOLDEN = Path(__file__).with_name("seatbelt.sb")
TREE = Path("/Users/me/.local/state/qwen-agent/sessions/1/tree")
PRIVATE = Path("/private/var/folders/xy/qwen-agent-1")
VIEW = View(
    source=TREE,
    workspace=TREE,
    read_only=(Path("/Users/me/shop/.venv"),),
    protected=((Path("/Users/me/shop/.git"), TREE / "lib" / "sub" / ".git"),),
    scratch=TREE.with_name("results"),
)
RULE = re.compile(r"^\((allow|deny) ([^(\n]+?)(?:\n((?:  .+\n?)+)|( \(.*\)))?\)$", re.M)
FILTER = re.compile(r'\((subpath|literal) "(.*?)"\)|\(regex #"(.*?)"\)')


class Rules:
    """What a profile says of files."""

    def __init__(self, text: str) -> None:
        self._rules = [
            (found[1], found[2].split(), FILTER.findall((found[3] or "") + ")"))
            for found in RULE.finditer(text)
            if "unix-socket" not in found[0]
        ]

    def allow(self, operation: str, path: str | Path) -> bool:
        answer = False
        for verdict, operations, filters in self._rules:
            names = any(_covers(name, operation) for name in operations)
            if names and any(_matches(*one, str(path)) for one in filters):
                answer = verdict == "allow"
        return answer


def _covers(name: str, operation: str) -> bool:
    return operation.startswith(name[:-1]) if name.endswith("*") else operation == name


def _matches(kind: str, value: str, pattern: str, path: str) -> bool:
    if pattern:
        return re.search(pattern, path) is not None
    return path == value or (kind == "subpath" and path.startswith(f"{value}/"))


@pytest.fixture
def rules() -> Rules:
    return Rules(profile(VIEW, PRIVATE))


def test_the_profile_is_the_one_that_was_read_by_people() -> None:
    assert profile(VIEW, PRIVATE) == GOLDEN.read_text()


def test_nothing_is_allowed_before_everything_is_denied() -> None:
    assert profile(VIEW, PRIVATE).startswith("(version 1)\n(deny default)\n")


def test_the_workspace_and_the_private_folders_can_be_written_and_nothing_else(
    rules: Rules,
) -> None:
    for place in (TREE / "a.py", PRIVATE / "x", TREE.with_name("results") / "r.json"):
        assert rules.allow("file-write-create", place)
    for place in ("/Users/me/.zshrc", "/usr/local/bin/x", "/etc/hosts", TREE.with_name("journal")):
        assert not rules.allow("file-write-create", place)
    assert not Rules(profile(View(TREE, TREE, writable=False), PRIVATE)).allow(
        "file-write-create", TREE / "a.py"
    )


def test_secrets_of_the_user_cannot_be_read(rules: Rules) -> None:
    for place in ("/Users/me/.ssh/id_rsa", "/Users/me/shop/.env", "/Library/Keychains/System",
                  "/System/Volumes/Data/Users/me/.ssh/id_rsa", "/private/etc/master.passwd",
                  "/private/tmp/other"):  # fmt: skip
        assert not rules.allow("file-read-data", place)
    for place in ("/usr/bin/python3", "/Users/me/shop/.venv/bin/python", TREE / "a.py"):
        assert rules.allow("file-read-data", place)


@pytest.mark.parametrize("name", [".git", ".GIT", "sub/.Git", "lib/sub/.git"])
def test_git_is_read_only_at_any_depth_and_in_any_case(rules: Rules, name: str) -> None:
    assert not rules.allow("file-write-create", TREE / name)
    assert not rules.allow("file-write-data", TREE / name / "hooks" / "pre-commit")
    assert rules.allow("file-read-data", TREE / name / "config")
    assert rules.allow("file-write-create", TREE / f"{name}ignore")


def test_a_folder_around_git_cannot_be_moved_away(rules: Rules) -> None:
    for folder in (TREE, TREE / "lib", TREE / "lib" / "sub"):
        assert not rules.allow("file-write-unlink", folder)
    assert rules.allow("file-write-unlink", TREE / "other")


def test_no_rule_opens_the_network() -> None:
    opened = [
        line for line in profile(VIEW, PRIVATE).splitlines() if " ip " in line or "tcp" in line
    ]
    assert opened == []
    assert "network*\n  (local unix-socket (subpath" in profile(VIEW, PRIVATE)


def test_a_path_cannot_end_a_rule() -> None:
    quoted = Path('/Users/me/a") (allow default) (x "')
    text = profile(View(quoted, quoted), PRIVATE)
    assert '(subpath "/Users/me/a\\") (allow default) (x \\"")' in text
    with pytest.raises(SandboxError, match="cannot be written"):
        profile(View(Path("/a\n(allow default)"), Path("/a\n(allow default)")), PRIVATE)
    dots = View(Path("/a.b+c"), Path("/a.b+c"))
    assert r"^/a\.b\+c/(.*/)?" in profile(dots, PRIVATE)


def test_the_command_line_holds_profile_limits_and_command() -> None:
    words = arguments("(version 1)", ["ls", "-l"], Limits(cpu_s=7, file_bytes=MIB))
    assert words[:3] == ("/usr/bin/sandbox-exec", "-p", "(version 1)")
    assert words[3:] == (
        *("/bin/sh", "-c", 'ulimit -c 0; ulimit -t 7; ulimit -f 2048; exec "$@"', "sh"),
        *("ls", "-l"),
    )


# --- running, with a stand-in


@pytest.fixture
def seatbelt(tmp_path: Path) -> Seatbelt:
    program = tmp_path / "sandbox-exec"
    program.write_text('#!/bin/sh\n[ "$1" = -p ] || exit 64\nshift 2\nexec "$@"\n')
    program.chmod(0o755)
    return Seatbelt(program)


def test_a_program_that_does_not_work_is_no_sandbox(tmp_path: Path) -> None:
    with pytest.raises(SandboxUnavailable, match="No such file"):
        Seatbelt(tmp_path / "none")
    broken = tmp_path / "sandbox-exec"
    broken.write_text("#!/bin/sh\necho 'unbound variable' >&2\nexit 65\n")
    broken.chmod(0o755)
    with pytest.raises(SandboxUnavailable, match="unbound variable"):
        Seatbelt(broken)


def test_a_command_runs_in_the_workspace_with_an_environment_of_its_own(
    seatbelt: Seatbelt, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY_API_KEY", "0c61f5")
    result = seatbelt.run(["sh", "-c", "pwd; env; exit 3"], view, Limits(wall_s=60))
    assert result.output.startswith(f"{view.source}\n")
    assert "CANARY" not in result.output
    assert (result.exit_code, result.argv) == (3, ("sh", "-c", "pwd; env; exit 3"))
    assert seatbelt.run(["no-such-program"], view, Limits(wall_s=60)).exit_code == 127


def test_a_command_ends_at_its_limit_on_cancel_and_with_its_group(
    seatbelt: Seatbelt, view: View, nap: str
) -> None:
    script = ["sh", "-c", f"echo on; sleep {nap}"]
    late = long_enough(lambda wall_s: seatbelt.run(script, view, Limits(wall_s=wall_s)))
    assert (late.timed_out, late.exit_code, late.output) == (True, None, "on\n")
    stopped = seatbelt.run(["sleep", nap], view, Limits(wall_s=60), lambda: True)
    assert stopped.cancelled
    left = seatbelt.run(["sh", "-c", f"sleep {nap} & echo off"], view, Limits(wall_s=60))
    assert (left.exit_code, left.output) == (0, "off\n")
    assert until_gone(nap) == []


def test_a_file_and_an_output_have_a_size(seatbelt: Seatbelt, view: View) -> None:
    script = "head -c 3000000 /dev/zero > large; wc -c < large"
    result = seatbelt.run(["sh", "-c", script], view, Limits(wall_s=60, file_bytes=MIB))
    assert result.output.split()[-1] == str(MIB)
    noisy = seatbelt.run(["head", "-c", "9000000", "/dev/zero"], view, Limits(output_bytes=1000))
    assert noisy.num_output_bytes == 9_000_000
    assert noisy.truncated
