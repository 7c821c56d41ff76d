"""Workers as actors of a Ray cluster: one per GPU, or per free core where there is none.

Machines share no disk: a task travels there, and its record and trajectory come back. An actor
whose machine is lost is replaced where there is room, and its task is begun anew. Ray is the extra
`[ray]`; it is imported when a cluster is asked for.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from agent.errors import AgentError
from evals.crew import GRACE_S, MAX_LOST, CrewFailed, Results
from evals.task import Task
from evals.worker import Done, Job, Worker, given_up
from inference.errors import InferenceError

if TYPE_CHECKING:
    from types import ModuleType

LOCAL = "local"
"""The address that starts a cluster of this machine alone, for the time of the run."""
CONNECT_S = 10.0
MAX_CAUSE = 400
"""Characters of what Ray says of a loss."""


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

    def greet(self) -> None:
        """Say that this actor runs, and has read our code."""


class RayCrew:
    """Actors of a cluster; `num` of them at most, 0 for as many as there is room."""

    def __init__(self, job: Job, address: str, num: int = 0) -> None:
        self._job = replace(job, folder=None)
        self._address = address
        self._num = num

    def run(self, tasks: Sequence[Task]) -> Results:
        """Yield each task once it is done."""
        if not tasks:
            return
        ray = _imported()
        _connect(ray, self._address, self._num)
        try:
            yield from _Shift(ray, self._job, self._num).run(tasks)
        finally:
            ray.shutdown()  # with it go the actors that were made here, and what they do


class _Shift:
    """The actors of one connection, and what each has in hand.

    A task goes only to an actor that runs already: where a machine is lost for good, the one that
    was to take its place may wait for room for ever, and the others do all there is.
    """

    def __init__(self, ray: ModuleType, job: Job, num: int) -> None:
        self._ray = ray
        self._job = job
        room, needs = room_of(ray.cluster_resources())
        self._actor = ray.remote(max_restarts=0, **needs)(RemoteWorker)
        self._num = min(num, room) if num else room
        self._coming: dict[Any, Any] = {}
        """By the reference of its greeting: an actor that does not run yet."""
        self._idle: list[Any] = []
        self._in_hand: dict[Any, tuple[Any, Task]] = {}
        """By the reference of the answer: the actor and the task."""
        self._num_failed = 0
        """Actors in a row that could not begin."""

    def run(self, tasks: Sequence[Task]) -> Results:
        waiting = list(reversed(tasks))
        lost: dict[str, int] = {}
        for _ in range(min(self._num, len(tasks))):
            self._hire()
        while waiting or self._in_hand:
            while self._idle and waiting:
                self._hand_over(self._idle.pop(), waiting.pop())
            reference = self._first()
            if reference in self._coming:
                self._welcome(reference)
                continue
            task, done = self._answer(reference)
            if done is None:
                lost[task.id] = lost.get(task.id, 0) + 1
                if lost[task.id] < MAX_LOST:
                    waiting.append(task)
                    continue
                done = given_up(task, MAX_LOST)
            yield done

    def _hire(self) -> None:
        actor = self._actor.remote(self._job)
        self._coming[actor.greet.remote()] = actor

    def _hand_over(self, actor: Any, task: Task) -> None:
        self._in_hand[actor.do.remote(task)] = (actor, task)

    def _first(self) -> Any:
        """Wait for what comes first, an actor or an answer; an answer that is late is ended.

        Raises:
            CrewFailed: there is no room for any actor.
        """
        limit_s = self._job.conditions.max_time_s + GRACE_S
        references = [*self._in_hand, *self._coming]
        while True:
            ready, _ = self._ray.wait(references, num_returns=1, timeout=limit_s)
            if ready:
                return ready[0]
            if not self._in_hand:
                raise CrewFailed(f"the cluster had no room for any actor within {limit_s:g} s")
            for actor, _task in self._in_hand.values():
                self._ray.kill(actor)  # then its answer is an error, and ready

    def _welcome(self, reference: Any) -> None:
        """Take in an actor that runs, or another one in its place.

        Raises:
            CrewFailed: one after the other could not begin.
        """
        actor = self._coming.pop(reference)
        try:
            self._ray.get(reference)
        except self._ray.exceptions.RayError as error:
            self._num_failed += 1
            if self._num_failed >= MAX_LOST:
                cause = " ".join(str(error).split())[:MAX_CAUSE]
                raise CrewFailed(f"no actor can begin: {cause}") from error
            self._hire()
            return
        self._num_failed = 0
        self._idle.append(actor)

    def _answer(self, reference: Any) -> tuple[Task, Done | None]:
        """Read an answer; None in its place if the actor, or its machine, is gone.

        Raises:
            CrewFailed: no actor can do any task.
        """
        actor, task = self._in_hand.pop(reference)
        try:
            answer = self._ray.get(reference)
        except self._ray.exceptions.RayError:
            self._hire()
            return task, None
        if isinstance(answer, str):
            raise CrewFailed(answer)
        self._idle.append(actor)
        return task, answer


def room_of(resources: Mapping[str, float]) -> tuple[int, dict[str, float]]:
    """Return how many workers a cluster has room for, and what each takes of it."""
    num_gpus, num_cores = int(resources.get("GPU", 0)), int(resources.get("CPU", 0))
    if num_gpus:
        return num_gpus, {"num_gpus": 1, "num_cpus": 1 if num_cores >= num_gpus else 0}
    return max(1, num_cores), {"num_cpus": 1}


def _imported() -> ModuleType:
    try:
        return import_module("ray")
    except ImportError as error:
        raise CrewFailed(
            "--ray needs Ray: pip install 'qwen-agent-local[ray]', here and on every machine"
        ) from error


def _connect(ray: ModuleType, address: str, num: int) -> None:
    """Join a cluster, or start one of this machine.

    Raises:
        CrewFailed: there is none at the address.
    """
    # A cluster that is started here tells nobody about it.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    settings: dict[str, Any] = {"address": address, "log_to_driver": False}
    settings["logging_level"] = logging.ERROR
    if address == LOCAL:
        settings |= {"num_cpus": num or os.cpu_count(), "include_dashboard": False}
    try:
        _check(address)
        ray.init(**settings)
    except (OSError, RuntimeError, ValueError) as error:
        first = str(error).strip().split("\n")[0]
        raise CrewFailed(f"no Ray cluster at {address}: {first}") from error


def _check(address: str) -> None:
    """Find out at once what Ray would take minutes to say.

    Raises:
        OSError: nobody listens at HOST:PORT.
    """
    host, colon, port = address.rpartition(":")
    if colon and port.isdecimal():
        socket.create_connection((host, int(port)), CONNECT_S).close()
