import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agent.arguments import parse
from agent.cli import answer
from agent.errors import UsageError
from agent.events import (
    CallEnded,
    CallStarted,
    Event,
    PrefillProgress,
    ReplyEnded,
    RunStarted,
    TestsRan,
)
from agent.frontends.asked import request_of
from agent.frontends.console import LiveConsole, PlainConsole, happening, lines_of, visible
from agent.frontends.report import FixReport, report_of
from agent.outcome import FixOutcome
from agent.settings import Config, ModelConfig
from agent.workplace import find_repository
from inference.messages import ToolCall, Usage
from sandbox.choose import LEVELS
from tests.agent.fakes import make_repository, picture

ROOT = Path(__file__).parent.parent.parent
REPAIR = {
    "command": "str_replace",
    "path": "shop/cart.py",
    "old_str": "price - tax",
    "new_str": "price + tax",
}
SCRIPT = [["run_tests", {}], ["str_replace_editor", REPAIR], ["finish", {"summary": "Mended."}]]

Started = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


@pytest.fixture
def start(tmp_path: Path, repository: Path) -> Iterator[Started]:
    """Starts `fix` on the repository in a process of its own."""
    running = []

    def begin(script: list[Any], *words: str, state: Path | None = None) -> "subprocess.Popen[str]":
        file = tmp_path / f"script{len(running)}.json"
        file.write_text(json.dumps(script))
        environment = {
            **os.environ,
            "XDG_STATE_HOME": str(state or tmp_path / "state"),
            "XDG_CONFIG_HOME": str(tmp_path / "config"),
        }
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.agent.driver", str(file), str(repository), *words],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        running.append(process)
        return process

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.02)


def processes_that_name(words: str) -> list[str]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if words in line:
            found.append(line)
    return found


def test_json_is_one_document_by_its_schema_and_people_read_standard_error(
    start: Started, repository: Path
) -> None:
    process = start(SCRIPT, "--json")
    output, words = process.communicate(timeout=60)
    report = FixReport.model_validate_json(output)
    assert process.returncode == report.exit_code == 0
    assert (report.outcome, report.applied) == ("fixed", True)
    assert report.sandbox in ("full", "namespaces")
    assert report.usage.num_prompt == report.usage.num_reused + report.usage.num_prefilled
    assert len(report.replies) == report.num_steps == 3
    assert report.tests_after is not None
    assert report.tests_after.num_passed == 2
    assert "Fixed: " in words
    assert "+    return price + tax" in words
    assert set(FixReport.model_json_schema()["properties"]) == set(json.loads(output))


def test_stream_json_is_one_event_a_line_and_then_the_report(start: Started) -> None:
    process = start(SCRIPT, "--stream-json", "--dry-run")
    output, _ = process.communicate(timeout=60)
    lines = [json.loads(line) for line in output.split("\n") if line]
    kinds = [line["type"] for line in lines]
    assert kinds[:2] == ["RunStarted", "TestsRan"]
    assert lines[0]["sandbox"] == lines[-1]["sandbox"]
    assert lines[0]["sandbox"] in LEVELS
    assert kinds.count("CallStarted") == kinds.count("CallEnded") == 3
    assert kinds[-1] == "FixReport"
    assert lines[-1]["applied"] is False
    assert process.returncode == 0


def test_without_isolation_every_form_and_the_journal_say_so(
    start: Started, tmp_path: Path
) -> None:
    process = start(SCRIPT, "--stream-json", "--dry-run", "--sandbox", "direct")
    output, words = process.communicate(timeout=60)
    lines = [json.loads(line) for line in output.split("\n") if line]
    assert [line["sandbox"] for line in (lines[0], lines[-1])] == ["direct", "direct"]
    assert "sandbox: direct" in words
    banner = words.index("NO ISOLATION")
    assert banner < words.index("Tests before")
    assert words.rstrip().endswith("all of it ran without isolation (--sandbox direct)")
    (journal,) = (tmp_path / "state" / "qwen-agent" / "sessions").glob("*/journal.jsonl")
    records = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [r["level"] for r in records if r["type"] == "isolation"] == ["direct"]


