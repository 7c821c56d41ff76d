"""Workers as actors of a Ray cluster: one per GPU, or per free core where there is none.

Machines share no disk: a task travels there, and its record and trajectory come back. An actor
whose machine is lost is replaced where there is room, and its task is begun anew. Ray is the extra
`[ray]`; it is imported when a cluster is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from evals.crew import GRACE_S, MAX_LOST, CrewFailed
from evals.task import Task
from evals.worker import Done, Job, Worker, given_up
from inference.errors import InferenceError

if TYPE_CHECKING:
    from types import ModuleType

LOCAL = "local"
"""The address that starts a cluster of this machine alone, for the time of the run."""


class RemoteWorker:
    """A worker in an actor; what it is told and what it answers is pickled."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._worker: Worker | None = None

    def do(self, task: Task) -> Done | str:
        """Do a task; a sentence says why no task can be done here."""
        try:
            self._worker = self._worker or Worker(self._job)
        except (AgentError, InferenceError) as error:
            return str(error)
        return self._worker.do(task)

    def process(self) -> int:
        """Return the id of the process, on its machine."""
        return os.getpid()


class RayCrew:
    """Actors of a cluster; `num` of them at most, 0 for as many as there is room."""

    def __init__(self, job: Job, address: str, num: int = 0) -> None:
        self._job = replace(job, folder=None)
        self._address = address
        self._num = num

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        """Yield each task once it is done."""
        ray = _imported()
        _connect(ray, self._address, self._num)
        try:
            yield from _Shift(ray, self._job, self._num).run(tasks)
        finally:
            ray.shutdown()  # with it go the actors that were made here, and what they do


class _Shift:
    """The actors of one connection, and what each has in hand."""

    def __init__(self, ray: ModuleType, job: Job, num: int) -> None:
        self._ray = ray
        self._job = job
        room, needs = room_of(ray.cluster_resources())
        self._actor = ray.remote(max_restarts=0, **needs)(RemoteWorker)
        self._num = min(num, room) if num else room
        self._in_hand: dict[Any, tuple[Any, Task]] = {}
        """By the reference of the answer: the actor and the task."""

    def run(self, tasks: Sequence[Task]) -> Iterator[Done]:
        waiting = list(reversed(tasks))
        lost: dict[str, int] = {}
        idle = [self._hire() for _ in range(min(self._num, len(tasks)))]
        while waiting or self._in_hand:
            while idle and waiting:
                self._hand_over(idle.pop(), waiting.pop())
            actor, task, done = self._next()
            if done is None:
                actor = self._hire()
                lost[task.id] = lost.get(task.id, 0) + 1
                if lost[task.id] < MAX_LOST:
                    waiting.append(task)
                else:
                    done = given_up(task, MAX_LOST)
            idle.append(actor)
            if done is not None:
                yield done

    def _hire(self) -> Any:
        return self._actor.remote(self._job)

    def _hand_over(self, actor: Any, task: Task) -> None:
        self._in_hand[actor.do.remote(task)] = (actor, task)

    def _next(self) -> tuple[Any, Task, Done | None]:
        """Wait for one answer; None in its place if the actor, or its machine, is gone.

        Raises:
            CrewFailed: no actor can do any task.
        """
        limit_s = self._job.conditions.max_time_s + GRACE_S
        answered, _ = self._ray.wait(list(self._in_hand), num_returns=1, timeout=limit_s)
        reference = answered[0] if answered else next(iter(self._in_hand))
        actor, task = self._in_hand.pop(reference)
        if not answered:
            self._ray.kill(actor)
            return actor, task, None
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            return actor, task, None
        if isinstance(answer, str):
            raise CrewFailed(answer)
        return actor, task, answer


def room_of(resources: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """Return how many workers a cluster has room for, and what each takes of it."""
    num_gpus, num_cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if num_gpus:
        return num_gpus, {"num_gpus": 1, "num_cpus": 1 if num_cores >= num_gpus else 0}
    return max(1, num_cores), {"num_cpus": 1}


def _imported() -> ModuleType:
    try:
        import ray
    except ImportError as error:
        raise CrewFailed(
            "--ray needs Ray: pip install 'qwen-agent-local[ray]', here and on every machine"
        ) from error
    module: ModuleType = ray
    return module


def _connect(ray: ModuleType, address: str, num: int) -> None:
    """Join a cluster, or start one of this machine.

    Raises:
        CrewFailed: there is none at the address.
    """
    settings: dict[str, Any] = {"address": address, "log_to_driver": False}
    if address == LOCAL:
        settings |= {"num_cpus": num or os.cpu_count(), "include_dashboard": False}
    try:
        ray.init(**settings)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise CrewFailed(f"no Ray cluster at {address}: {first}") from error
