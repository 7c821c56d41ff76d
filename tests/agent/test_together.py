"""Attempts made at once: rounds, who is stopped by whom, one budget, and what a kill leaves."""

import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest

from agent.arguments import parse
from agent.budget import tokens_spent
from agent.errors import UsageError
from agent.events import (
    Event,
    Judged,
    Notice,
    OfAttempt,
    ReplyEnded,
    StopReason,
    TextDelta,
    TurnEnded,
)
from agent.fix import resume_fix, run_fix
from agent.frontends.asked import request_of, resumed
from agent.frontends.console import Now, lines_of
from agent.frontends.fix import event_line
from agent.frontends.usage import LastReplies
from agent.journal import read
from agent.outcome import FixOutcome
from agent.request import FixRequest
from agent.session import JOURNAL, Session
from agent.settings import Config, FixConfig
from inference.messages import Usage
from sandbox.errors import SandboxError
from tests.agent.fakes import (
    FINISH,
    REPAIR,
    RUN_TESTS,
    SECOND_REPAIR,
    TWO_BUGS,
    UNGATED,
    Say,
    ScriptedModel,
    make_repository,
)

HANGS = Say(hangs=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo", {"shop/cart.py": TWO_BUGS})


def request_for(repository: Path, together: int, attempts: int, **more: Any) -> FixRequest:
    """Without a sandbox, which is not what is tested here."""
    config = replace(UNGATED, fix=FixConfig(together=together))
    given = {"sandbox": "direct", "config": config, **more}
    return FixRequest(repository, attempts=attempts, **given)


def drained(run: Any, events: list[Event] | None = None) -> FixOutcome:
    while True:
        try:
            event = next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome
        if events is not None:
            events.append(event)


def fix(
    request: FixRequest, *models: ScriptedModel, cancel: Any = lambda: False
) -> tuple[FixOutcome, list[Event]]:
    """Run it with a model for each line."""
    left, events = iter(models), list[Event]()
    state = request.path.parent / "state"
    return drained(run_fix(request, cancel, lambda _: next(left), state), events), events


def folder_of(outcome: FixOutcome, repository: Path) -> Path:
    return repository.parent / "state/sessions" / outcome.session_id


def numbers(folder: Path) -> list[int]:
    return [record["number"] for record in read(folder / JOURNAL) if record["type"] == "attempt"]


# --- rounds


def test_the_first_green_attempt_stops_the_others_and_all_of_it_is_in_the_journal(
    repository: Path,
) -> None:
    slow = ScriptedModel([[RUN_TESTS, HANGS]])
    good = ScriptedModel([[REPAIR, SECOND_REPAIR, FINISH]])
    outcome, events = fix(request_for(repository, 2, 2, sandbox="bubblewrap"), slow, good)
    assert (outcome.exit_code, outcome.num_attempts, outcome.applied) == (0, 2, True)
    assert "price + tax" in (repository / "shop/cart.py").read_text()
    ends = [e for e in events if isinstance(e, OfAttempt) and isinstance(e.event, TurnEnded)]
    assert [(e.number, e.event.reason) for e in ends] == [
        (2, StopReason.END_TURN),
        (1, StopReason.CANCELLED),
    ]
    assert slow.seen[0] == good.seen[0], "both begin with the same words"
    assert slow.options[0].sampling is None
    assert good.options[0].sampling is not None
    folder = folder_of(outcome, repository)
    assert {path.name for path in folder.iterdir()} == {"journal.jsonl", "repair.patch"}
    assert numbers(folder) == [1, 2]
    assert (outcome.num_steps, outcome.num_calls) == (5, 4), "that of the stopped one too"


def test_a_round_begins_from_the_best_of_the_one_before(repository: Path) -> None:
    order: list[str] = []
    first = ScriptedModel([[REPAIR, FINISH], [SECOND_REPAIR, FINISH]])
    second = ScriptedModel([[FINISH]])
    first.on_reply = lambda _: time.sleep(0.1) or order.append("the first reads")
    second.on_reply = lambda _: order.append("the second begins")
    outcome, events = fix(request_for(repository, 2, 3), first, second)
    assert (outcome.exit_code, outcome.num_attempts) == (0, 3)
    assert order[:2] == ["the first reads", "the second begins"], "what they share is read once"
    (words,) = [e.text for e in events if isinstance(e, Notice) and "Trying again" in e.text]
    assert words.startswith("Of attempts 1, 2 none mended it, 1 came nearest: Still not green")
    assert "test_double" in first.seen[2][1].content
    assert "test_total" not in first.seen[2][1].content
    assert numbers(folder_of(outcome, repository)) == [2, 1, 3], "the nearest of a round is last"


# --- stopped, and gone on with


def test_what_goes_wrong_in_one_stops_all_and_is_told(repository: Path) -> None:
    broken = ScriptedModel([[Say(error=RuntimeError("a bug"))]])
    outcome, _ = fix(request_for(repository, 2, 2), ScriptedModel([[HANGS]]), broken)
    assert outcome.exit_code == 1
    assert "a bug" in outcome.sentence
    assert [thread for thread in threading.enumerate() if thread.name == "attempt"] == []


def test_stopped_attempts_go_on_from_their_journals_or_are_made_anew(repository: Path) -> None:
    hanging: list[int] = []
    models = [ScriptedModel([[RUN_TESTS, HANGS]]), ScriptedModel([[REPAIR, HANGS]])]
    for model in models:
        model.on_reply = lambda number: hanging.append(number) if number else None
    request = request_for(repository, 2, 2)
    before = (repository / "shop/cart.py").read_text()
    outcome, _ = fix(request, *models, cancel=lambda: len(hanging) == 2)
    assert (outcome.exit_code, outcome.num_attempts, outcome.num_calls) == (130, 2, 2)
    assert (repository / "shop/cart.py").read_text() == before
    folder = folder_of(outcome, repository)
    assert sorted(path.name for path in (folder / "together").iterdir()) == ["1", "2"]

    (folder / "together/1/journal.jsonl").write_bytes(b"{}\n")
    again = [ScriptedModel([[FINISH]]), ScriptedModel([[FINISH, SECOND_REPAIR, FINISH]])]
    left, state = iter(again), repository.parent / "state"
    resuming = resume_fix(repository, chat_factory=lambda _: next(left), state=state)
    mended = drained(resuming)
    assert (mended.exit_code, mended.num_attempts) == (0, 2)
    assert again[0].seen[0] == models[0].seen[0], "what it had said cannot be read"
    assert again[1].seen[0][2].tool_calls == REPAIR.calls
    assert mended.num_steps == 5, "with those of the second from before the stop"
    assert numbers(folder) == [1, 2]
    assert not (folder / "together").exists()


@pytest.mark.fault
def test_what_a_kill_left_half_taken_over_is_there_once_in_the_end(repository: Path) -> None:
    models = iter([ScriptedModel([[REPAIR, FINISH]]), ScriptedModel([[RUN_TESTS, FINISH]])])
    state, aside = repository.parent / "state", repository.parent / "aside"
    run = run_fix(request_for(repository, 2, 3), chat_factory=lambda _: next(models), state=state)
    for event in run:
        if isinstance(event, OfAttempt) and isinstance(event.event, Judged):
            (own,) = state.glob("sessions/*/together")
            copytree(own, aside, dirs_exist_ok=True)
        if isinstance(event, Notice) and "Trying again" in event.text:
            break  # the round has ended
    run.close()
    journal = own.parent / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    first = next(n for n, line in enumerate(lines) if b'"type":"attempt"' in line)
    journal.write_bytes(b"".join(lines[: first + 4]))
    copytree(aside, own)
    model = ScriptedModel([[REPAIR, SECOND_REPAIR, FINISH]])
    mended = drained(resume_fix(repository, chat_factory=lambda _: model, state=state))
    assert (mended.exit_code, mended.num_attempts) == (0, 3)
    assert mended.num_steps == len(model.seen) + 4, "those of the first round once"
    assert numbers(own.parent) == [2, 1, 3]


def test_a_stop_is_heard_while_workplaces_are_made(repository: Path) -> None:
    sessions = repository.parent / "state/sessions"
    models = [ScriptedModel([[REPAIR, SECOND_REPAIR, FINISH]]) for _ in range(2)]
    outcome, _ = fix(
        request_for(repository, 2, 2), *models, cancel=lambda: any(sessions.glob("*/together"))
    )
    assert (outcome.exit_code, outcome.num_steps) == (130, 0)
    assert not any(folder_of(outcome, repository).glob("attempts/*"))


def test_a_journal_without_room_leaves_the_run_to_go_on_with(repository: Path) -> None:
    def fill_disk(number: int) -> None:
        if number == 1:
            for fd in Path("/proc/self/fd").iterdir():
                if str(fd.resolve()).endswith("together/1/journal.jsonl"):
                    with Path("/dev/full").open("wb") as full:
                        os.dup2(full.fileno(), int(fd.name))

    models = [ScriptedModel([[RUN_TESTS, RUN_TESTS, FINISH]]), ScriptedModel([[HANGS]])]
    models[0].on_reply = fill_disk
    outcome, _ = fix(request_for(repository, 2, 2), *models)
    assert outcome.exit_code == 1
    assert "cannot be written" in outcome.sentence
    again = iter([ScriptedModel([[REPAIR, SECOND_REPAIR, FINISH]]) for _ in range(2)])
    state = repository.parent / "state"
    resuming = resume_fix(repository, chat_factory=lambda _: next(again), state=state)
    assert drained(resuming).exit_code == 0


def test_what_a_stop_has_broken_is_told_as_the_stop(repository: Path, monkeypatch) -> None:
    stopped: list[bool] = []

    def git_is_killed(path: Path) -> Path:
        stopped.append(True)
        raise SandboxError("git diff-tree failed")

    monkeypatch.setattr("agent.fix.find_repository", git_is_killed)
    outcome, _ = fix(request_for(repository, 1, 1), cancel=lambda: bool(stopped))
    assert (outcome.exit_code, outcome.sentence) == (130, "cancelled; git diff-tree failed")


def test_attempts_that_are_made_at_once_spend_of_one_budget(tmp_path: Path) -> None:
    run, one, two = (Session.create(tmp_path / name, {}) for name in ("run", "one", "two"))
    run.beside, one.beside, two.beside = (one, two), (run, two), (run, one)
    run.spend(Usage(10, 0, 10, 5, 0.0, 0.0))
    one.spend(Usage(20, 20, 0, 7, 0.0, 0.0))
    assert [tokens_spent(session) for session in (run, one, two)] == [22, 22, 22]
    for session in (run, one, two):
        session.close()


# --- asked for, and shown


def test_how_many_at_once_is_typed_or_set() -> None:
    typed = request_of(parse(["fix", "--together", "3"]), Config())
    assert (typed.attempts, typed.num_together) == (3, 3)
    fewer = request_of(parse(["fix", "--attempts", "2"]), Config(fix=FixConfig(together=4)))
    assert (fewer.attempts, fewer.num_together) == (2, 2)
    assert FixRequest.from_record(json.loads(json.dumps(typed.to_record()))) == typed
    assert resumed(typed, parse(["fix", "--resume", "--together", "1"])).num_together == 1
    more = resumed(typed, parse(["fix", "--resume", "--together", "5"]))
    assert (more.attempts, more.num_together) == (5, 5)
    by_setting = request_of(parse(["fix"]), Config(fix=FixConfig(together=4)))
    assert (by_setting.attempts, by_setting.num_together) == (4, 4)
    for number in ("0", "17"):
        with pytest.raises(UsageError, match="--together must be 1 to 16"):
            request_of(parse(["fix", "--together", number]), Config())


def told(events: Sequence[Event]) -> Iterator[str]:
    replies = LastReplies()
    for event in events:
        yield from (text for _, text in lines_of(event, replies.before(event)))


def test_lines_and_json_name_the_attempt_that_tells() -> None:
    end = ReplyEnded(Usage(100, 0, 100, 11, 0.0, 0.0), "It is\nthe sum.")
    goes_on = ReplyEnded(Usage(115, 110, 5, 2, 0.0, 0.0), "")
    events = [OfAttempt(1, end), OfAttempt(2, end), OfAttempt(1, goes_on)]
    lines = list(told(events))
    assert lines[:2] == ["[1] It is", "[1] the sum."]
    assert lines[3:5] == ["[2] It is", "[2] the sum."]
    assert lines[-1] == "[1]   [115 tokens: 110 reused, 5 read; 2 written]", "as the first went on"
    record = json.loads(event_line(events[2], end.usage))
    assert (record["type"], record["number"]) == ("OfAttempt", 1)
    assert record["event"]["type"] == "ReplyEnded"
    assert record["event"]["reuse"].startswith("went on where the last reply ended")


def test_what_happens_right_now_is_said_of_every_attempt() -> None:
    now = Now()
    assert now.note(OfAttempt(2, TextDelta("x")))
    assert now.note(OfAttempt(1, TurnEnded(StopReason.END_TURN, "")))
    assert now.words == "[1] judging on a clean copy  [2] writing"
    assert not now.note(Notice("One."))
    now.note(TextDelta("x"))
    assert now.words == "writing"