def test_a_refusal_is_one_line_and_with_json_a_document_too(start: Started) -> None:
    process = start(SCRIPT, "--test-cmd", "no-such-runner")
    output, words = process.communicate(timeout=60)
    assert process.returncode == 2
    assert words == "qwen-agent: no-such-runner: command not found; see --test-cmd\n"
    process = start(SCRIPT, "--json", "--attempts", "0")
    output, words = process.communicate(timeout=60)
    assert json.loads(output)["exit_code"] == process.returncode == 2
    assert words == "qwen-agent: --attempts must be 1 or more\n"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_in_a_reply_ends_the_run_cleanly(
    start: Started, repository: Path, number: signal.Signals
) -> None:
    before = picture(repository)
    process = start([["str_replace_editor", REPAIR], ["hang", {}]], "--stream-json")
    read_until(process, "TextDelta")
    process.send_signal(number)
    process.send_signal(number)  # an impatient person does no harm
    output, words = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(output.strip().rpartition("\n")[2])["outcome"] == "cancelled"
    assert "--resume" in words
    assert picture(repository) == before


@pytest.mark.slow
def test_flags_given_with_resume_are_in_force(
    start: Started, repository: Path, tmp_path: Path
) -> None:
    before = picture(repository)
    process = start([SCRIPT[1], ["hang", {}]], "--stream-json")
    read_until(process, "TextDelta")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    patch = tmp_path / "p.diff"
    process = start(SCRIPT, "--resume", "--dry-run", "--patch", str(patch), "--json")
    report = json.loads(process.communicate(timeout=60)[0])
    assert (report["exit_code"], report["applied"], report["patch_file"]) == (0, False, str(patch))
    assert patch.read_text() == report["patch"]
    assert picture(repository) == before


def test_the_patch_alone_can_go_to_standard_output(start: Started, repository: Path) -> None:
    process = start(SCRIPT, "--dry-run", "--patch", "-")
    output, words = process.communicate(timeout=60)
    assert process.returncode == 0
    assert output.startswith("--- a/shop/cart.py") or output.startswith("diff --git ")
    assert "Fixed: " in words
    subprocess.run(
        ["git", "apply"], cwd=repository, input=output, text=True, check=True, timeout=30
    )
    assert "price + tax" in (repository / "shop/cart.py").read_text()


def test_a_signal_in_a_tool_leaves_no_process(
    start: Started, repository: Path, tmp_path: Path
) -> None:
    before = picture(repository)
    mark = f"sleep 600.{os.getpid()}"
    process = start([["bash", {"command": f"touch started; {mark} & {mark}"}]])
    wait_for(lambda: list(tmp_path.glob("state/qwen-agent/sessions/*/tree/started")))
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert not processes_that_name(mark)
    assert picture(repository) == before


