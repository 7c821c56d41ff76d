"""The one thread of a host that runs the model: whose turn it is, and what a request does.

Front ends take turns, one prefill chunk or one token at a time; who has had the least of the
engine's time is next, so that a long prompt of one does not hold up the reply of another. Replies
that are written at the same time are read a token each in one forward (`together.py`). What is read
ahead, for a prompt that may come, waits until nobody else has asked anything for a while. Each
front end has branches of its own. It knows no socket: answers go to a function, requests come from
`host.py`.
"""

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from inference import wire
from inference.branch import Branch
from inference.door import GenerationEnd, Token
from inference.engine import Engine
from inference.errors import InferenceError, OutOfMemory, kind_and_line
from inference.gain import Gain
from inference.messages import Prefill
from inference.pictures import FIRST_ID
from inference.together import MAX_LINES
from inference.watchdog import Watchdog, is_out_of_memory

QUIET_S = 2.0
"""For which the other front ends must have had no work before something is read ahead: one that
runs a tool asks again soon, and should not have to wait for a chunk."""

log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Task:
    """A request under way, or waiting for an earlier one on the same branch."""

    request: wire.Work | wire.Close
    is_begun: bool = False
    is_cancelled: bool = False
    steps: Iterator[wire.Outcome] | None = None

    @property
    def branch(self) -> int | None:
        """The branch that it uses."""
        return self.request.live if isinstance(self.request, wire.Find) else self.request.branch

    @property
    def is_patient(self) -> bool:
        """Whether nobody waits for it: it only reads ahead, for a prompt that may come."""
        is_reading = isinstance(self.request, wire.Generate) and not self.request.max_new_tokens
        return is_reading and not self.is_cancelled

    def uses_branch_of(self, other: "_Task") -> bool:
        """Whether one of the two must wait for the other."""
        return self.branch is not None and self.branch == other.branch


@dataclass(eq=False)
class Seat:
    """A front end as the worker sees it. Its fields are the worker's own."""

    send: Callable[[wire.Outcome], None]
    has_room: Callable[[], bool]
    """False while the front end does not read what it was sent: its work then waits."""
    tasks: list[_Task] = field(default_factory=list)
    """In the order of their turns; those not yet begun also in the order of arrival."""
    branches: dict[int, Branch] = field(default_factory=dict)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    used_s: float = 0.0
    worked_s: float = -math.inf
    """When work for it ended that it waited for."""
    is_gone: bool = False

    def offer(self, task: _Task) -> Branch | None:
        """Return the line of a task if the next step is to read one token on it."""
        if task.steps is None or task.is_cancelled or not isinstance(task.request, wire.Generate):
            return None
        branch = self.branches.get(task.request.branch)
        return None if branch is None or branch.offered is None else branch

    def next_task(self) -> _Task | None:
        """The first task that waits for no other, if the front end can take its answer."""
        if not self.has_room() and not self.is_gone:
            return None
        for n, task in enumerate(self.tasks):
            before = (o for m, o in enumerate(self.tasks) if o.is_begun or m < n)
            if task.is_begun or not any(map(task.uses_branch_of, before)):
                return task
        return None


_Turn = tuple[Seat, _Task]


