"""The edit benchmark holds its goals, and would see an editor that guesses."""

import json
import random
from functools import cache

import pytest

from evals.bench.edit import Outcome, is_good, run_all, summarise, to_record
from evals.bench.edit_languages import LANGUAGES
from evals.bench.edit_mistakes import MISTAKES, NO_MISTAKE, make_tasks
from evals.bench.edit_tasks import Task
from tools.match import closest
from tools.respace import Replacement


@cache
def all_tasks() -> list[Task]:
    return list(make_tasks(seed=0))


@pytest.fixture(scope="module")
def outcomes() -> list[Outcome]:
    return run_all(random.Random(0).sample(all_tasks(), 130))


def of_mistakes(*names: str) -> list[Task]:
    return [task for task in all_tasks() if task.mistake in names]


def test_every_edit_lands_or_is_refused_with_its_cause(outcomes: list[Outcome]) -> None:
    total = summarise(outcomes)
    ill = [o for o in outcomes if o.end not in ("golden", "refused")]
    assert ill == []
    assert total.num_wrong == 0
    assert total.median_calls == 1
    assert total.recovered >= 0.95
    assert is_good(total)


def test_the_sample_meets_every_mistake_in_every_language(outcomes: list[Outcome]) -> None:
    assert {outcome.mistake for outcome in outcomes} == set(MISTAKES)
    assert {outcome.language for outcome in outcomes} == {language.name for language in LANGUAGES}


def test_the_tasks_are_many_realistic_and_the_same_for_a_seed() -> None:
    assert len(all_tasks()) >= 120
    assert len(LANGUAGES) == 8
    assert all(30 <= task.before.count(b"\n") <= 400 for task in all_tasks())
    assert list(make_tasks(seed=0))[:200] == all_tasks()[:200]
    assert next(make_tasks(seed=1)) != all_tasks()[0]
    assert len(of_mistakes(NO_MISTAKE)) < len(all_tasks()) / 2


def test_an_edit_is_of_one_function_and_its_golden_file_differs_there_alone() -> None:
    for task in of_mistakes(NO_MISTAKE):
        assert task.before.count(task.old.encode()) == 1
        assert task.golden == task.before.replace(task.old.encode(), task.new.encode())


def guess(text: str, old: str, new: str) -> Replacement | None:
    """Take what looks most like the old text, as if that were what was meant."""
    regions = closest(text, old)
    if not regions:
        return None
    lines = text.split("\n")
    before = "".join(f"{line}\n" for line in lines[: regions[0].first - 1])
    here = "\n".join(lines[regions[0].first - 1 : regions[0].last])
    return Replacement(len(before), len(before) + len(here), new)


def first_of_many(text: str, old: str, new: str) -> Replacement | None:
    """Take the first place with the same words, and the new text as it was written."""
    words = [line.strip() for line in old.split("\n")]
    lines = text.split("\n")
    for first in range(len(lines) - len(words) + 1):
        if [line.strip() for line in lines[first : first + len(words)]] == words:
            start = sum(len(line) + 1 for line in lines[:first])
            return Replacement(start, start + len("\n".join(lines[first:][: len(words)])), new)
    return None


def test_an_editor_that_guesses_is_seen_to_write_what_was_not_meant() -> None:
    tasks = of_mistakes("invented text", "absent")
    figures = summarise(run_all(tasks, guess))
    assert figures.num_wrong > len(tasks) / 2
    assert not is_good(figures)


def test_an_editor_that_takes_white_space_for_nothing_is_seen_too() -> None:
    assert summarise(run_all(of_mistakes("wrong indent", "tabs, spaces"), first_of_many)).num_wrong


def test_the_record_counts_apart_and_is_json(outcomes: list[Outcome]) -> None:
    record = json.loads(json.dumps(to_record(3, outcomes)))
    assert (record["bench"], record["seed"], record["good"]) == ("edit", 3, True)
    for table in ("by_mistake", "by_language"):
        assert sum(row["num_tasks"] for row in record[table].values()) == 130
