import stat
from pathlib import Path

import pytest

from agent.errors import SessionError, UsageError
from agent.journal import Journal
from agent.session import JOURNAL, Session
from agent.sessions import find_session, list_sessions
from inference.messages import BadToolCall, Message, ToolCall, Usage

NASTY = "one\u2028line\x85 \x00 \ud800 \U0001f600 \r\n end"
USAGE = Usage(10, 4, 6, 3, 0.1, 0.2)


def filled(folder: Path) -> Session:
    session = Session.create(folder, {"repository": "/repo", "model": "nano"})
    session.begin(1, "repair", "base", "You repair.")
    session.add(Message("user", NASTY))
    calls = (ToolCall("bash", {"command": NASTY, "n": 3}), BadToolCall("<f", "cut off"))
    session.add(Message("assistant", "a", "t", calls, token_ids=(1, 2, 248_069)), USAGE)
    session.add(Message("tool", NASTY), checkpoint="commit2")
    return session


def test_a_reopened_session_is_the_same(tmp_path: Path) -> None:
    session = filled(tmp_path)
    session.close()
    again = Session.open(session.folder)
    assert again.messages == session.messages
    assert again.messages[2].token_ids == (1, 2, 248_069)
    assert again.usages == [USAGE]
    assert (again.attempt, again.phase, again.checkpoint) == (1, "repair", "commit2")
    again.close()


def test_a_session_in_use_cannot_be_resumed(tmp_path: Path) -> None:
    session = filled(tmp_path)
    with pytest.raises(SessionError, match="in use"):
        Session.open(session.folder)
    session.close()


def test_sessions_are_private(tmp_path: Path) -> None:
    session = filled(tmp_path / "state")
    session.close()
    for folder in (tmp_path / "state", tmp_path / "state/sessions", session.folder):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((session.folder / JOURNAL).stat().st_mode) == 0o600


def test_a_state_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a file")
    with pytest.raises(SessionError, match="cannot be created"):
        Session.create(tmp_path / "state", {})


def test_the_last_unfinished_session_of_a_repository_is_found(tmp_path: Path) -> None:
    first = Session.create(tmp_path, {"repository": "/repo"})
    first.record("end", exit_code=130, sentence="cancelled")
    second = Session.create(tmp_path, {"repository": "/other"})
    for session in (first, second):
        session.close()
    assert find_session(tmp_path, "", Path("/repo")) == first.folder
    assert find_session(tmp_path, second.id, None) == second.folder
    with pytest.raises(UsageError, match="no unfinished session"):
        find_session(tmp_path, "", Path("/third"))
    with pytest.raises(UsageError, match="no session"):
        find_session(tmp_path, "../sessions", None)


def test_the_beginning_of_an_id_is_enough_when_no_other_has_it(tmp_path: Path) -> None:
    for name in ("20260101-101010-aaa", "20260101-111111-bbb"):
        folder = tmp_path / "sessions" / name
        folder.mkdir(parents=True)
        Journal.create(folder / JOURNAL).close()
    assert find_session(tmp_path, "20260101-11", None).name == "20260101-111111-bbb"
    with pytest.raises(UsageError, match="2 sessions begin with 2026"):
        find_session(tmp_path, "2026", None)
    with pytest.raises(UsageError, match="no session 2027"):
        find_session(tmp_path, "2027", None)


def test_a_damaged_session_does_not_hide_the_others(tmp_path: Path) -> None:
    good = filled(tmp_path)
    good.close()
    bad = tmp_path / "sessions" / "00000000-000000-bad"
    bad.mkdir()
    (bad / JOURNAL).write_bytes(b"x\ny\nz\n")
    infos = list(list_sessions(tmp_path))
    assert [info.id for info in infos] == [good.id, bad.name]
    assert "damaged" in infos[1].sentence
    assert infos[0].num_messages == 3


def test_a_session_that_stopped_before_its_first_line_is_told(tmp_path: Path) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    Journal.create(folder / JOURNAL).close()
    with pytest.raises(SessionError, match="before it began"):
        Session.open(folder)
