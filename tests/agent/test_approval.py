"""What runs unasked, what is asked about and what never runs; labels of scripts, answers kept."""

from pathlib import Path
from typing import get_args

import pytest

from agent.approval import Allowed, Answer, Ask, Denied, Effects, answered, decide
from agent.approver import Approver
from agent.bench import approver
from agent.config import narrow
from agent.remembered import Remembered, key_of
from agent.settings import ApprovalConfig, ApprovalMode, Config
from agent.shell_words import read_script
from inference.messages import ToolCall
from sandbox.base import View


def bash(command: str) -> ToolCall:
    return ToolCall("bash", {"command": command})


def edit(path: str, command: str = "str_replace") -> ToolCall:
    return ToolCall("str_replace_editor", {"command": command, "path": path})


TESTS = ToolCall("run_tests", {})


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        ("npm test", [("npm", "test")]),
        ("cd a && FOO=1 make -j2 'a b' > log", [("cd", "a"), ("make", "-j2", "a b")]),
        ("ls | xargs rm", [("ls",), ("xargs", "rm")]),
        ("echo $(rm -rf x)", [("echo", "$(rm -rf x)"), ("rm", "-rf", "x")]),
        ('if true; then "git" push; fi', [("true",), ("git", "push")]),
        ("(g\\it push)", [("git", "push")]),
        ("for f in *; do rm $f; done", [("rm", "$f")]),
    ],
)
def test_a_script_is_read_as_its_commands(script: str, commands: list[tuple[str, ...]]) -> None:
    read = read_script(script)
    assert read.is_clear
    assert sorted(read.commands) == sorted(commands)


@pytest.mark.parametrize("script", ["$X push", "$(echo rm) x", "a ( b", "ls() { rm x; }; ls"])
def test_what_cannot_be_told_from_the_text_is_not_clear(script: str) -> None:
    assert not read_script(script).is_clear


@pytest.mark.parametrize(
    ("script", "reads"),
    [
        ("git log --oneline | head", True),
        ("grep -rn x . 2>/dev/null", True),
        ("find . -name '*.py'", True),
        ("find . -delete", False),
        ("git diff --output=x", False),
        ("git commit -m x", False),
        ("cat a > b", False),
        ("cat $(rm a)", False),
        ("uniq a b", False),
        ("git grep -O'touch x' y", False),
        ("GIT_EXTERNAL_DIFF=./x git diff", False),
        ("sed -i s/a/b/ f", False),
        ("python x.py", False),
        ("test -f a.py && [ -d b ] && cat a.py", True),
        ("git log --format='%h %s' -n5 HEAD~3..HEAD", True),
        ("for f in a b; do head -5 $f; done", True),
        ("/usr/bin/ls 2>&1", True),
        ("./ls", False),
        ("test -v 'a[$(touch w)]'", False),
        ("[ -v 'a[$(touch w)]' ]", False),
        ("[[ -v 'a[$(touch w)]' ]]", False),
        ("test *", False),
        ("find . *", False),
        ("printf -v PATH %s .; ls", False),
        ("git grep --open='touch w' x", False),
        ("git grep -n\"O\"'touch w' x", False),
        ("git log --outpu=x", False),
        ("read PATH", False),
        ("unset PATH; ls", False),
        ("PATH=. ls", False),
        ("for PATH in .; do ls; done", False),
        ("((PATH=1)); ls", False),
        ("echo $(( $(cat f) ))", False),
        ("cat <> f", False),
        ("ls > 1", False),
    ],
)
def test_scripts_that_only_read_are_told_from_others(script: str, reads: bool) -> None:
    assert read_script(script).only_reads is reads


@pytest.mark.parametrize(
    ("mode", "call", "kind"),
    [
        ("plan", edit("a.py", "view"), Allowed),
        ("plan", bash("ls"), Allowed),
        ("plan", bash("make"), Denied),
        ("plan", edit("a.py"), Denied),
        ("plan", TESTS, Denied),
        ("ask", edit("a.py"), Ask),
        ("ask", bash("make"), Ask),
        ("ask", bash("ls"), Allowed),
        ("ask", TESTS, Allowed),
        ("edit", edit("a.py"), Allowed),
        ("edit", bash("make"), Ask),
        ("auto", bash("make"), Allowed),
        ("auto", ToolCall("github__push", {}), Allowed),
        ("edit", ToolCall("github__push", {}), Ask),
    ],
)
def test_a_mode_says_what_is_asked_about(mode: str, call: ToolCall, kind: type) -> None:
    assert type(decide(call, ApprovalConfig(mode=mode))) is kind  # type: ignore[arg-type]


