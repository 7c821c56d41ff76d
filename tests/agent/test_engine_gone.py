"""The engine's process ends in mid-reply: that costs the reply, never the run or its session."""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent.events import Event, Notice
from agent.fix import resume_fix, run_fix
from agent.outcome import FIXED, NO_MODEL, FixOutcome
from agent.request import FixRequest
from inference.errors import EngineGone
from tests.agent.fakes import FINISH, REPAIR, RUN_TESTS, ScriptedModel, make_repository

GONE = EngineGone("The engine's process ended (pid 7; its log is /log).")


def model_whose_engine_ends(*calls: int) -> ScriptedModel:
    """Ends at these of its calls, counted from 0."""
    made: list[int] = []

    def on_reply(_number: int) -> None:
        made.append(len(made))
        if made[-1] in calls:
            raise GONE

    return ScriptedModel([[RUN_TESTS, REPAIR, RUN_TESTS, FINISH]], on_reply=on_reply)


def end_of(run: Callable[[], object]) -> tuple[list[Event], FixOutcome]:
    events: list[Event] = []
    steps = run()
    while True:
        try:
            events.append(next(steps))
        except StopIteration as stop:
            return events, stop.value


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo")


def test_the_reply_is_asked_for_again_and_the_person_is_told(
    repository: Path, tmp_path: Path
) -> None:
    model = model_whose_engine_ends(1, 4)
    events, outcome = end_of(
        lambda: run_fix(
            FixRequest(repository), chat_factory=lambda _: model, state=tmp_path / "state"
        )
    )
    assert outcome.exit_code == FIXED
    told = [event.text for event in events if isinstance(event, Notice)]
    assert told == [f"{GONE} The reply is asked for again."] * 2


def test_an_engine_that_cannot_be_had_leaves_a_session_to_resume(
    repository: Path, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    model = model_whose_engine_ends(1, 2)
    _, outcome = end_of(
        lambda: run_fix(FixRequest(repository), chat_factory=lambda _: model, state=state)
    )
    assert outcome.exit_code == NO_MODEL
    _, resumed = end_of(
        lambda: resume_fix(
            repository, chat_factory=lambda _: model_whose_engine_ends(), state=state
        )
    )
    assert resumed.exit_code == FIXED
    assert resumed.session_id == outcome.session_id
