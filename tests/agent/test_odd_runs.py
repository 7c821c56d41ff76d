"""Runs of `fix` in which something odd stands in the way: it loses no repair and fools nobody."""

import subprocess
from pathlib import Path

import pytest

from agent.events import CallEnded, Event, Notice
from agent.fix import run_fix
from agent.request import FixRequest
from agent.settings import ApprovalConfig, Config, HooksConfig
from tests.agent.fakes import (
    FINISH,
    REPAIR,
    ScriptedModel,
    bash,
    make_repository,
    picture,
    write,
)
from tests.agent.test_fix import drained, fix


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def git(folder: Path, *words: str) -> str:
    person = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    done = subprocess.run(["git", *person, *words], cwd=folder, capture_output=True, check=True)
    return done.stdout.decode()


def test_in_plan_mode_no_command_can_write_whatever_it_is_taken_for(repository: Path) -> None:
    tries = HooksConfig(before_tool=("touch planted; test ! -e planted",))
    config = Config(approval=ApprovalConfig(mode="plan"), hooks=tries)
    outcome, _, model = fix(repository, [bash("ls"), FINISH], config=config)
    assert (outcome.sentence, outcome.patch) == ("nothing was changed, in plan mode", "")
    assert "shop" in model.seen[1][-1].content


def test_what_we_keep_ourselves_is_left_out_of_the_copy_and_kept_elsewhere(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(repository, {"cache/qwen-agent/big": "x", "st/qwen-agent/sessions/1": "x"})
    monkeypatch.setenv("XDG_CACHE_HOME", str(repository / "cache"))
    monkeypatch.setenv("XDG_STATE_HOME", str(repository / "st"))
    monkeypatch.setattr("tempfile.tempdir", str(repository.parent))
    model, events = ScriptedModel([[bash("ls -a . st cache"), REPAIR, FINISH]]), list[Event]()
    run = run_fix(
        FixRequest(repository),
        chat_factory=lambda _: model,
    )
    outcome = drained(run, events)
    assert (outcome.exit_code, outcome.changed_files) == (0, ("shop/cart.py",))
    told = model.seen[1][-1].content
    assert "cart" in model.seen[0][-1].content
    assert "qwen-agent" not in told
    (notice,) = [event.text for event in events if isinstance(event, Notice)]
    assert f"st/qwen-agent cannot be used (it is in {repository})" in notice


def test_a_command_that_is_too_long_is_a_failed_call_and_the_run_goes_on(repository: Path) -> None:
    long = bash("cat > big.txt <<'E'\n" + "x\n" * 70_000 + "E")
    outcome, _, model = fix(repository, [REPAIR, long, FINISH])
    assert outcome.exit_code == 0
    assert "too long for a command; put it into a file" in model.seen[2][-1].content


def test_what_is_in_a_submodule_or_link_is_left_out_and_the_rest_lands(tmp_path: Path) -> None:
    inner = make_repository(tmp_path / "inner")
    repository = make_repository(tmp_path / "repo", {"real/x.txt": "x\n"})
    (repository / "link").symlink_to("real")
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", str(inner), "vendor")
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "second")
    meddle = bash("echo 1 > vendor/new; rm link; mkdir link; echo 1 > link/y; echo 1 > real/z")
    outcome, events, _ = fix(repository, [meddle, REPAIR, FINISH], commit=True)
    assert (outcome.exit_code, outcome.changed_files) == (0, ("real/z", "shop/cart.py"))
    notices = [event.text for event in events if isinstance(event, Notice)]
    assert "Not in the repair: link/y, for it is in a submodule or a link." in notices
    after = picture(repository)
    assert after["link"] == "-> real"
    assert "vendor/new" not in after


def test_a_hook_that_cannot_be_run_ends_the_run_and_is_named(repository: Path) -> None:
    config = Config(hooks=HooksConfig(before_tool=("nosuchprogram",)))
    outcome, _, model = fix(repository, [REPAIR, FINISH], config=config)
    assert outcome.exit_code == 6
    assert "the hook `nosuchprogram` of your settings could not be started" in outcome.sentence
    assert len(model.seen) == 1


def test_where_nobody_can_be_asked_the_user_is_told_what_to_set(repository: Path) -> None:
    config = Config(approval=ApprovalConfig(mode="ask"))
    outcome, _, _ = fix(repository, [REPAIR, FINISH, FINISH, FINISH], config=config)
    assert outcome.exit_code == 6
    assert outcome.sentence == (
        "nothing was changed; in mode ask somebody is asked about str_replace_editor, and nobody "
        "was there: allow it in approval.allow, or set approval.mode to auto"
    )


def test_a_finish_that_is_accepted_at_last_is_not_called_a_repetition(repository: Path) -> None:
    outcome, events, _ = fix(repository, [FINISH, FINISH, FINISH, FINISH])
    assert outcome.exit_code == 4
    ends = [event.text for event in events if isinstance(event, CallEnded)]
    assert "This is time" not in ends[-1]


def test_a_base_that_is_no_commit_is_refused_before_anything_runs(repository: Path) -> None:
    outcome, events, _ = fix(repository, base="nosuch")
    assert (outcome.exit_code, events) == (2, [])
    assert outcome.sentence == "--base: nosuch is no commit of this repository; fetch it first"
