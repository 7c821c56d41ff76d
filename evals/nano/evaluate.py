"""How many freshly generated repositories does nano really repair?

    qwen-agent eval nano --seeds 900000:900100 --json out.json

Every seed's repository is written to a temporary folder and handed to `fix` itself: the same loop,
tools, sandbox and verdict as for a person's own code. A repository counts as fixed when `fix` ends
with exit code 0. Nothing is retried unless `--attempts` says so.
"""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from git import Actor, Repo
from pydantic import BaseModel, ConfigDict, Field

from agent.compose import ChatFactory
from agent.events import AttemptStarted, Event, ReplyEnded
from agent.fix import run_fix
from agent.outcome import FixOutcome
from agent.request import FixRequest
from agent.settings import Config, ModelConfig
from evals.nano.corpus import Repository, generate, write
from evals.nano.plain_python import make_plain_python
from inference.chat import Cancel, ChatModel
from inference.messages import Message, Piece, ReplyEnd, ReplyOptions, ToolSpec, Usage

MAX_NEW_TOKENS = 256
"""Of one reply: stops one that runs away, which an edit of two lines never needs."""
OnTask = Callable[["TaskReport"], None]


class TaskReport(BaseModel):
    """What came of one seed."""

    model_config = ConfigDict(frozen=True)

    seed: int
    bug_kind: str
    function: str
    exit_code: int
    sentence: str
    num_attempts: int
    num_turns: int = Field(description="Replies of the model.")
    num_calls: int
    num_prompt: int
    num_reused: int
    num_prefilled: int
    num_generated: int
    transcript_tokens: int
    seconds: float
    starts: tuple[tuple[int, int], ...] = Field(
        description="For the first reply of every attempt: tokens prefilled, tokens reused."
    )
    replies_sha256: str = Field(description="Of the token ids of all replies.")


class NanoReport(BaseModel):
    """The whole run; `n` and `fixed` are what the claim is about."""

    model_config = ConfigDict(frozen=True)

    n: int
    fixed: int
    model: str
    first_seed: int
    last_seed: int
    reuse: bool
    num_bugs: int
    attempts: int
    temperature: float | None
    num_turns: int
    num_calls: int
    num_prompt: int
    num_reused: int
    num_prefilled: int
    num_generated: int
    seconds: float
    tasks: tuple[TaskReport, ...]


@dataclass(frozen=True)
class Settings:
    """How every seed is run."""

    model: str = "nano"
    attempts: int = 1
    reuse: bool = True
    seed: int = 0
    """Of the sampled attempts."""
    num_bugs: int = 1
    """Of every repository."""
    temperature: float | None = None
    """Of every attempt; None for a greedy one first."""


def lay_out(repository: Repository, folder: Path) -> None:
    """Write a repository and commit it, as a person's project would be."""
    write(repository, folder)
    author = Actor("nano", "nano@example.invalid")
    with Repo.init(folder) as repo:
        repo.index.add(sorted(repository.files))
        repo.index.commit("A small project", author=author, committer=author)


def request_for(folder: Path, settings: Settings, python: Path) -> FixRequest:
    """Ask for a repair of the project in `folder`, its tests run by `python`."""
    return FixRequest(
        path=folder,
        model=settings.model,
        attempts=settings.attempts,
        seed=settings.seed,
        python=python,
        reuse=settings.reuse,
        temperature=settings.temperature,
        config=Config(model=ModelConfig(name=settings.model, max_new_tokens=MAX_NEW_TOKENS)),
    )


def evaluate(
    seeds: range, settings: Settings, chat_factory: ChatFactory, on_task: OnTask
) -> NanoReport:
    """Run `fix` on every seed with a model that is loaded already."""
    tasks = []
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="plain-python-") as place:
        python = make_plain_python(Path(place))
        for task in run_all(seeds, settings, chat_factory, python):
            tasks.append(task)
            on_task(task)

    def total(name: str) -> int:
        return sum(getattr(task, name) for task in tasks)

    return NanoReport(
        n=len(tasks),
        fixed=sum(task.exit_code == 0 for task in tasks),
        model=settings.model,
        first_seed=seeds.start,
        last_seed=seeds.stop - 1,
        reuse=settings.reuse,
        num_bugs=settings.num_bugs,
        attempts=settings.attempts,
        temperature=settings.temperature,
        num_turns=total("num_turns"),
        num_calls=total("num_calls"),
        num_prompt=total("num_prompt"),
        num_reused=total("num_reused"),
        num_prefilled=total("num_prefilled"),
        num_generated=total("num_generated"),
        seconds=round(time.perf_counter() - started, 1),
        tasks=tuple(tasks),
    )


