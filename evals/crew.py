"""Workers as processes of this machine: each does one task at a time, and may die at any moment.

A worker that dies is replaced, and the task it had in hand is begun anew: nothing is known of it.
When this process dies, the workers end themselves, and with them every command in a sandbox. A
large model is in a process of its own that all of them ask; nano is loaded by each.
"""

import logging
import os
import signal
import threading
import time
from collections.abc import Generator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from agent.errors import AgentError
from evals.task import Task
from evals.worker import Done, Job, Worker, given_up
from inference.errors import InferenceError

LOG = logging.getLogger(__name__)
MAX_LOST = 3
"""So often the worker of one task may die before the task counts as one that cannot be run."""
GRACE_S = 1800.0
"""For what a task takes besides its own time: to be laid out, and to be graded."""
POLL_S = 1.0

Results = Generator[Done, None, None]

context = get_context("spawn")


class CrewFailed(AgentError):
    """No worker can begin; why, in a sentence."""

    exit_code = 7


class Crew(Protocol):
    """Does tasks, several at a time."""

    def run(self, tasks: Sequence[Task]) -> Results:
        """Yield each task once it is done, in whatever order that is.

        Closing the generator ends all work at once.

        Raises:
            CrewFailed: no worker can begin.
        """
        ...


@dataclass
class _Hand:
    """One process, the line to it, and what it has in hand."""

    process: BaseProcess
    line: Connection
    task: Task | None = None
    end_s: float = 0.0


class LocalCrew:
    """`num` processes of this machine."""

    def __init__(self, job: Job, num: int) -> None:
        self._job = job
        self._num = num

    def run(self, tasks: Sequence[Task]) -> Results:
        """Yield each task once it is done."""
        waiting = list(reversed(tasks))
        lost: dict[str, int] = {}
        hands = [self._hire() for _ in range(min(self._num, len(tasks)))]
        try:
            while waiting or any(hand.task for hand in hands):
                for hand in hands:
                    if hand.task is None and waiting:
                        self._hand_over(hand, waiting.pop())
                for number, hand in self._ready(hands):
                    task = hand.task
                    assert task is not None, "only who has a task is waited for"
                    done = _answer(hand)
                    if done is None:
                        LOG.warning("The worker of %s died; another one takes its place.", task.id)
                        hands[number] = self._hire()
                        lost[task.id] = lost.get(task.id, 0) + 1
                        if lost[task.id] < MAX_LOST:
                            waiting.append(task)
                            continue
                        done = given_up(task, MAX_LOST)
                    yield done
        finally:
            for hand in hands:
                _dismiss(hand)

    def _hire(self) -> _Hand:
        ours, theirs = context.Pipe()
        process = context.Process(target=_work, args=(self._job, theirs), daemon=True)
        process.start()
        theirs.close()
        return _Hand(process, ours)

    def _hand_over(self, hand: _Hand, task: Task) -> None:
        hand.task = task
        hand.end_s = time.monotonic() + self._job.conditions.max_time_s + GRACE_S
        with suppress(OSError):  # it has died, which its line will tell
            hand.line.send(task)

    def _ready(self, hands: Sequence[_Hand]) -> list[tuple[int, _Hand]]:
        """Wait until some of those with a task have answered, died, or overrun their time."""
        busy = [hand for hand in hands if hand.task is not None]
        ready = wait([hand.line for hand in busy], POLL_S)
        now = time.monotonic()
        for hand in busy:
            if now > hand.end_s:
                hand.process.kill()  # then its line ends, and is ready the next time
        return [(number, hand) for number, hand in enumerate(hands) if hand.line in ready]


def _answer(hand: _Hand) -> Done | None:
    """Read what a worker says; None if it has died.

    Raises:
        CrewFailed: it could not begin, as none after it could.
    """
    try:
        answer = hand.line.recv()
    except (EOFError, OSError):
        _dismiss(hand)
        return None
    if isinstance(answer, str):
        raise CrewFailed(answer)
    hand.task = None
    done: Done = answer
    return done


def _dismiss(hand: _Hand) -> None:
    """End a worker at once; its commands die with it."""
    hand.process.kill()
    hand.process.join()
    hand.line.close()


def _work(job: Job, line: Connection) -> None:
    """Be a worker, until nobody wants one any more."""
    # The runner is told, and ends us. A handler and not "ignore", which commands would inherit.
    signal.signal(signal.SIGINT, lambda *_: None)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    worker: Worker | None = None
    while True:
        try:
            task: Task = line.recv()
        except EOFError:
            return
        try:
            worker = worker or Worker(job)
        except (AgentError, InferenceError) as error:
            line.send(str(error))
            return
        line.send(worker.do(task))


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None, "a worker is started by a runner"
    wait([parent.sentinel])
    os._exit(1)
