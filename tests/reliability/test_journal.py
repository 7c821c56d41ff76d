"""R02 to R05, R09, R24: the journal after crashes, bad lines, strange texts and much writing."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from agent.errors import SessionError
from agent.events import Event, Notice
from agent.fix import resume_fix, run_fix
from agent.journal import Journal, parse, read, read_all
from agent.outcome import FixOutcome
from agent.payloads import FOLDER, Payloads
from agent.request import FixRequest
from agent.session import JOURNAL, Session
from agent.sessions import list_sessions
from inference.messages import Message, Usage
from tests.agent.fakes import FINISH, REPAIR, RUN_TESTS, Say, ScriptedModel, make_repository

ROOT = Path(__file__).parent.parent.parent
NASTY = "one\u2028line\x85 \x00 \ud800 \U0001f600 \r\n end"
USAGE = Usage(10, 4, 6, 3, 0.1, 0.2)
GARBAGE = {
    "zeros": b"\0" * 300,
    "half a record": b'{"seq":4,"type":"mess',
    "changed": b'{"seq":4,"type":"message","message":{"role":"user"},"crc":12}',
    "no record": b"[1,2,3]",
}


def talk(state: Path, num_messages: int = 6) -> Path:
    """A session of numbered messages; return its journal."""
    session = Session.create(state, {"repository": "/repo", "model": "nano"})
    session.begin(1, "repair", "base", "You repair.")
    for number in range(num_messages):
        session.add(Message("user", f"message {number}"), USAGE)
    session.close()
    return session.folder / JOURNAL


def said(session: Session) -> list[str]:
    return [message.content for message in session.messages[1:]]


def reopened(journal: Path) -> Session:
    session = Session.open(journal.parent)
    session.close()
    return session


def replace_line(journal: Path, number: int, garbage: bytes | None) -> None:
    """Put garbage in the place of a line, counted from 0, or take the line away."""
    lines = journal.read_bytes().splitlines(keepends=True)
    lines[number : number + 1] = [] if garbage is None else [garbage + b"\n"]
    journal.write_bytes(b"".join(lines))


def test_r02_a_journal_cut_at_any_byte_loses_only_its_last_line(tmp_path: Path) -> None:
    content = talk(tmp_path, 2).read_bytes()
    ends = [0, *(n + 1 for n, byte in enumerate(content) if byte == ord("\n"))]
    for length in range(len(content) + 1):
        contents = parse(content[:length].splitlines(keepends=True), Payloads(tmp_path))
        whole = [end for end in ends if end <= length]
        assert (len(contents.records), contents.num_bytes) == (len(whole) - 1, whole[-1])
        assert contents.bad == ()


def test_r02_of_what_is_taken_over_a_journal_that_is_cut_has_all_or_nothing(
    tmp_path: Path,
) -> None:
    own = [Session.open(talk(tmp_path, number).parent) for number in (1, 2)]
    run = Session.create(tmp_path, {"repository": "/repo"})
    journal = run.folder / JOURNAL
    before = journal.read_bytes()
    run.take_over(own, "round", numbers=[])
    run.record("after")
    for session in (*own, run):
        session.close()
    content = journal.read_bytes()
    *_, ended, end = (n + 1 for n, byte in enumerate(content) if byte == ord("\n"))
    for length in range(len(before), len(content)):
        contents = parse(content[:length].splitlines(keepends=True), Payloads(tmp_path))
        kept = (1, len(before)) if length < ended else (7, ended)
        assert (len(contents.records), contents.num_bytes) == kept
    journal.write_bytes(content[: ended - 1])
    again = Session.open(run.folder)
    assert (again.usages, again.damage) == ([], "")
    again.close()
    journal.write_bytes(content[:end])
    assert len(reopened(journal).usages) == 3


@pytest.mark.parametrize("tail", [b'{"seq":8,"type":"message","mess', b"\0" * 512])
def test_r02_a_torn_tail_is_cut_off_on_disk_before_the_next_line(
    tmp_path: Path, tail: bytes
) -> None:
    journal = talk(tmp_path)
    whole = journal.read_bytes()
    journal.write_bytes(whole + tail)
    session = Session.open(journal.parent)
    session.add(Message("user", "go on"))
    session.close()
    assert journal.read_bytes().startswith(whole + b'{"seq":8,')
    assert session.damage == ""
    assert said(reopened(journal))[-2:] == ["message 5", "go on"]


@pytest.mark.parametrize("garbage", [*GARBAGE.values(), None], ids=[*GARBAGE, "taken away"])
def test_r03_the_conversation_goes_on_from_before_a_bad_line_and_nothing_is_thrown_away(
    tmp_path: Path, garbage: bytes | None
) -> None:
    journal = talk(tmp_path)
    replace_line(journal, 4, garbage)
    before = journal.read_bytes()
    session = Session.open(journal.parent)
    assert said(session) == ["message 0", "message 1"]
    assert "build on what is lost are not used: 3," in session.damage
    assert ("the first is line 5" in session.damage) is (garbage is not None)
    assert len(session.usages) == 5, "what later replies cost is not forgotten"
    session.add(Message("user", "after the damage"))
    session.close()
    assert journal.read_bytes().startswith(before), "the damaged lines stay where they are"
    again = reopened(journal)
    assert said(again) == ["message 0", "message 1", "after the damage"]
    assert again.damage == "", "it is told once"
    texts = [record.get("message", {}).get("content") for record in read(journal)]
    assert "message 5" in texts, "later lines are there to be shown"


def test_r03_a_bad_line_that_was_added_costs_nothing_but_a_word(tmp_path: Path) -> None:
    journal = talk(tmp_path)
    lines = journal.read_bytes().splitlines(keepends=True)
    # Zeros before a whole record, and the beginning of one.
    lines[3] = b"\0" * 9 + lines[3]
    lines[5] = b'{"seq":5,"ty' + lines[5]
    lines.insert(4, b"\n")
    journal.write_bytes(b"".join(lines))
    session = reopened(journal)
    assert said(session) == [f"message {number}" for number in range(6)]
    assert session.damage == ("Lines of the journal cannot be read: 3, the first is line 4.")


def test_r03_an_attempt_after_the_bad_line_is_whole(tmp_path: Path) -> None:
    session = Session.create(tmp_path, {})
    for number in (1, 2):
        session.begin(number, "repair", f"tree {number}", "You repair.")
        session.add(Message("user", f"attempt {number}"))
    session.record("request", request={"dry_run": True})
    session.close()
    replace_line(session.folder / JOURNAL, 2, GARBAGE["zeros"])
    again = reopened(session.folder / JOURNAL)
    assert (again.attempt, said(again), again.checkpoint) == (2, ["attempt 2"], "tree 2")
    assert again.facts["request"]["request"] == {"dry_run": True}


def test_r03_a_hole_before_the_first_attempt_leaves_nothing_to_build_on(tmp_path: Path) -> None:
    session = Session.create(tmp_path, {})
    session.record("prepared", base="commit")
    session.begin(1, "repair", "tree", "You repair.")
    session.close()
    replace_line(session.folder / JOURNAL, 1, GARBAGE["zeros"])
    again = reopened(session.folder / JOURNAL)
    assert (again.attempt, again.messages, again.facts.keys()) == (0, [], {"mended"})


def test_r03_a_session_whose_first_line_is_bad_is_told_and_shown(tmp_path: Path) -> None:
    journal = talk(tmp_path)
    replace_line(journal, 0, GARBAGE["zeros"])
    with pytest.raises(SessionError, match="first line cannot be read"):
        Session.open(journal.parent)
    (info,) = list_sessions(tmp_path)
    assert "damaged" in info.sentence
    assert (info.num_damaged, len(read(journal))) == (1, 7)


def test_r04_a_journal_line_is_one_line_of_ascii_whatever_it_holds(tmp_path: Path) -> None:
    session = Session.create(tmp_path, {})
    session.begin(1, "repair", "base", NASTY)
    session.add(Message("user", NASTY * 2000))
    session.close()
    content = (session.folder / JOURNAL).read_bytes()
    assert content.isascii()
    assert len(content.decode().splitlines()) == content.count(b"\n") == 3
    assert all(json.loads(line)["seq"] == n for n, line in enumerate(content.splitlines()))
    assert reopened(session.folder / JOURNAL).messages == session.messages


def test_r05_long_texts_lie_beside_the_journal_once_each(tmp_path: Path) -> None:
    long = NASTY * 1000
    session = Session.create(tmp_path, {})
    session.begin(1, "repair", "base", "You repair.")
    calls = Message("tool", long, token_ids=tuple(range(5000)))
    session.add(calls)
    session.record("context", sections=["short", long, {"payloads": long}])
    session.close()
    journal = session.folder / JOURNAL
    assert journal.stat().st_size < 60_000
    (payload,) = (session.folder / FOLDER).iterdir()
    assert payload.stat().st_mode & 0o777 == 0o600
    again = reopened(journal)
    assert again.messages[1] == calls
    assert again.facts["context"]["sections"] == ["short", long, {"payloads": long}]
    payload.write_bytes(b"another text")
    damaged = reopened(journal)
    assert (said(damaged), len(read_all(journal).bad)) == ([], 2)


def test_r05_twenty_megabytes_in_ten_thousand_records_are_open_in_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: None)  # ten thousand waits for a disk
    session = Session.create(tmp_path, {})
    session.begin(1, "repair", "base", "You repair.")
    for _ in range(10_000):
        session.add(Message("tool", "a line of output\n" * 110, token_ids=tuple(range(20))))
    session.close()
    assert (session.folder / JOURNAL).stat().st_size > 20e6
    start = time.process_time()
    again = reopened(session.folder / JOURNAL)
    assert time.process_time() - start < 15
    assert again.messages == session.messages


def test_r09_a_record_is_on_the_disk_when_append_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def note(name: str) -> None:
        real = getattr(os, name)

        def noted(*given: Any) -> Any:
            calls.append(name)
            return real(*given)

        monkeypatch.setattr(os, name, noted)

    for name in ("write", "fdatasync", "fsync"):
        note(name)
    journal = Journal.create(tmp_path / "j")
    journal.append({"type": "start"})
    journal.close()
    assert calls == ["fsync", "write", "fdatasync"], "the name of the file, then each record"


def test_r24_a_dead_session_holds_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "j"
    program = (
        "import sys; from pathlib import Path; from agent.journal import Journal\n"
        "journal = Journal.create(Path(sys.argv[1]))\n"
        "journal.append({'type': 'start'})\n"
        "print('there', flush=True); sys.stdin.read()\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, path],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "there\n"
    with pytest.raises(SessionError, match="in use by another"):
        Journal.open(path)
    process.kill()
    process.communicate(timeout=30)
    journal, contents = Journal.open(path)
    journal.close()
    assert len(contents.records) == 1


@pytest.mark.parametrize(
    "lost", ["result of an edit", pytest.param("message of a reply", marks=pytest.mark.slow)]
)
def test_r03_a_run_whose_journal_was_damaged_goes_on_to_its_end(tmp_path: Path, lost: str) -> None:
    repository, state = make_repository(tmp_path / "repo"), tmp_path / "state"
    stopped: list[int] = []
    model = ScriptedModel([[RUN_TESTS, REPAIR, Say(hangs=True)]])
    model.on_reply = lambda number: stopped.append(number) if number == 2 else None
    request = FixRequest(repository)
    run = run_fix(request, lambda: bool(stopped), lambda _: model, state)
    assert ended(run)[1].exit_code == 130
    (journal,) = state.glob(f"sessions/*/{JOURNAL}")
    kinds = [record["type"] for record in read(journal)]
    places = [number for number, kind in enumerate(kinds) if kind == "message"]
    replace_line(journal, places[1] if lost == "message of a reply" else places[-1], b"\0")
    again = ScriptedModel([[RUN_TESTS, REPAIR, FINISH]])
    events, outcome = ended(resume_fix(repository, chat_factory=lambda _: again, state=state))
    assert (outcome.exit_code, outcome.applied) == (0, True)
    told = [event.text for event in events if isinstance(event, Notice)]
    assert "cannot be read" in told[0]
    assert "price + tax" in (repository / "shop/cart.py").read_text()


def ended(run: Generator[Event, None, FixOutcome]) -> tuple[list[Event], FixOutcome]:
    events: list[Event] = []
    while True:
        try:
            events.append(next(run))
        except StopIteration as stop:
            return events, stop.value
