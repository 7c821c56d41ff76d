"""Several attempts at one repair: where each begins, and which of them is kept."""

from pathlib import Path
from typing import Any

import pytest

from agent.events import AttemptStarted, Event
from agent.fix import resume_fix, run_fix
from agent.outcome import FixOutcome
from agent.request import FixRequest
from tests.agent.fakes import (
    CART,
    FINISH,
    REPAIR,
    SECOND_REPAIR,
    TWO_BUGS,
    UNGATED,
    Say,
    ScriptedModel,
    edit,
    make_repository,
)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    return make_repository(tmp_path / "repo", {"shop/cart.py": TWO_BUGS})


def drained(run: Any, events: list[Event] | None = None) -> FixOutcome:
    while True:
        try:
            event = next(run)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return outcome
        if events is not None:
            events.append(event)


def fix(repository: Path, *scripts: list[Say], **more: Any) -> tuple[FixOutcome, ScriptedModel]:
    model = ScriptedModel(scripts)
    request = FixRequest(repository, attempts=len(scripts), dry_run=True, config=UNGATED, **more)
    state = repository.parent / "state"
    return drained(run_fix(request, chat_factory=lambda _: model, state=state)), model


def change(new: str) -> list[Say]:
    return [edit("shop/cart.py", "price - tax", new), FINISH]


def test_an_attempt_goes_on_from_what_an_earlier_one_has_mended(repository: Path) -> None:
    outcome, model = fix(repository, [REPAIR, FINISH], [SECOND_REPAIR, FINISH], [FINISH])
    assert (outcome.exit_code, outcome.num_attempts) == (0, 2)
    assert "-    return price - tax" in outcome.patch
    assert "-    return 3 * price" in outcome.patch
    first, second = model.seen[0], model.seen[2]
    assert second[0] == first[0], "the system message is shared"
    assert len(second) == 2, "and nothing else of the first conversation"
    assert "test_total" in first[1].content
    assert "test_total" not in second[1].content
    assert "test_double" in second[1].content


def test_an_attempt_that_mended_nothing_is_not_gone_on_from(repository: Path) -> None:
    outcome, model = fix(repository, change("price * tax"), [REPAIR, SECOND_REPAIR, FINISH])
    assert outcome.exit_code == 0
    assert model.seen[0] == model.seen[2]


def test_when_none_is_green_the_one_that_came_nearest_is_kept(repository: Path) -> None:
    outcome, _ = fix(repository, [FINISH], [REPAIR, FINISH], [FINISH])
    assert (outcome.exit_code, outcome.num_attempts) == (3, 3)
    assert "price + tax" in outcome.patch
    assert outcome.after is not None
    assert len(outcome.after.failed) == 1
    assert outcome.sentence.endswith("attempt 2 came nearest")


def test_of_two_that_are_as_near_the_smaller_change_is_kept(repository: Path) -> None:
    large, small = change("(\n        price * tax\n    )"), change("price * tax")
    outcome, _ = fix(repository, large, small, large)
    assert outcome.exit_code == 3
    assert "+    return price * tax\n" in outcome.patch


def test_each_later_attempt_has_a_copy_of_its_own(repository: Path) -> None:
    copies = []

    def look(_number: int) -> None:
        folders = repository.parent.glob("state/sessions/*/attempts/*")
        copies.append({f.name: (f / "shop/cart.py").read_text() for f in folders})

    model = ScriptedModel([change("price * tax"), change("price / tax"), [FINISH]])
    model.on_reply = look
    request = FixRequest(repository, attempts=3, dry_run=True, config=UNGATED)
    state = repository.parent / "state"
    drained(run_fix(request, chat_factory=lambda _: model, state=state))
    assert copies[0] == copies[1] == {}
    assert copies[2] == {"2": TWO_BUGS}
    assert copies[3] == {"2": TWO_BUGS.replace("price - tax", "price / tax")}
    assert copies[4] == {"3": TWO_BUGS}
    assert not list(state.glob("sessions/*/attempts"))


def test_a_later_attempt_that_was_cut_short_goes_on_from_the_best_so_far(repository: Path) -> None:
    state = repository.parent / "state"
    model = ScriptedModel([[REPAIR, FINISH], [SECOND_REPAIR, FINISH]])
    request = FixRequest(repository, attempts=2, config=UNGATED)
    cut = run_fix(request, lambda: len(model.seen) == 3, lambda _: model, state)
    assert drained(cut).exit_code == 130
    words = model.seen[2]
    events: list[Event] = []
    again = ScriptedModel([[SECOND_REPAIR, FINISH]])
    outcome = drained(resume_fix(repository, chat_factory=lambda _: again, state=state), events)
    assert (outcome.exit_code, outcome.num_attempts) == (0, 2)
    assert [event.number for event in events if isinstance(event, AttemptStarted)] == [2]
    assert again.seen[0][:2] == words
    assert (repository / "shop/cart.py").read_text() == CART.replace("price - tax", "price + tax")


def test_at_a_temperature_that_was_asked_for_all_attempts_differ_by_their_seed(
    repository: Path,
) -> None:
    _, model = fix(repository, [FINISH], [FINISH], temperature=0.8, seed=5)
    drawn = [options.sampling for options in model.options]
    assert [(d.temperature, d.seed) for d in drawn if d] == [(0.8, 5), (0.8, 6)]
