"""A run that is cut anywhere ends with the same results, and each task counts once."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.errors import UsageError
from evals.crew import MAX_LOST
from evals.run_folder import create, records_of
from evals.runner import run
from evals.task import Task
from tests.evals.toys import Here, attempts, outcomes, processes, toy_run, workers_of
from tests.inference.faults import is_ended, wait_for
from tests.test_imports import ROOT

MIXED = ("", "fail", "break", "slow")


def silent(_text: str) -> None:
    pass


def test_each_task_is_done_once_and_its_failure_has_a_class(tmp_path: Path) -> None:
    folder = toy_run(tmp_path, MIXED)
    records = run(folder, Here, silent)
    assert [record.failure for record in records] == [None, "wrong logic", "environment", None]
    assert records[2].grade.sentence == "RuntimeError: the grader is broken"
    assert attempts(tmp_path / "log") == ["toy-0", "toy-1", "toy-2", "toy-3"]
    assert not folder.work.exists()


def test_what_is_no_task_is_never_begun(tmp_path: Path) -> None:
    (record,) = run(toy_run(tmp_path, ["none"]), Here, silent)
    assert (record.failure, record.grade.sentence) == ("environment", "there is nothing to write")
    assert attempts(tmp_path / "log") == []


def test_every_file_says_how_the_run_was_made(tmp_path: Path) -> None:
    folder = toy_run(tmp_path, ["", "fail"], seed=7)
    run(folder, Here, silent)
    files = sorted(path for path in folder.path.rglob("*.json*"))
    assert len(files) == 5
    for path in files:
        text = path.read_text()
        head = json.loads(text if path.suffix == ".json" else text.split("\n")[0])
        assert head == folder.head.model_dump()
        assert (head["seed"], head["suite"]) == (7, "toys")
        assert {"python", "torch"} < set(head["versions"])


def test_a_record_cut_in_half_is_made_again_and_no_other(tmp_path: Path) -> None:
    folder = toy_run(tmp_path, MIXED)
    run(folder, Here, silent)
    whole = outcomes(folder)
    records = folder.path / "records.jsonl"
    records.write_bytes(records.read_bytes()[:-20])
    again = toy_run(tmp_path, MIXED)
    said: list[str] = []
    run(again, Here, said.append)
    assert outcomes(again) == whole
    # toy-2 failed for its environment, which says nothing of the solver.
    assert attempts(tmp_path / "log")[4:] == ["toy-2", "toy-3"]
    assert said[0] == "2 of 4 tasks are done already."


def test_what_another_run_left_is_never_gone_on_with(tmp_path: Path) -> None:
    toy_run(tmp_path, MIXED)
    with pytest.raises(UsageError, match="other tasks or conditions"):
        toy_run(tmp_path, MIXED, seed=1)
    with pytest.raises(UsageError, match="other tasks or conditions"):
        toy_run(tmp_path, MIXED[:2])
    (tmp_path / "other" / "run").mkdir(parents=True)
    (tmp_path / "other" / "run" / "thesis.tex").write_text("")
    with pytest.raises(UsageError, match="something else"):
        toy_run(tmp_path / "other", MIXED)


def test_no_task_writes_outside_of_its_run(tmp_path: Path) -> None:
    for name in ("../../escaped", "a/b", ".hidden", ""):
        with pytest.raises(UsageError, match="cannot name a task"):
            create(tmp_path / "run", toy_run(tmp_path, [""]).head, [Task(name)])
    with pytest.raises(UsageError, match="the same name"):
        create(tmp_path / "run", toy_run(tmp_path, [""]).head, [Task("a"), Task("a")])


def test_two_runners_never_share_a_folder(tmp_path: Path) -> None:
    folder = toy_run(tmp_path, MIXED)
    with folder.opened(), pytest.raises(UsageError, match="is being run"):
        run(toy_run(tmp_path, MIXED), Here, silent)


@pytest.mark.fault
def test_a_killed_worker_costs_its_task_a_new_beginning_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    does = ("", "die once", "fail", "die once", "")
    folder = toy_run(tmp_path, does)
    records = run(folder, processes(2), silent)
    assert [record.is_solved for record in records] == [True, True, False, True, True]
    begun = attempts(tmp_path / "log")
    assert sorted(begun) == ["toy-0", *["toy-1"] * 2, "toy-2", *["toy-3"] * 2, "toy-4"]
    assert "The worker of toy-1 died" in caplog.text


@pytest.mark.fault
def test_a_task_that_kills_every_worker_is_given_up(tmp_path: Path) -> None:
    folder = toy_run(tmp_path, ["die", ""])
    records = run(folder, processes(1), silent)
    assert [record.failure for record in records] == ["environment", None]
    assert attempts(tmp_path / "log").count("toy-0") == MAX_LOST


@pytest.mark.fault
def test_a_killed_runner_takes_its_workers_along_and_is_gone_on_with(tmp_path: Path) -> None:
    does, log = [*["slow"] * 4, *["wait"] * 4], tmp_path / "log"
    words = "from tests.evals.toys import *; from evals.runner import run; from pathlib import Path"
    code = f"{words}; run(toy_run(Path({str(tmp_path)!r}), {does}), processes(2))"
    runner = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert runner.stdout is not None
    told = [runner.stdout.readline() for _ in range(3)]
    assert all("solved" in line for line in told)
    wait_for(lambda: len(set(workers_of(log))) == 2, limit_s=60)
    os.kill(runner.pid, signal.SIGKILL)
    runner.communicate()
    (tmp_path / "go").touch()
    workers = set(workers_of(log))
    wait_for(lambda: all(map(is_ended, workers)), limit_s=60)
    num_begun = len(attempts(log))
    folder = toy_run(tmp_path, does)
    num_kept = len(records_of(folder))
    assert 3 <= num_kept < 8
    run(folder, processes(2), silent)
    assert outcomes(folder) == {f"toy-{n}": (True, None, f"toy-{n}") for n in range(8)}
    assert len(attempts(log)) - num_begun == 8 - num_kept, "what was whole is not done again"