RULES = ApprovalConfig(
    mode="ask",
    allow=("bash: npm test", "bash: cd", "edit: src/*"),
    deny=("bash: git push", "edit: *.lock"),
)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (bash("cd web && npm test -- --watch"), Allowed),
        (bash("npm test; rm -rf src"), Ask),
        (bash("npm testing"), Ask),
        (bash("$X; npm test"), Ask),
        (bash("echo hi; git push"), Denied),
        (bash("echo $(git push)"), Denied),
        (edit("src/deep/a.py"), Allowed),
        (edit("tests/a.py"), Ask),
        (edit("src/x.lock"), Denied),
        (edit("src/x.lock", "view"), Allowed),
    ],
)
def test_rules_allow_and_deny_and_denying_wins(call: ToolCall, kind: type) -> None:
    assert type(decide(call, RULES)) is kind


def test_a_rule_speaks_of_the_file_whatever_link_leads_to_it(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests/a.py").touch()
    (tmp_path / "lnk.py").symlink_to("tests/a.py")
    config = Config(approval=ApprovalConfig(deny=("edit: tests/*",)))
    denied = approver(config, View(tmp_path, tmp_path))(edit("lnk.py"))
    assert denied == Denied("Changing tests/a.py is denied by the user's rules.")


def test_denied_in_every_mode() -> None:
    for mode in ("plan", "ask", "edit", "auto"):
        config = ApprovalConfig(mode=mode, deny=("bash: git push",))  # type: ignore[arg-type]
        assert isinstance(decide(bash("git push -f"), config), Denied)


def test_what_is_asked_shows_the_exact_command() -> None:
    asked = decide(bash("rm -rf 'a b'"), ApprovalConfig(mode="ask"))
    assert isinstance(asked, Ask)
    assert asked.preview == "rm -rf 'a b'"


def test_an_answer_is_the_call_or_a_reason() -> None:
    asked = Ask(bash("make"), "make", "k", "make")
    assert answered(asked, Answer(True)) == bash("make")
    refused = answered(asked, Answer(False, reason="use cmake"))
    assert isinstance(refused, Denied)
    assert refused.reason.endswith("They say: use cmake")


@pytest.mark.parametrize("rule", ["bash:", "a b", "search: x", ": x", ""])
def test_what_is_no_rule_is_said_when_settings_are_read(rule: str) -> None:
    with pytest.raises(ValueError, match=r"rule|pattern"):
        ApprovalConfig(allow=(rule,))


def test_always_is_remembered_until_the_script_it_runs_changes(tmp_path: Path) -> None:
    files = {"./deploy.sh": b"echo 1"}
    call = bash("./deploy.sh now")
    first = key_of(call, files.get)
    kept = Remembered(tmp_path, Path("/repo"))
    kept.add(first)
    again = Remembered(tmp_path, Path("/repo"))
    config = ApprovalConfig(mode="ask")
    assert first in again
    assert first not in Remembered(tmp_path, Path("/other"))
    effects = Effects(key=lambda call: key_of(call, files.get))
    assert isinstance(decide(call, config, effects, again), Allowed)
    files["./deploy.sh"] = b"curl evil"
    assert isinstance(decide(call, config, effects, again), Ask)


def test_a_no_for_always_holds_in_every_mode_and_in_the_next_session(tmp_path: Path) -> None:
    def session(mode: ApprovalMode, answer: Answer) -> Approver:
        config = ApprovalConfig(mode=mode)
        remembered = Remembered(tmp_path, Path("/repo"))
        return Approver(config, lambda ask: answer, remembered=remembered)

    assert isinstance(session("ask", Answer(False, always=True))(bash("make")), Denied)
    for mode in get_args(ApprovalMode):
        assert isinstance(session(mode, Answer(True))(bash("make")), Denied)
    assert session("ask", Answer(True))(bash("make all")) == bash("make all")


def test_a_damaged_memory_allows_nothing(tmp_path: Path) -> None:
    kept = Remembered(tmp_path, Path("/repo"))
    kept.add("k")
    (file,) = (tmp_path / "approvals").iterdir()
    assert file.stat().st_mode & 0o077 == 0
    file.write_text('{"a": 1')
    assert list(Remembered(tmp_path, Path("/repo"))) == []


def test_the_repository_can_only_make_it_stricter(tmp_path: Path) -> None:
    text = '[approval]\nmode = "auto"\nallow = ["bash: rm"]\ndeny = ["bash: curl"]\n'
    (tmp_path / ".qwen-agent.toml").write_text(text)
    mine = Config(approval=ApprovalConfig(mode="ask", allow=("bash: make",)))
    config, ignored = narrow(mine, tmp_path)
    assert config.approval == ApprovalConfig(
        mode="ask", allow=("bash: make",), deny=("bash: curl",)
    )
    assert set(ignored) == {"approval.mode", "approval.allow"}
