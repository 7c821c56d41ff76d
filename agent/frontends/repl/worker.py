"""The one thread in which turns and slow commands run, and what it hands over to the screen.

Jobs run one after another. What they yield is put on a feed, which the screen empties so many times
a second, however fast a model writes.
"""

import queue
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from agent.approval import Answer, Ask
from agent.errors import KNOWN_ERRORS
from agent.events import Event
from agent.frontends.repl.paint import Painter
from inference.errors import PictureUnreadable
from sandbox.base import Cancel
from tools.mcp_form import Form, Values

T = TypeVar("T")
BUG = "That was a bug in qwen-agent."
NOT_BEGUN = "Stopped before it began."
POLL_S = 0.05
ERRORS = (*KNOWN_ERRORS, OSError)
"""Those that say in one sentence what a person can do."""


@dataclass(frozen=True)
class Printed:
    """Lines of our own; they are drawn where the screen is."""

    draw: Callable[[Painter], str]

    @classmethod
    def sentence(cls, text: str) -> "Printed":
        """Print a sentence, dim beside what the model says."""
        return cls(lambda painter: painter.line((painter.theme.dim, text)))


@dataclass(kw_only=True)
class Waiting(Generic[T]):
    """Something for a person to answer, while the thread of the turn waits."""

    answer: T | None = None
    _is_answered: threading.Event = field(default_factory=threading.Event)

    def decide(self, answer: T | None) -> None:
        """Let the turn go on with an answer."""
        self.answer = answer
        self._is_answered.set()

    def wait(self, cancel: Cancel) -> T | None:
        """Wait for the answer; None when all is to stop."""
        while not self._is_answered.wait(POLL_S):
            if cancel():
                return None
        return self.answer


@dataclass
class Question(Waiting[Answer]):
    """A call to decide on; no answer stops the turn."""

    ask: Ask


@dataclass
class Blank(Waiting[Values]):
    """A form to fill in; no answer declines."""

    form: Form


@dataclass(frozen=True)
class Ended:
    """A job is over."""

    job: "Job"
    sentence: str = ""
    """What went wrong, for a person."""
    trace: str = ""
    """What went wrong, for us: only a bug has one."""
    exit_code: int = 0
    """That of what went wrong."""
    is_unsaid: bool = False
    """Whether a picture kept the prompt from the model: what was typed is the person's again."""


Item = Event | Printed | Question | Blank | Ended
Steps = Callable[[Cancel], Iterator[Event | Printed]]


@dataclass(frozen=True)
class Job:
    """Work that takes its time."""

    steps: Steps
    is_turn: bool = False
    """Whether the model works in it, so that it can be steered."""
    is_aside: bool = False
    """Whether it runs beside a turn."""
    words: str = ""
    """What it does, while nothing else says so."""
    prompt: str = ""
    """What the person typed to begin it; theirs again if it does not begin."""


class Feed:
    """Items from any thread to the screen's; `wake` is called when there is something."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self.wake: Callable[[], None] = lambda: None

    def put(self, item: Item) -> None:
        """Add an item."""
        self._items.append(item)
        self.wake()

    def take(self) -> Iterator[Item]:
        """Yield what is there, the oldest first."""
        while self._items:
            yield self._items.popleft()


class Worker:
    """Runs jobs in a thread of its own."""

    def __init__(self, feed: Feed) -> None:
        self.feed = feed
        self.running: Job | None = None
        self._jobs: queue.Queue[Job | None] = queue.Queue()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True, name="worker")
        self._todo: list[Job] = []

    def start(self) -> None:
        """Begin to work."""
        self._thread.start()

    def do(self, job: Job) -> None:
        """Have a job done after those before it."""
        self._todo.append(job)
        self._jobs.put(job)

    @property
    def is_busy(self) -> bool:
        """Whether anything runs or waits to."""
        return bool(self._todo)

    @property
    def has_turn(self) -> bool:
        """Whether the model works, or is about to."""
        return any(job.is_turn for job in self._todo)

    @property
    def prompts(self) -> list[str]:
        """What was typed and waits for its turn to begin."""
        running = self.running
        if running is None:
            return []
        return [job.prompt for job in tuple(self._todo) if job.prompt and job is not running]

    def stop(self) -> None:
        """Stop the job that runs, which ends as soon as it can, and those that wait."""
        self._stop.set()
        self.leave_out()

    def leave_out(self) -> None:
        """End what has not begun."""
        with suppress(queue.Empty):
            while (job := self._jobs.get_nowait()) is not None:
                self._todo.remove(job)
                self.feed.put(Ended(job, NOT_BEGUN))
            self._jobs.put(None)  # the end of the thread, which is not to be left out

    def is_stopping(self) -> bool:
        """Say whether the running job was told to stop."""
        return self._stop.is_set()

    def end(self, timeout_s: float) -> None:
        """Stop what runs, leave out what waits, and wait a little for the thread."""
        self.stop()
        self._jobs.put(None)
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._stop.clear()
            self.running = job
            ended = self._run(job)
            self.running = None
            self._todo.remove(job)
            self.feed.put(ended)

    def _run(self, job: Job) -> Ended:
        try:
            for item in job.steps(self._stop.is_set):
                self.feed.put(item)
        except PictureUnreadable as error:
            return Ended(job, str(error), exit_code=error.exit_code, is_unsaid=True)
        except ERRORS as error:
            return Ended(job, str(error), exit_code=getattr(error, "exit_code", 1))
        except Exception:
            return Ended(job, BUG, traceback.format_exc(), 1)
        return Ended(job)
