"""A session that goes on: what is typed now wins, what cannot change is refused."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agent.arguments import parse
from agent.config import load_config
from agent.errors import UsageError
from agent.fix import resume_fix, run_fix
from agent.frontends.asked import resumed
from agent.journal import Journal
from agent.models import resolve
from agent.outcome import FixOutcome
from agent.request import FixRequest
from agent.session import JOURNAL
from agent.sessions import find_session, list_sessions
from agent.settings import Budget, Config
from inference.models import SHAPES
from tests.agent.fakes import (
    FINISH,
    REPAIR,
    RUN_TESTS,
    Say,
    ScriptedModel,
    make_repository,
    picture,
)
from tests.agent.test_settings import cached

OLD = FixRequest(
    Path("/repo"),
    issue="It is wrong.",
    test_command=("pytest", "-q"),
    tests=("a", "b"),
    model="nano",
    attempts=2,
    seed=3,
    python=Path("/python"),
    patch=Path("/old.diff"),
    config=Config(budget=Budget(max_steps=5)),
)


def changed(*words: str) -> FixRequest:
    return resumed(OLD, parse(["fix", "--resume", *words]))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


@pytest.fixture
def interrupted(repository: Path) -> Path:
    """The state folder of a run that was stopped after its first call."""
    state = repository.parent / "state"
    stopped: list[int] = []
    model = ScriptedModel([[RUN_TESTS, Say(hangs=True)]])
    model.on_reply = lambda number: stopped.append(number) if number else None
    run = run_fix(FixRequest(repository), lambda: bool(stopped), lambda _: model, state)
    assert drained(run).exit_code == 130
    return state


def drained(run: Any) -> FixOutcome:
    while True:
        try:
            next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome


def go_on(
    repository: Path | None,
    state: Path,
    change: Callable[[FixRequest], FixRequest] = lambda request: request,
    name: str = "",
    script: list[Say] | None = None,
) -> FixOutcome:
    model = ScriptedModel([script or [RUN_TESTS, REPAIR, FINISH]])
    return drained(resume_fix(repository, name, lambda: False, lambda _: model, state, change))


# --- what may change


def test_what_is_not_typed_stays_as_it_was() -> None:
    assert changed() == OLD
    assert changed("--json") == OLD


def test_what_is_typed_wins() -> None:
    new = changed(
        "--dry-run", "--patch", "/new.diff", "--max-turns", "7", "--max-time", "8",
        "--max-tokens", "9", "--attempts", "4", "--no-reuse",
    )  # fmt: skip
    assert new == replace(
        OLD,
        dry_run=True,
        patch=Path("/new.diff"),
        attempts=4,
        reuse=False,
        config=Config(budget=Budget(max_steps=7, max_time_s=8.0, max_tokens=9)),
    )
    assert changed("--patch", "-").patch is None


@pytest.mark.parametrize(
    "words",
    [
        ("--issue", "Another."),
        ("--test-cmd", "pytest"),
        ("--tests", "a"),
        ("--model", "auto"),
        ("--model", "/no/such/model"),
        ("--seed", "4"),
        ("--python", "/other"),
        ("--sandbox", "direct"),
        ("--max-turns", "0"),
        ("--attempts", "0"),
    ],
)
def test_what_the_session_rests_on_is_refused(words: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match=words[0]):
        changed(*words)


def test_what_is_typed_as_it_was_is_no_change() -> None:
    words = ["--issue", "It is wrong.", "--test-cmd", "pytest -q", "--tests", "a", "b"]
    words += ["--model", "nano", "--seed", "3", "--python", "/python", "--sandbox", "bubblewrap"]
    assert changed(*words) == OLD


def test_a_model_may_be_named_as_it_was_typed_or_as_it_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    for name in ("config.json", "tokenizer.json", "model.safetensors"):
        (folder / name).write_text("{}")
    old = replace(OLD, model=resolve(str(folder)))
    monkeypatch.chdir(tmp_path)
    for name in ("model", "./model/", str(folder)):
        assert resumed(old, parse(["fix", "--resume", "--model", name])).model == str(folder)


# --- a session that goes on


def test_a_dry_run_may_be_asked_for_on_resume(interrupted: Path, repository: Path) -> None:
    before = picture(repository)
    patch = repository.parent / "p.diff"
    arguments = parse(["fix", "--resume", "--dry-run", "--patch", str(patch)])
    outcome = go_on(repository, interrupted, lambda old: resumed(old, arguments))
    assert (outcome.exit_code, outcome.applied) == (0, False)
    assert picture(repository) == before
    assert "+    return price + tax" in patch.read_text()
    assert outcome.patch_file == str(patch)


def test_a_budget_may_be_set_on_resume(interrupted: Path, repository: Path) -> None:
    arguments = parse(["fix", "--resume", "--max-turns", "2"])
    script = [RUN_TESTS, RUN_TESTS, REPAIR, FINISH]
    outcome = go_on(repository, interrupted, lambda old: resumed(old, arguments), script=script)
    assert outcome.exit_code == 5
    assert "2 replies are spent" in outcome.sentence


def test_what_was_changed_stays_so_when_the_session_goes_on_again(
    interrupted: Path, repository: Path
) -> None:
    before = picture(repository)
    arguments = parse(["fix", "--resume", "--dry-run"])
    model = ScriptedModel([[RUN_TESTS, REPAIR, FINISH]])
    run = resume_fix(
        repository, "", lambda: False, lambda _: model, interrupted, lambda o: resumed(o, arguments)
    )
    next(run)
    run.close()  # killed
    outcome = go_on(repository, interrupted)
    assert (outcome.exit_code, outcome.applied) == (0, False)
    assert picture(repository) == before


def test_a_refused_change_leaves_the_session_to_be_resumed(
    interrupted: Path, repository: Path
) -> None:
    arguments = parse(["fix", "--resume", "--seed", "5"])
    outcome = go_on(repository, interrupted, lambda old: resumed(old, arguments))
    assert (outcome.exit_code, outcome.sentence) == (
        2,
        "--seed cannot change when a session goes on; begin a new one",
    )
    assert go_on(repository, interrupted).exit_code == 0


def test_a_session_is_not_taken_to_another_repository(
    interrupted: Path, repository: Path, tmp_path: Path
) -> None:
    (info,) = list_sessions(interrupted)
    other = make_repository(tmp_path / "other")
    outcome = go_on(other, interrupted, name=info.id)
    assert outcome.exit_code == 2
    assert "is not one of" in outcome.sentence
    assert go_on(None, interrupted, name=info.id).exit_code == 0


def test_a_session_of_another_version_is_a_sentence(interrupted: Path, repository: Path) -> None:
    journal, contents = Journal.open(find_session(interrupted, "", repository) / JOURNAL)
    request = {**contents.records[0]["request"], "speed": 3}
    journal.append({"type": "request", "request": request})
    journal.close()
    outcome = go_on(repository, interrupted)
    assert outcome.exit_code == 1
    assert outcome.sentence.endswith("is of another version of qwen-agent")


def test_the_model_that_auto_meant_is_written_down(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = cached(tmp_path / "hub", "Qwen/Tiny", SHAPES["0.8B"])
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    run = run_fix(FixRequest(repository, config=load_config(tmp_path / "none")), state=tmp_path)
    next(run)
    run.close()
    (info,) = list_sessions(tmp_path)
    assert info.model == str(snapshot)
