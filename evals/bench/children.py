"""Processes that a benchmark measures in: each begins fresh, and none outlives the benchmark.

Ctrl-C is for the benchmark alone: its children never hear it, and are ended. There is no queue
and no lock between the two, nothing that the system would keep when they go.
"""

import multiprocessing
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import TypeVar

from evals.bench.adapter import BenchFailed

T = TypeVar("T")


class Child:
    """A process that does one thing after the other."""

    def __init__(self) -> None:
        """Start it, deaf to Ctrl-C from its first moment."""
        # Not forked: a process that has run torch's threads cannot be.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs,), daemon=True)
        resource_tracker.ensure_running()  # else it begins in the next lines, and lets signals in
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        theirs.close()

    def do(self, work: Callable[..., T], *words: object) -> T:
        """Have something done there; return what came of it, or raise what it raised.

        Raises:
            BenchFailed: the process has ended.
        """
        try:
            self._pipe.send((work, words))
            answer: T | Exception = self._pipe.recv()
        except (EOFError, OSError) as error:
            self._process.join()
            words_of_end = f"A process ended with {self._process.exitcode}; its words are above."
            raise BenchFailed(words_of_end) from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """End it, whatever it is at."""
        self._process.kill()
        self._process.join()
        self._pipe.close()


@contextmanager
def child() -> Iterator[Child]:
    """Offer a process, and end it."""
    one = Child()
    try:
        yield one
    finally:
        one.close()


def _serve(pipe: Connection) -> None:
    """Be the child until the parent is gone."""
    with suppress(EOFError, OSError):
        while True:
            work, words = pipe.recv()
            try:
                answer = work(*words)
            except Exception as error:
                error.add_note(traceback.format_exc())
                answer = error
            pipe.send(answer)
