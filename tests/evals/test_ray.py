"""On a Ray cluster a run comes to what it comes to here, also when an actor is lost.

Ray is an extra and no part of the tests' installation: these run where somebody has installed it.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from evals.conditions import Conditions
from evals.crew import Crew, CrewFailed
from evals.ray_crew import RayCrew, room_of
from evals.runner import local, prepared, run
from evals.tasks.nano import NanoTasks
from evals.worker import Job
from tests.evals.toys import attempts, outcomes, processes, toy_job, toy_run, workers_of
from tests.test_imports import ROOT

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="the extra [ray] is not installed")


def silent(_text: str) -> None:
    pass


def on_ray(job: Job) -> Crew:
    return RayCrew(toy_job(job), "local", 2)


def test_a_cluster_has_room_for_an_actor_a_gpu_or_else_a_core() -> None:
    assert room_of({"CPU": 16.0, "GPU": 2.0}) == (2, {"num_gpus": 1, "num_cpus": 1})
    assert room_of({"GPU": 2.0}) == (2, {"num_gpus": 1, "num_cpus": 0})
    assert room_of({"CPU": 4.0, "memory": 1e9}) == (4, {"num_cpus": 1})


@pytest.mark.skipif(find_spec("ray") is not None, reason="Ray is there")
def test_without_ray_a_person_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(CrewFailed, match=r"pip install 'qwen-agent-local\[ray\]'"):
        run(toy_run(tmp_path, [""]), on_ray, silent)


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_a_cluster_of_two_ends_as_the_plain_runner_does_though_an_actor_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))  # to find the toys
    does = ["", "fail", "break", "die once", "slow", "slow"]
    here, there = (toy_run(tmp_path / name, does) for name in ("here", "there"))
    for folder, crew in ((here, processes(2)), (there, on_ray)):
        run(folder, crew, silent)
    assert outcomes(there) == outcomes(here)
    log = tmp_path / "there" / "log"
    assert sorted(attempts(log)) == sorted([*(f"toy-{n}" for n in range(6)), "toy-3"])
    assert len(set(workers_of(log))) >= 2, "the task is begun anew by another"


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_nano_repairs_on_a_cluster_what_it_repairs_here_word_for_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), *sys.path]))
    source, conditions = NanoTasks(range(900_000, 900_002)), Conditions(model="nano")
    here, there = (prepared(source, conditions, tmp_path / name) for name in ("here", "there"))
    run(here, local(2), silent)
    run(there, lambda job: RayCrew(job, "local", 2), silent)
    assert outcomes(there) == outcomes(here)
    trajectories = [folder.path / "trajectories" / "900000.jsonl" for folder in (here, there)]
    assert [len(path.read_text().splitlines()) for path in trajectories] == [15, 15]


@needs_ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_where_no_cluster_is_one_sentence_says_so(tmp_path: Path) -> None:
    with pytest.raises(CrewFailed, match=r"no Ray cluster at 127\.0\.0\.1:1"):
        run(toy_run(tmp_path, [""]), lambda job: RayCrew(job, "127.0.0.1:1"), silent)
