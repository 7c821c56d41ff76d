"""Processes that a benchmark measures in: each begins fresh, and none outlives the benchmark.

Ctrl-C is for the benchmark alone: its children never hear it, and are ended.
"""

import multiprocessing
import signal
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def child() -> Iterator[Executor]:
    """Offer a process that does one thing after the other."""
    others = {*multiprocessing.active_children()}
    # Not forked: a process that has run torch's threads cannot be.
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        pool.submit(int)  # the process starts with the first work, and deaf for good
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    started = {*multiprocessing.active_children()} - others
    try:
        yield pool
    except BaseException:
        for process in started:
            process.terminate()  # what it is at is of no use any more
        raise
    finally:
        pool.shutdown()
