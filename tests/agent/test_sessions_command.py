"""`qwen-agent sessions` on real journals, as a person and as a program reads it."""

import io
import json
import os
import sys
import time
from pathlib import Path

import pytest

from agent.cli import answer
from agent.errors import UsageError
from agent.frontends.sessions import age_of
from agent.session import JOURNAL, Session
from agent.sessions import list_sessions
from inference.messages import BadToolCall, Message, ToolCall, Usage

DAY_S = 86400
USAGE = Usage(1000, 900, 100, 30, 1.0, 2.0)
ESCAPE = "\x1b[2J\u202egreen"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "qwen-agent"


def kept(state: Path, age_days: float = 0, closes: bool = True) -> Session:
    session = Session.create(state, {"repository": "/repo", "model": "nano"})
    session.begin(1, "repair", "base", "You repair.")
    session.add(Message("user", f"Mend it.\nSoon.{ESCAPE}"))
    calls = (
        ToolCall("bash", {"command": "pytest\nls"}),
        ToolCall("view", {"n": 3}),
        BadToolCall("<f", "cut"),
    )
    session.add(Message("assistant", "I look.", "Hm.", calls), USAGE)
    session.add(Message("tool", "```\n2 failed"))
    session.spend(USAGE)
    session.record("end", exit_code=130, sentence="cancelled")
    if closes:
        session.close()
    then = time.time() - age_days * DAY_S
    os.utime(session.folder / JOURNAL, (then, then))
    return session


def test_a_list_is_for_people_and_with_json_for_programs(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = kept(state)
    assert answer(["sessions"]) == 0
    assert capsys.readouterr().out == f"{session.id}  130  /repo  cancelled\n"
    assert answer(["sessions", "list", "--json"]) == 0
    (info,) = json.loads(capsys.readouterr().out)["sessions"]
    assert (info["id"], info["exit_code"], info["num_messages"]) == (session.id, 130, 3)


def test_a_stray_file_among_the_sessions_is_no_session(state: Path) -> None:
    session = kept(state)
    (state / "sessions" / "notes.txt").write_text("x")
    (state / "sessions" / "link").symlink_to(session.folder)
    assert [info.id for info in list_sessions(state)] == [session.id]


def test_show_tells_the_conversation_with_what_it_cost(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = kept(state)
    assert answer(["sessions", "show", session.id[:-2]]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    cost = "1,000 tokens read, 900 of them reused; 30 written; 3.0 s"
    assert f"── assistant  ({cost})" in lines
    assert "── all replies  (2,000 tokens read, 1,800 of them reused; 60 written; 6.0 s)" in lines
    assert lines[lines.index("── user") + 1 :][:2] == ["  Mend it.", "  Soon.<U+202E>green"]
    assert lines[lines.index("  > bash: pytest") + 1] == "    ls"
    assert "  > a call that cannot be read: <f" in lines
    assert lines[-2:] == ["  cancelled", lines[-1]]
    assert "\x1b" not in shown


def test_what_cannot_be_read_is_shown_where_it_was(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    journal = kept(state).folder / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join([*lines[:2], b"\0\n", *lines[3:4], *lines[5:]]))
    assert answer(["sessions", "show"]) == 0
    titles = [line for line in capsys.readouterr().out.splitlines() if line.startswith("──")]
    assert titles[2] == "── line 3 cannot be read"
    assert titles[4] == "── records missing: 1"
    assert titles[3].startswith("── assistant")


def test_an_export_is_a_page_or_a_document(
    state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = kept(state)
    assert answer(["sessions", "export", session.id]) == 0
    page = capsys.readouterr().out
    assert page.startswith(f"# Session {session.id}\n")
    assert "````text\n```\n2 failed\n````" in page, "no text ends its own frame"
    target = tmp_path / "page.html"
    assert answer(["sessions", "export", "--format", "html", "-o", str(target)]) == 0
    assert "Mend it." in target.read_text()
    assert target.stat().st_mode & 0o777 == 0o600
    assert answer(["sessions", "export", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert len(document["records"]) == 7
    assert document["usage"]["num_prompt"] == 2000
    assert document["bad_lines"] == []


def test_prune_removes_what_is_old_and_nothing_that_is_in_use(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    young, old = kept(state), kept(state, 40)
    busy = kept(state, 50, closes=False)
    assert answer(["sessions", "prune", "--older-than", "30d", "--yes"]) == 0
    out = capsys.readouterr().out
    assert {info.id for info in list_sessions(state)} == {young.id, busy.id}
    assert not old.folder.exists()
    assert f"{old.id}  " in out
    assert "Sessions removed: 1 of 1; 1." in out
    busy.close()
    assert answer(["sessions", "prune", "--keep", "1", "--yes"]) == 0
    assert [info.id for info in list_sessions(state)] == [young.id]
    assert answer(["sessions", "prune", "--keep", "1"]) == 0
    assert capsys.readouterr().out.endswith("No session has to go.\n")


def test_prune_asks_and_takes_nothing_but_yes_for_yes(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = kept(state, 40)

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for said, is_there in (("\n", True), ("no\n", True), ("y\n", False)):
        monkeypatch.setattr(sys, "stdin", Terminal(said))
        assert answer(["sessions", "prune", "--older-than", "1d"]) == 0
        assert session.folder.exists() is is_there
    assert "Remove what is listed for good, " in capsys.readouterr().out


def test_prune_without_a_limit_or_without_a_person_is_refused(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    session = kept(state, 40)
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    for words in ([], ["--keep", "0"], ["--keep", "-1", "--yes"], ["--older-than", "x", "--yes"]):
        assert answer(["sessions", "prune", *words]) == 2
    assert session.folder.exists()
    assert "nobody is there to ask" in capsys.readouterr().err


def test_an_age_is_minutes_hours_or_days() -> None:
    assert [age_of(text) for text in ("90m", "12h", "30d", "2")] == [5400, 43200, 2592000, 172800]
    with pytest.raises(UsageError, match="is no age"):
        age_of("9" * 99)