class Worker:
    """Carries out what front ends ask, fairly, on one engine."""

    def __init__(self, watchdog: Watchdog) -> None:
        self._watchdog = watchdog
        self._seats: list[Seat] = []
        self._changed = threading.Condition()
        self._is_stopping = False

    # --- asked by the thread of the sockets ---

    def submit(self, seat: Seat, request: wire.Work | wire.Close) -> None:
        """Do this when its turn comes."""
        with self._changed:
            if seat not in self._seats:
                self._seats.append(seat)
            if not seat.tasks:  # time spent away earns no credit
                busy = [other.used_s for other in self._seats if other.tasks]
                seat.used_s = max(seat.used_s, min(busy, default=0.0))
            seat.tasks.append(_Task(request))
            self._changed.notify()

    def cancel(self, seat: Seat, number: int) -> None:
        """Let a request end at its next chunk or token."""
        with self._changed:
            for task in seat.tasks:
                if not isinstance(task.request, wire.Close) and task.request.number == number:
                    task.is_cancelled = True
            self._changed.notify()

    def leave(self, seat: Seat) -> None:
        """Let go of all that a front end had; what it prefilled stays as snapshots."""
        with self._changed:
            seat.is_gone = True
            seat.tasks = [task for task in seat.tasks if task.is_begun]
            for task in seat.tasks:
                task.is_cancelled = True
            self._changed.notify()

    def look_again(self) -> None:
        """A front end has read what it was sent."""
        with self._changed:
            self._changed.notify()

    def stop(self) -> None:
        """End `run` after the step under way."""
        with self._changed:
            self._is_stopping = True
            self._changed.notify()

    @property
    def num_branches(self) -> int:
        """How many branches front ends hold."""
        return sum(len(seat.branches) for seat in tuple(self._seats))

    # --- the thread of the model ---

    def run(self, engine: Engine) -> None:
        """Work until stopped; then keep what was prefilled, and close the engine."""
        while turns := self._next_turns(engine.together.gain):
            start, is_patient = time.monotonic(), turns[0][1].is_patient
            lines = [line for seat, task in turns if (line := seat.offer(task)) is not None]
            done = [self._step(engine, *turn, lines if turn is turns[0] else []) for turn in turns]
            with self._changed:
                end_s = time.monotonic()
                for (seat, task), is_done in zip(turns, done, strict=True):
                    if not is_patient:
                        seat.worked_s = end_s
                        seat.used_s += (end_s - start) / len(turns)
                    seat.tasks.remove(task)
                    if is_done:
                        task.steps = None  # it holds a branch
                    else:
                        seat.tasks.append(task)
        for seat in self._seats:
            for task in seat.tasks:
                task.is_cancelled = True
                if task.steps is not None:
                    for _ in task.steps:
                        pass
        engine.close()

    def _next_turns(self, gain: Gain) -> list[_Turn]:
        """Wait for work: one step, or several that are taken together; none if there is no more."""
        with self._changed:
            while not self._is_stopping:
                self._forget_the_gone()
                waiting = [(seat, task) for seat in self._seats if (task := seat.next_task())]
                if turn := self._chosen(waiting):
                    turn[1].is_begun = True
                    return [turn, *self._company(turn, gain)]
                self._changed.wait(QUIET_S if waiting else None)
            return []

    def _company(self, turn: _Turn, gain: Gain) -> list[_Turn]:
        """Return the other steps that are a token to be read, if this one is and that pays."""
        seat, task = turn
        if seat.offer(task) is None:
            return []
        ready = [other for other in self._seats if other.has_room() and not other.is_gone]
        turns = [(other, one) for other in ready for one in other.tasks if one is not task]
        turns = [turn for turn in turns if turn[0].offer(turn[1]) is not None][: MAX_LINES - 1]
        return turns if gain.pays(1 + len(turns)) else []

    def _chosen(self, waiting: list[_Turn]) -> _Turn | None:
        """Choose who is next; None while there is only what gives way to others."""
        asked = [turn for turn in waiting if not turn[1].is_patient]
        if asked:
            return min(asked, key=lambda turn: turn[0].used_s)
        return next((turn for turn in waiting if self._is_quiet_but(turn[0])), None)

    def _is_quiet_but(self, seat: Seat) -> bool:
        """Whether the other front ends have had no work for a while."""
        busy_since_s = time.monotonic() - QUIET_S
        return all(other is seat or other.worked_s < busy_since_s for other in self._seats)

    def _forget_the_gone(self) -> None:
        for seat in [seat for seat in self._seats if seat.is_gone and not seat.tasks]:
            seat.branches.clear()
            self._seats.remove(seat)

    def _step(self, engine: Engine, seat: Seat, task: _Task, lines: Sequence[Branch]) -> bool:
        """Take one step of a task, answer, and return whether it was the last.

        Of several `lines` what they offer is read first, that of the task among them.
        """
        if isinstance(task.request, wire.Close):
            seat.branches.pop(task.request.branch, None)
            return True
        if task.steps is None:
            task.steps = _steps(engine, seat, task)
        self._watchdog.begin()
        is_progress = False
        try:
            if len(lines) > 1:
                engine.together.read(lines)
            answer = next(task.steps)
            is_progress = isinstance(answer, wire.Chunk | wire.OneToken)
        except InferenceError as error:
            answer = wire.failed(task.request.number, error)
        except Exception as error:
            log.exception("request %d failed", task.request.number)
            answer = wire.failed(task.request.number, self._lost(error))
        finally:
            self._watchdog.end(is_progress)
        seat.send(answer)
        return not is_progress

    def _lost(self, error: Exception) -> InferenceError:
        """Return what is said of a request that failed by a fault of ours or of torch's.

        It alone is lost, and the other front ends go on; but where memory was not enough, what the
        engine has read may be half written, and only its end gives all memory back.
        """
        if is_out_of_memory(error):
            self.stop()
            return OutOfMemory("The engine ran out of memory and was ended.")
        return InferenceError(f"The engine could not do this ({kind_and_line(error)}).")


