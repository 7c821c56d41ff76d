"""R06 to R08, R26, R29, R32: disks without room, huge trees, damaged files, clocks that jump."""

import ast
import itertools
import json
import os
import resource
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from agent.cli import answer
from agent.config import load_config
from agent.errors import ConfigError, SessionError, UsageError
from agent.events import Notice
from agent.fix import resume_fix, run_fix
from agent.outcome import FixOutcome
from agent.patch import write_whole
from agent.remembered import Remembered
from agent.request import FixRequest
from agent.session import JOURNAL, Session
from agent.sessions import list_sessions
from agent.settings import Config, SandboxConfig
from agent.state_folder import usable_state
from agent.stopped import GOES_ON
from agent.tree_size import check_size
from inference.messages import Message
from tests.agent.fakes import FINISH, REPAIR, RUN_TESTS, ScriptedModel, make_repository, picture
from tests.agent.stage import DONE, set_stage
from tests.inference.faults import mounted, needs_root

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def room_for(num_bytes: int) -> Iterator[None]:
    """Let no file become longer: a write is cut short there, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def outcome_of(run: Iterator[object]) -> tuple[list[object], FixOutcome]:
    events: list[object] = []
    while True:
        try:
            events.append(next(run))
        except StopIteration as stop:
            return events, stop.value


def mending(_: object) -> ScriptedModel:
    return ScriptedModel([[RUN_TESTS, REPAIR, FINISH]])


def own_files(repository: Path) -> dict[str, bytes]:
    """Read what git does not keep for itself."""
    found = picture(repository)
    return {path: data for path, data in found.items() if not path.startswith(".git/")}


def make_room(disk: Path) -> None:
    """Let a small disk become a large one."""
    subprocess.run(["mount", "-o", "remount,size=20m", str(disk)], check=True, timeout=30)


# --- R06, R07: the disk is full


def test_r06_a_file_that_cannot_be_written_whole_is_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_whole(target, b"old " * 5000)
    with room_for(1000), pytest.raises(SessionError, match=r"state\.json cannot be written"):
        write_whole(target, b"new " * 6000)
    assert picture(tmp_path) == {"state.json": b"old " * 5000}


def test_r07_a_short_write_is_trimmed_and_the_session_is_read_only_from_then_on(
    tmp_path: Path,
) -> None:
    session = Session.create(tmp_path, {"repository": "/repo"})
    session.begin(1, "repair", "base", "You repair.")
    journal = session.folder / JOURNAL
    whole = journal.read_bytes()
    with room_for(len(whole) + 100), pytest.raises(SessionError, match="nothing more is recorded"):
        session.add(Message("user", "x" * 300))
    assert journal.read_bytes() == whole
    assert len(session.messages) == 1, "memory says what the disk says"
    assert session.fault.endswith("nothing more is recorded in this session")
    with pytest.raises(SessionError, match="nothing more is recorded"):
        session.record("end", exit_code=0, sentence="there is room again")
    session.close()
    again = Session.open(session.folder)  # now there is room
    again.add(Message("user", "go on"))
    again.close()
    assert [message.content for message in again.messages] == ["You repair.", "go on"]


def test_r07_a_long_text_that_finds_no_room_leaves_no_trace(tmp_path: Path) -> None:
    session = Session.create(tmp_path, {})
    before = picture(session.folder)
    with room_for(5000), pytest.raises(SessionError, match="cannot be written"):
        session.record("context", sections=["long " * 9000])
    session.close()
    assert picture(session.folder) == before


@pytest.mark.fault
@needs_root
@pytest.mark.parametrize("size", ["320k", "680k", "800k"])
def test_r07_a_run_on_a_full_disk_is_one_sentence_and_goes_on_when_there_is_room(
    tmp_path: Path, size: str
) -> None:
    """It is full at the first checkpoint, at a later one, at the clean copy."""
    repository = make_repository(tmp_path / "repo")
    (repository / "big.bin").write_bytes(os.urandom(300_000))
    before = picture(repository)
    with mounted(tmp_path / "small", size) as small:
        request, state = FixRequest(repository), small / "s"
        _, outcome = outcome_of(run_fix(request, chat_factory=mending, state=state))
        assert outcome.exit_code == 1
        assert outcome.sentence.endswith(f"No space left on device; {GOES_ON}")
        assert "\n" not in outcome.sentence
        assert picture(repository) == before
        make_room(small)
        _, outcome = outcome_of(resume_fix(repository, chat_factory=mending, state=state))
        assert (outcome.exit_code, outcome.applied) == (0, True)


@pytest.mark.fault
@needs_root
def test_r07_a_commit_that_finds_no_room_is_made_when_there_is_some(tmp_path: Path) -> None:
    with mounted(tmp_path / "small", "1m") as small:
        repository = make_repository(small / "repo")
        before = own_files(repository)

        def fill(_: int) -> None:
            with suppress(OSError):  # at the second reply there is none left
                (repository / ".git/filler").write_bytes(bytes(2**20))

        def filling(_: object) -> ScriptedModel:
            return replace(mending(_), on_reply=fill)

        request, state = FixRequest(repository, commit=True), tmp_path / "state"
        _, outcome = outcome_of(run_fix(request, chat_factory=filling, state=state))
        assert (outcome.exit_code, outcome.commit) == (1, "")
        assert "No space left on device" in outcome.sentence
        assert outcome.sentence.endswith(f"; {GOES_ON}")
        assert own_files(repository) == before
        (repository / ".git/filler").unlink()
        _, outcome = outcome_of(resume_fix(repository, chat_factory=mending, state=state))
        assert (outcome.exit_code, outcome.applied, len(outcome.commit)) == (0, True, 40)


# --- R08: the state folder cannot be used


def test_r08_a_state_folder_that_is_no_folder_is_replaced_and_the_person_is_told(
    tmp_path: Path,
) -> None:
    repository = make_repository(tmp_path / "repo")
    (tmp_path / "state").write_text("a file")
    model = ScriptedModel([[RUN_TESTS, REPAIR, FINISH]])
    state = tmp_path / "state/qwen-agent"
    run = run_fix(FixRequest(repository), chat_factory=lambda _: model, state=state)
    events, outcome = outcome_of(run)
    assert (outcome.exit_code, outcome.applied) == (0, True)
    (told,) = [event.text for event in events if isinstance(event, Notice)]
    assert told.startswith(f"{tmp_path}/state/qwen-agent cannot be used (")
    other = Path(told.rpartition("XDG_STATE_HOME=")[2].rstrip("."))
    assert [info.id for info in list_sessions(other / "qwen-agent")] == [outcome.session_id]
    shutil.rmtree(other)


def test_r08_a_folder_that_can_be_used_is_used(tmp_path: Path) -> None:
    assert usable_state(tmp_path / "a/b", tmp_path / "repo") == (tmp_path / "a/b", "")


@needs_root
def test_r08_a_folder_of_another_user_is_not_used(tmp_path: Path) -> None:
    state = tmp_path / "qwen-agent"
    state.mkdir()
    os.chown(state, 65534, 65534)
    other, told = usable_state(state, tmp_path / "repo")
    assert "belongs to user 65534" in told
    assert other.stat().st_mode & 0o777 == 0o700
    shutil.rmtree(other.parent)


@needs_root
def test_r08_a_read_only_disk_is_seen_by_root_too(tmp_path: Path) -> None:
    with mounted(tmp_path / "disk", "64k") as disk:
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True, timeout=30)
        other, told = usable_state(disk / "qwen-agent", tmp_path / "repo")
    assert "Read-only file system" in told
    shutil.rmtree(other.parent)


def test_r08_a_journal_that_vanishes_is_noticed_at_the_next_line(tmp_path: Path) -> None:
    session = Session.create(tmp_path, {})
    shutil.rmtree(session.folder)
    with pytest.raises(SessionError, match="it was deleted"):
        session.add(Message("user", "Mend it."))
    session.close()


# --- R26: too much to keep


def test_r26_a_home_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match="is no project but all that you have"):
        check_size(tmp_path, SandboxConfig())
    check_size(make_repository(tmp_path / "project"), SandboxConfig())


def test_r26_too_many_files_or_bytes_are_refused_before_one_is_copied(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    config = Config(sandbox=SandboxConfig(tree_files=3))
    run = run_fix(FixRequest(repository, config=config), state=tmp_path / "state")
    _, outcome = outcome_of(run)
    assert outcome.exit_code == 2
    assert "has more than 3 files beside its environments" in outcome.sentence
    assert not (tmp_path / "state").exists()
    with (repository / "data.bin").open("wb") as file:
        file.truncate(3 * 1024**3)  # of holes
    with pytest.raises(UsageError, match="has more than 2 GiB"):
        check_size(repository, SandboxConfig(tree_gib=2.0))


def test_r26_installed_packages_and_git_do_not_count(tmp_path: Path) -> None:
    repository = make_repository(tmp_path / "repo")
    for number in range(20):
        path = repository / f"node_modules/p{number}/index.js"
        path.parent.mkdir(parents=True)
        path.touch()
    check_size(repository, SandboxConfig(tree_files=4))


# --- R29: damaged files


@pytest.mark.parametrize("content", [b"[model\n", b"\0" * 100, b"name = \xff\n"])
def test_r29_a_damaged_config_is_named_and_left_to_its_owner(
    tmp_path: Path,
    content: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "qwen-agent/config.toml"
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(ConfigError, match="is not valid TOML"):
        load_config(file)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert answer(["fix", str(tmp_path)]) == 2
    assert f"qwen-agent: {file} is not valid TOML" in capsys.readouterr().err
    assert file.read_bytes() == content


@pytest.mark.parametrize("content", [b"\0" * 40, b'{"a": 1}', b"["])
def test_r29_damaged_approvals_allow_nothing_and_are_written_anew(
    tmp_path: Path, content: bytes
) -> None:
    repository = tmp_path / "repo"
    Remembered(tmp_path, repository).add("key")
    (file,) = (tmp_path / "approvals").iterdir()
    file.write_bytes(content)
    remembered = Remembered(tmp_path, repository)
    assert "key" not in remembered
    remembered.add("other")
    assert json.loads(file.read_bytes()) == ["other"]


# --- R32: the clock jumps


def test_r32_a_turn_does_not_care_what_time_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    year_s = 365 * 86400.0
    jumps = itertools.cycle((year_s, -year_s, 0.0))
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + next(jumps))
    stage = set_stage(tmp_path, [RUN_TESTS, DONE], deadline_s=time.monotonic() + 60)
    assert stage.play().reason == "end_turn"
    assert stage.session.is_finished


WALL_CLOCK = {
    "agent/prune.py",  # how old a session is
    "agent/stored.py",  # how old a state is
    "agent/frontends/cache.py",
    "agent/frontends/repl/session_list.py",  # how old a talk is
    "agent/frontends/serve/answer.py",  # when an answer was begun
    "inference/store.py",  # when a state was used, also by an earlier process
    "inference/store_folder.py",
    "inference/store_index.py",
    "tools/mcp_tokens.py",  # until when a login holds, as its server says
}
"""Where the time of day is meant."""


def test_r32_limits_are_on_a_clock_that_cannot_be_set() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for room in ("agent", "inference", "tools", "sandbox")
        for path in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
        and node.attr == "time"
        and isinstance(node.value, ast.Name)
        and node.value.id == "time"
    }
    assert users <= WALL_CLOCK
