"""Jobs run one after another; what is stopped ends, and what waits behind it does not begin."""

import threading
import time
from collections.abc import Iterator

from agent.errors import UsageError
from agent.frontends.repl.worker import Ended, Feed, Item, Job, Printed, Worker
from sandbox.base import Cancel

WAIT_S = 60.0


def run(*jobs: Job, stops: threading.Event | None = None) -> list[Item]:
    """Have jobs done, stopped once an event is set; return what came of them."""
    feed = Feed()
    worker = Worker(feed)
    worker.start()
    for job in jobs:
        worker.do(job)
    if stops is not None:
        assert stops.wait(WAIT_S)
        worker.stop()
    items: list[Item] = []
    end_s = time.monotonic() + WAIT_S
    while sum(isinstance(item, Ended) for item in items) < len(jobs):
        assert time.monotonic() < end_s
        items += feed.take()
        time.sleep(0.005)
    worker.end(WAIT_S)
    return items


def says(text: str) -> Job:
    def steps(_cancel: Cancel) -> Iterator[Printed]:
        yield Printed(lambda _painter: text)

    return Job(steps)


def test_jobs_end_in_their_order() -> None:
    one, two = says("one"), says("two")
    items = run(one, two)
    assert [item.job for item in items if isinstance(item, Ended)] == [one, two]


def test_an_error_is_a_sentence_and_a_bug_has_a_trace() -> None:
    def wrong(_cancel: Cancel) -> Iterator[Printed]:
        yield from ()
        raise UsageError("name another file")

    def broken(_cancel: Cancel) -> Iterator[Printed]:
        yield from ()
        raise ZeroDivisionError

    usage, bug = (item for item in run(Job(wrong), Job(broken)) if isinstance(item, Ended))
    assert (usage.sentence, usage.trace, usage.exit_code) == ("name another file", "", 2)
    assert "ZeroDivisionError" in bug.trace


def test_what_waits_behind_a_stopped_job_does_not_begin() -> None:
    begun = threading.Event()

    def long(cancel: Cancel) -> Iterator[Printed]:
        yield Printed(lambda _painter: "begun")
        begun.set()
        while not cancel():
            time.sleep(0.005)

    items = run(Job(long), says("never"), stops=begun)
    assert sum(isinstance(item, Printed) for item in items) == 1
    assert sum(isinstance(item, Ended) for item in items) == 2
