"""Commands that run beside the conversation, in the same sandbox, until they end or it does.

A thread each waits for its command and lives as long as it. When this process dies, however it
does, its control pipes close, and the supervisor of every command kills all of it.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from sandbox.base import Cancel, CommandResult, Sandbox, View
from sandbox.errors import SandboxError
from sandbox.limits import Limits
from sandbox.output import HeadAndTail
from tools.errors import ToolFailed

MAX_RUNNING = 4
MAX_JOB_S = 3600.0
LOOK_S = 0.05
"""How long a cancel may wait to be seen."""
KILL_S = 45.0
"""How long the end of a killed command is waited for."""


@dataclass
class Job:
    """One command in the background; its thread writes, others read."""

    number: int
    line: str
    """The command, as the model wrote it."""
    output_bytes: int
    started_s: float = field(default_factory=time.monotonic)
    ended: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)
    result: CommandResult | None = None
    """What came of it, once it has ended."""
    error: SandboxError | OSError | None = None
    """Why it did not run, if it did not."""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _unread: HeadAndTail | None = None

    def feed(self, data: bytes) -> None:
        """Keep the next bytes of its output, its beginning and its end if nobody reads them."""
        with self._lock:
            self._unread = self._unread or HeadAndTail(self.output_bytes)
            self._unread.feed(data)

    def take_output(self) -> str:
        """Return what was printed since this was asked last."""
        with self._lock:
            unread, self._unread = self._unread, None
        return unread.text() if unread else ""

    def state(self) -> str:
        """Say in a few words how it stands."""
        if self.result is None:
            return "failed" if self.error else f"runs, {time.monotonic() - self.started_s:.0f} s"
        if self.result.timed_out:
            return f"timed out after {self.result.duration_s:.0f} s"
        return "killed" if self.result.cancelled else f"ended, exit code {self.result.exit_code}"


class Jobs:
    """The commands of one session that run in the background."""

    def __init__(self, sandbox: Sandbox, view: View, limits: Limits | None = None) -> None:
        self._sandbox = sandbox
        self._view = view
        self._limits = limits or Limits()
        self._jobs: dict[int, Job] = {}
        self._num_started = 0
        self._lost: Mapping[int, str] = {}

    def recall(self, num_started: int, lost: Mapping[int, str]) -> None:
        """Go on counting where an earlier process stopped, whose jobs `lost` ended with it."""
        self._num_started, self._lost = num_started, lost

    def start(self, argv: Sequence[str], line: str, timeout_s: float = MAX_JOB_S) -> Job:
        """Start a command and return at once.

        Raises:
            ToolFailed: too many run already.
        """
        running = self.running()
        if len(running) >= MAX_RUNNING:
            numbers = ", ".join(str(job.number) for job in running)
            raise ToolFailed(f"{len(running)} jobs run already ({numbers}); kill one first.")
        self._num_started += 1
        job = Job(self._num_started, line, self._limits.output_bytes)
        self._jobs[job.number] = job
        limits = replace(self._limits, wall_s=min(timeout_s, MAX_JOB_S))
        name = f"job {job.number}"
        threading.Thread(
            target=self._carry_out, args=(job, argv, limits), name=name, daemon=True
        ).start()
        return job

    def running(self) -> tuple[Job, ...]:
        """Return the jobs that have not ended, in the order they were started."""
        return tuple(job for job in self._jobs.values() if not job.ended.is_set())

    def find(self, number: int) -> Job:
        """Return a job by its number.

        Raises:
            ToolFailed: there is none; those that run are named.
        """
        if number in self._jobs:
            return self._jobs[number]
        if number in self._lost:
            raise ToolFailed(f"Job {number} ended with the restart; start it again if you need it.")
        running = ", ".join(str(job.number) for job in self.running())
        raise ToolFailed(f"There is no job {number}; running: {running or 'none'}.")

    def kill(self, job: Job) -> None:
        """End a job and everything it started; one that has ended stays as it is."""
        job.stop.set()
        job.ended.wait(KILL_S)

    def close(self) -> tuple[Job, ...]:
        """Kill all that runs; return what that was, for somebody to tell."""
        running = self.running()
        for job in running:
            job.stop.set()
        for job in running:
            self.kill(job)
        return running

    def _carry_out(self, job: Job, argv: Sequence[str], limits: Limits) -> None:
        try:
            job.result = self._sandbox.run(argv, self._view, limits, job.stop.is_set, job.feed)
        except (SandboxError, OSError) as error:
            job.error = error
        finally:
            job.ended.set()


def wait(job: Job, timeout_s: float, cancel: Cancel) -> None:
    """Wait for the end of a job, for so long at most.

    Raises:
        SandboxError, OSError: it could not be run.
    """
    deadline = time.monotonic() + timeout_s
    while not cancel() and (left_s := deadline - time.monotonic()) > 0:
        if job.ended.wait(min(left_s, LOOK_S)):
            break
    if job.error is not None:
        raise job.error