def read_until(process: "subprocess.Popen[str]", kind: str) -> None:
    """Read events until one is of this kind."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["type"] == kind:
            return
    raise AssertionError(f"there was no {kind}")


@pytest.mark.fault
@pytest.mark.parametrize(
    "moment", ["RunStarted", "TestsRan", "CallEnded", "TextDelta", "TurnEnded"]
)
def test_a_killed_run_leaves_the_repository_alone_and_goes_on_with_resume(
    start: Started, repository: Path, moment: str
) -> None:
    before = picture(repository)
    cut = [*SCRIPT[:2], ["hang", {}]] if moment == "TextDelta" else SCRIPT
    process = start(cut, "--stream-json")
    read_until(process, moment)
    process.kill()
    process.communicate(timeout=30)
    assert picture(repository) == before
    process = start(SCRIPT, "--json", "--resume")
    output, _ = process.communicate(timeout=60)
    assert json.loads(output)["exit_code"] == 0
    assert json.loads(output)["num_steps"] == 3
    assert "price + tax" in (repository / "shop/cart.py").read_text()


@pytest.mark.fault
@pytest.mark.skipif(os.geteuid() != 0, reason="a read-only mount needs root")
def test_a_repository_on_a_read_only_disk_is_refused(start: Started, repository: Path) -> None:
    subprocess.run(["mount", "--bind", str(repository), str(repository)], check=True, timeout=30)
    remount = ["mount", "-o", "remount,ro,bind", str(repository)]
    try:
        subprocess.run(remount, check=True, timeout=30)
        process = start(SCRIPT)
        _, words = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "is read-only; use --dry-run" in words
        process = start(SCRIPT, "--dry-run", "--json")
        output, _ = process.communicate(timeout=60)
        assert json.loads(output)["exit_code"] == 0
    finally:
        subprocess.run(["umount", str(repository)], check=True, timeout=30)


@pytest.mark.slow
def test_damaged_weights_are_one_sentence(repository: Path, tmp_path: Path) -> None:
    model = tmp_path / "model"
    model.mkdir()
    (model / "config.json").write_text(json.dumps({"model_type": "qwen3_5_text"}))
    (model / "model.safetensors").write_bytes(os.urandom(500))
    before = picture(repository)
    done = subprocess.run(
        [sys.executable, "-m", "agent.cli", "fix", str(repository), "--model", str(model)],
        cwd=ROOT,
        env={**os.environ, "XDG_STATE_HOME": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 7
    assert done.stderr.startswith("qwen-agent: ")
    assert "damaged" in done.stderr
    assert done.stderr.count("\n") == 1
    assert picture(repository) == before


# --- arguments


def request(*words: str) -> Any:
    return request_of(parse(["fix", *words]), Config())


def test_arguments_become_a_request(tmp_path: Path) -> None:
    report = tmp_path / "report.txt"
    report.write_text("It is wrong.\n")
    made = request(
        str(tmp_path), "--issue", f"@{report}", "--test-cmd", "python -m pytest -k 'a b'",
        "--max-turns", "3", "--max-time", "9.5", "--no-reuse", "--tests", "a", "b",
    )  # fmt: skip
    assert made.issue == "It is wrong."
    assert made.test_command == ("python", "-m", "pytest", "-k", "a b")
    assert (made.config.budget.max_steps, made.config.budget.max_time_s) == (3, 9.5)
    assert (made.tests, made.reuse, made.model) == (("a", "b"), False, "auto")


def test_the_flag_for_old_thinking_wins_over_the_setting() -> None:
    config = Config(model=ModelConfig(thinking_history="strip"))
    for words, history in (((), "strip"), (("--thinking-history", "preserve"), "preserve")):
        made = request_of(parse(["fix", *words]), config)
        assert made.config.model.thinking_history == history
    assert request().config.model.thinking_history == "preserve"


def test_the_flag_for_keys_and_values_wins_over_the_setting() -> None:
    config = Config(model=ModelConfig(kv="int8"))
    for words, kind in (((), "int8"), (("--kv", "int4"), "int4"), (("--kv", "auto"), "auto")):
        assert request_of(parse(["fix", *words]), config).config.model.kv == kind
    with pytest.raises(UsageError, match="invalid choice: '8bit'"):
        parse(["--kv", "8bit"])


def test_weights_are_kept_as_the_flag_says_or_the_setting() -> None:
    config = Config(model=ModelConfig(weights="int8"))
    for words, weights in (((), "int8"), (("--weights", "nf4"), "nf4")):
        assert request_of(parse(["fix", *words]), config).config.model.weights == weights
    assert request().config.model.weights == "auto"


@pytest.mark.parametrize("command", ["cd pkg && pytest", "A=1 pytest", "pytest | tee log"])
def test_a_command_written_for_a_shell_is_given_to_one(command: str) -> None:
    assert request("--test-cmd", command).test_command == ("sh", "-c", command)


@pytest.mark.parametrize(
    "words",
    [
        ("--issue", "@/no/such/file"),
        ("--issue", "  "),
        ("--test-cmd", "'"),
        ("--test-cmd", ""),
        ("--max-turns", "0"),
        ("--max-time", "nan"),
        ("--seed", "-1"),
        ("--seed", "99999999999999999999"),
        ("--patch", "-", "--json"),
    ],
)
def test_an_argument_that_cannot_be_meant_is_a_sentence(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError) as caught:
        request(*words)
    assert "\n" not in str(caught.value)


def test_a_folder_alone_is_talked_about_and_a_command_wins_over_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("shop", "doctor"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    for word in (".", "..", "shop", "shop/cart", "/nowhere", "./doctor"):
        arguments = parse([word, "--mode", "plan"])
        assert (arguments.command, arguments.path) == ("talk", Path(word))
    assert parse(["doctor"]).command == "doctor"


@pytest.mark.parametrize("words", ["fix --nope", "plan --nope", "cache list --nope"])
def test_a_word_that_is_not_known_leads_to_the_help_of_its_command(words: str) -> None:
    command = words.removesuffix(" --nope")
    with pytest.raises(UsageError, match=f"--nope; see `qwen-agent {command} --help`"):
        parse(words.split())


@pytest.mark.parametrize("words", [["help"], ["help", "fix"], ["-V"]])
def test_help_and_the_version_are_there_in_the_usual_words(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        parse(words)
    assert left.value.code == 0
    shown = {"help": "usage: qwen-agent", "-V": "qwen-agent "}[words[0]]
    out = capsys.readouterr().out
    assert out.startswith(shown)
    assert ("--issue" in out) == ("fix" in words)


def test_a_file_is_no_folder_to_work_in(tmp_path: Path) -> None:
    repository = make_repository(tmp_path)
    with pytest.raises(UsageError, match="is a file; name a folder"):
        find_repository(repository / "shop/cart.py")


@pytest.mark.parametrize(
    ("word", "hint"), [("doktor", "did you mean `qwen-agent doctor`?"), ("x", "--help`")]
)
def test_a_word_that_is_nothing_names_the_nearest_command(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse([word])
    assert str(refused.value).startswith(f"there is no command and no folder {word!r}; ")
    assert str(refused.value).endswith(hint)


def test_a_report_that_cannot_be_read_is_told_in_our_words(tmp_path: Path) -> None:
    (tmp_path / "odd").write_bytes(b"\xff\xfe\x00")
    for name, cause in (("odd", "it is no text in UTF-8"), ("", "Is a directory")):
        text = f"@{tmp_path}/{name}"
        with pytest.raises(UsageError) as refused:
            request_of(parse(["fix", "--issue", text]), Config())
        assert str(refused.value) == f"--issue {text}: {cause}"


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(["--help"]) == 0
    text = capsys.readouterr().out
    for word in ("fix", "doctor", "models", "sessions", "cache", "130 cancelled"):
        assert word in text


def test_models_and_sessions_answer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    assert answer(["models"]) == 0
    assert "auto: no model is set" in capsys.readouterr().out
    assert answer(["sessions"]) == 0
    assert answer(["sessions", "show", "nothing"]) == 2
    assert "there is no session nothing" in capsys.readouterr().err


# --- what a person sees


def plain(event: Event) -> str:
    return "\n".join(text for _, text in lines_of(event))


def test_text_of_others_cannot_rule_the_terminal() -> None:
    evil = "a\x1b[2J\x1b]0;title\x07b\rc\u202ed\ud800\ne"
    shown = visible(evil)
    assert shown.isprintable()
    assert "title" not in shown
    ended = CallEnded("bash", evil, evil, True, "+" + evil, 0.1)
    assert "\x1b" not in plain(ended)


def test_what_happens_is_told_in_lines(capsys: pytest.CaptureFixture[str]) -> None:
    console = PlainConsole(sys.stdout)
    console.show(RunStarted("s1", "/repo", "pytest", "direct"))
    console.show(TestsRan("before", "7 failed", tuple("abcdefg"), 1.0, False))
    console.show(CallStarted(ToolCall("bash", {"command": "ls\n-l"})))
    usage = Usage(100, 60, 40, 8, 0.5, 0.25)
    console.show(ReplyEnded(usage, "I look first.\n\n\x1b[8mhidden"))
    outcome = FixOutcome(0, "All pass.", "/repo", "m", 0, usages=(usage,), patch_file="/p")
    console.finish(outcome)
    text = capsys.readouterr().out
    assert "NO ISOLATION" in text
    assert "and 2 more" in text
    assert "> bash ls -l" in text
    assert "I look first.\nhidden\n" in text
    assert "[100 tokens: 60 reused, 40 read at 80 tok/s; 8 written at 32 tok/s]" in text
    assert "Fixed: All pass.\n" in text
    assert "40 tokens read, 60 reused, 8 written" in text


def test_the_level_is_in_the_header_and_a_banner_only_where_there_is_none() -> None:
    for level in LEVELS:
        shown = plain(RunStarted("s1", "/repo", "pytest", level))
        assert f"sandbox: {level};" in shown
        assert ("NO ISOLATION" in shown) is (level == "direct")
    assert "Weak isolation" in plain(RunStarted("s1", "/repo", "pytest", "landlock"))


def test_prefill_shows_how_far_it_is_and_how_long_it_takes() -> None:
    words = happening(PrefillProgress(250, 1000, 2.0))
    assert words is not None
    assert "[######..................] 250 of 1,000 tokens, 6 s left" in words


def test_a_terminal_gets_colours_and_a_live_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    leader, follower = os.openpty()
    with os.fdopen(leader, "rb", buffering=0) as screen, os.fdopen(follower, "w") as stream:
        console = LiveConsole(stream)
        console.show(RunStarted("s1", "/repo", "[bold]pytest[/bold]", "direct"))
        console.show(CallEnded("edit", "edited", "", True, "@@ -1 +1 @@\n-old\n+new\n", 0.1))
        console.show(PrefillProgress(1, 2, 1.0))
        console.finish(FixOutcome(3, "Still not green.", "/repo", "m", 0))
        text = ""
        while "Still red: Still not green." not in text:
            text += screen.read(65536).decode()
    assert "[bold]pytest[/bold]" in text
    assert text.count("!!  ") >= 2
    assert "\x1b[32m    +new" in text


def test_a_patch_that_is_no_text_can_be_reported() -> None:
    outcome = FixOutcome(3, "x", "/r", "m", 0, patch=b"\xff".decode("utf-8", "replace"))
    assert json.loads(report_of(outcome).model_dump_json())["patch"] == "\ufffd"
