"""Lets a host's worker do what it was asked, in a thread of its own."""

import threading

from inference.engine import Engine
from inference.host_worker import Worker


def work_until(ended: threading.Semaphore, num: int, worker: Worker, engine: Engine) -> None:
    """Work until so many replies have ended, and stop."""
    thread = threading.Thread(target=worker.run, args=(engine,))
    thread.start()
    for _ in range(num):
        assert ended.acquire(timeout=60)
    worker.stop()
    thread.join(60)