def _steps(engine: Engine, seat: Seat, task: _Task) -> Iterator[wire.Outcome]:
    """Carry out a request, one chunk or token a step."""
    request = task.request
    match request:
        case wire.Find():
            _check_words(engine, [i for i in request.tokens if i < FIRST_ID])
            live = None if request.live is None else seat.branches.get(request.live)
            branch = engine.find(request.tokens, live, request.reuse)
            number = request.live if branch is live else None
            number = _hold(seat, branch) if number is None else number
            yield wire.Done(request.number, number, len(branch))
        case wire.Append():
            branch = _branch(seat, request.branch)
            _check_tokens(engine, len(branch), request)
            for step in _events(engine, branch, task, request.as_generate()):
                if isinstance(step, wire.End):  # the reply to come tells of it
                    branch.num_unreported += step.usage.num_prefilled
                    branch.num_repeated += step.usage.num_repeated
                    branch.unreported_s += step.usage.prefill_s
                yield step
        case wire.Generate():
            branch = _branch(seat, request.branch)
            _check_tokens(engine, len(branch), request)
            if request.thinking is not None:
                _check_words(engine, request.thinking.token_ids)
            yield from _events(engine, branch, task, request)
        case wire.Fork():
            branch = engine.fork(_branch(seat, request.branch), request.reuse)
            yield wire.Done(request.number, _hold(seat, branch), len(branch))
        case wire.TakeSnapshot() | wire.Measure():
            branch = _branch(seat, request.branch)
            if isinstance(request, wire.TakeSnapshot):
                engine.snapshot(branch)
            yield wire.Done(request.number, request.branch, len(branch))


def _events(
    engine: Engine, branch: Branch, task: _Task, request: wire.Generate
) -> Iterator[wire.Outcome]:
    """Run a generation and put its events into words of the wire."""
    for event in engine.generate(
        branch,
        request.tokens,
        request.sampling,
        max_new_tokens=request.max_new_tokens,
        cancel=lambda: task.is_cancelled,
        stop_ids=frozenset(request.stop_ids),
        keep_ids=frozenset(request.keep_ids),
        marks=request.marks,
        thinking=request.thinking,
        grammar=request.grammar,
        places=request.places,
    ):
        match event:
            case Token():
                yield wire.OneToken(request.number, event.id)
            case Prefill():
                yield wire.Chunk(request.number, event.num_done, event.num_total, event.elapsed_s)
            case GenerationEnd():
                yield wire.End(
                    request.number,
                    event.stop_reason,
                    event.usage,
                    event.token_ids,
                    len(branch),
                    event.notices,
                    event.memory,
                )


def _hold(seat: Seat, branch: Branch) -> int:
    """Number a branch that the front end does not have yet."""
    number = next(seat.numbers)
    seat.branches[number] = branch
    return number


def _branch(seat: Seat, number: int) -> Branch:
    branch = seat.branches.get(number)
    if branch is None:
        raise InferenceError(f"The engine has no branch {number} of this front end.")
    return branch


def _check_tokens(engine: Engine, first: int, request: wire.Append | wire.Generate) -> None:
    """Refuse pictures that do not stand where they are said to, and tokens that are none."""
    words: list[int] = []
    end = first
    for place in request.places:
        read = request.tokens[max(0, place.start - first) : max(0, place.end - first)]
        if place.start < end or read != place.ids:
            raise InferenceError(f"No picture stands at token {place.start}.")
        words += request.tokens[end - first : place.start - first]
        end = place.end
    _check_words(engine, [*words, *request.tokens[end - first :]])


def _check_words(engine: Engine, tokens: Sequence[int]) -> None:
    """Refuse what would be read past the end of the vocabulary: on a GPU that ends the process."""
    if tokens and max(tokens) >= engine.model.vocab_size:
        raise InferenceError(
            f"Token {max(tokens)} is not in the model's vocabulary of {engine.model.vocab_size}."
        )
