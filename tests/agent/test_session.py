import json
import stat
from pathlib import Path

import pytest

from agent.errors import SessionError, UsageError
from agent.journal import Journal, parse, read
from agent.session import JOURNAL, Session, find_session, list_sessions, remove
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


def test_a_journal_line_is_one_line_of_ascii_whatever_it_holds(tmp_path: Path) -> None:
    session = filled(tmp_path)
    session.close()
    content = (session.folder / JOURNAL).read_bytes()
    assert content.isascii()
    assert len(content.decode().splitlines()) == content.count(b"\n") == 5
    assert all(json.loads(line)["seq"] == n for n, line in enumerate(content.splitlines()))


def test_a_journal_cut_at_any_byte_loses_only_its_last_line(tmp_path: Path) -> None:
    session = filled(tmp_path)
    session.close()
    path = session.folder / JOURNAL
    content = path.read_bytes()
    ends = [0, *(n + 1 for n, byte in enumerate(content) if byte == ord("\n"))]
    for length in range(len(content) + 1):
        records, num_bytes = parse(content[:length], path)
        whole = [end for end in ends if end <= length]
        assert (len(records), num_bytes) == (len(whole) - 1, whole[-1])


def test_a_torn_tail_is_cut_off_on_disk_before_the_next_line(tmp_path: Path) -> None:
    session = filled(tmp_path)
    session.close()
    path = session.folder / JOURNAL
    with path.open("ab") as file:
        file.write(b'{"seq":5,"type":"message","mess')
    again = Session.open(session.folder)
    again.add(Message("user", "go on"))
    again.close()
    assert [record["type"] for record in read(path)][-2:] == ["message", "message"]
    assert read(path)[-1]["message"]["content"] == "go on"


def test_a_damaged_line_in_the_middle_is_told_and_nothing_is_cut(tmp_path: Path) -> None:
    session = filled(tmp_path)
    session.close()
    path = session.folder / JOURNAL
    content = path.read_bytes().replace(b'"role":"user"', b'"role":"tool"', 1)
    path.write_bytes(content)
    with pytest.raises(SessionError, match="damaged at line 3"):
        Session.open(session.folder)
    assert path.read_bytes() == content


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


def test_a_folder_made_unwritable_is_removed_all_the_same(tmp_path: Path) -> None:
    locked = tmp_path / "tree" / "locked"
    locked.mkdir(parents=True)
    (locked / "file").write_text("x")
    locked.chmod(0o000)
    remove(tmp_path / "tree")
    assert not (tmp_path / "tree").exists()