class _Recorder:
    """A chat that remembers the token ids of its replies."""

    def __init__(self, chat: ChatModel) -> None:
        self._chat = chat
        self.name = chat.name
        self.context_tokens = chat.context_tokens
        self.can_see = chat.can_see
        self.count_tokens = chat.count_tokens
        self.read = chat.read
        self.replies: list[tuple[int, ...]] = []

    def reply(
        self,
        messages: Sequence[Message],
        tools: Sequence[ToolSpec],
        options: ReplyOptions,
        cancel: Cancel,
    ) -> Iterator[Piece]:
        """Pass a reply on."""
        for piece in self._chat.reply(messages, tools, options, cancel):
            if isinstance(piece, ReplyEnd):
                self.replies.append(piece.message.token_ids)
            yield piece


def run_all(
    seeds: range, settings: Settings, chat_factory: ChatFactory, python: Path
) -> Iterator[TaskReport]:
    """Run `fix` on every seed, the tests by `python`."""
    for seed in seeds:
        yield _run_one(generate(seed, settings.num_bugs), settings, chat_factory, python)


def _run_one(
    repository: Repository, settings: Settings, chat_factory: ChatFactory, python: Path
) -> TaskReport:
    recorders: list[_Recorder] = []

    def recorded(request: FixRequest) -> ChatModel:
        recorders.append(_Recorder(chat_factory(request)))
        return recorders[-1]

    with tempfile.TemporaryDirectory(prefix="nano-") as base:
        # One name for all: the path is no part of what the model reads, but it may show.
        folder = Path(base) / "project"
        folder.mkdir()
        lay_out(repository, folder)
        events = run_fix(
            request_for(folder, settings, python),
            chat_factory=recorded,
            state=Path(base) / "state",
        )
        starts, outcome = _to_the_end(events)
    replies = [ids for recorder in recorders for ids in recorder.replies]
    return _report(repository, outcome, starts, replies)


def _to_the_end(events: Iterator[Event]) -> tuple[list[Usage], FixOutcome]:
    """Return what the first reply of every attempt cost, and the outcome."""
    starts: list[Usage] = []
    num_started = 0
    while True:
        try:
            event = next(events)
        except StopIteration as stop:
            outcome: FixOutcome = stop.value
            return starts, outcome
        if isinstance(event, AttemptStarted):
            num_started += 1
        if isinstance(event, ReplyEnded) and len(starts) < num_started:
            starts.append(event.usage)


def _report(
    repository: Repository,
    outcome: FixOutcome,
    starts: list[Usage],
    replies: list[tuple[int, ...]],
) -> TaskReport:
    usages = outcome.usages
    digest = hashlib.sha256(repr(replies).encode())
    return TaskReport(
        seed=repository.seed,
        bug_kind="+".join(defect.bug_kind for defect in repository.defects),
        function="+".join(defect.function for defect in repository.defects),
        exit_code=outcome.exit_code,
        sentence=outcome.sentence,
        num_attempts=outcome.num_attempts,
        num_turns=outcome.num_steps,
        num_calls=outcome.num_calls,
        num_prompt=sum(usage.num_prompt for usage in usages),
        num_reused=sum(usage.num_reused for usage in usages),
        num_prefilled=sum(usage.num_prefilled for usage in usages),
        num_generated=sum(usage.num_generated for usage in usages),
        transcript_tokens=outcome.transcript_tokens,
        seconds=round(outcome.duration_s, 2),
        starts=tuple((usage.num_prefilled, usage.num_reused) for usage in starts),
        replies_sha256=digest.hexdigest(),
    )
