"""Runs of `fix` in which something odd stands in the way: it loses no repair and fools nobody."""

import subprocess
from pathlib import Path

import pytest

from agent.events import Event, Notice
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
