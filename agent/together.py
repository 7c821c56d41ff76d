"""Attempts that are made at once: each in a thread, a workplace and a session of its own.

The first of them reads what all begin with; the others begin when it has, and the engine has it for
them. What they tell comes as one stream, with the number of the attempt. The first green one stops
the others.

Their sessions lie in the folder of the run's session. When all have ended it takes them over at
once, one after the other, so whoever reads its journal finds them as if they had been made so. A
process that is killed before that leaves them there, and the next one goes on with each.
"""

import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from queue import SimpleQueue

from agent.attempts import STOPPED, Attempt, AttemptResult, Start, Task
from agent.distance import distance
from agent.errors import RunCancelled, SessionError
from agent.events import (
    CallWriting,
    Event,
    OfAttempt,
    PrefillProgress,
    ReplyEnded,
    TextDelta,
    ThinkingDelta,
)
from agent.outcome import FIXED
from agent.session import Session
from inference.chat import ChatModel
from sandbox.base import Cancel
from sandbox.remove import remove_tree

TOGETHER = "together"
"""The folder of a session that holds those of attempts which are being made at once."""
ROUND = "round"
"""The fact that names the attempts that are being made at once; none when they have ended."""

Results = Mapping[int, AttemptResult]
"""What attempts came to, by their numbers, in order; one that was stopped came to nothing."""


def unfinished(session: Session) -> Sequence[int]:
    """Return the numbers of the attempts that an earlier process was making."""
    numbers: list[int] = session.facts.get(ROUND, {}).get("numbers", [])
    return numbers or ([session.attempt] if session.attempt else [])


def make_together(
    numbers: Sequence[int],
    task: Task,
    start: Start,
    session: Session,
    chats: Sequence[ChatModel],
    cancel: Cancel,
) -> Generator[Event, None, Results]:
    """Make these attempts, as many at once as there are `chats`.

    Raises:
        RunCancelled: the person stopped it; the session can be resumed.
    """
    session.record(ROUND, numbers=[*numbers])
    own = {number: _own_session(session, number) for number in numbers}
    try:
        _share_budget(session, [*own.values()])
        over = threading.Event()
        attempts = []
        for number, chat in zip(numbers, _in_turn(chats, len(numbers)), strict=True):
            if cancel():  # each copies the repository
                raise RunCancelled(STOPPED)
            attempts.append(
                Attempt(number, task, start, own[number], chat, lambda: cancel() or over.is_set())
            )
        lines = Lines([attempts[first :: len(chats)] for first in range(len(chats))], over)
        yield from lines.events()
        results = dict(sorted(lines.results.items()))
        if not results or (cancel() and not _is_mended(results)):
            raise RunCancelled(STOPPED)
        nearest = min(results, key=lambda number: distance(results[number], task))
        in_order = [*(own[n] for n in numbers if n != nearest), own[nearest]]
        session.take_over(in_order, ROUND, numbers=[])
        session.beside = ()
    finally:
        for one in own.values():
            one.close()
    remove_tree(session.folder / TOGETHER)
    return results


class Lines:
    """Threads, each of which makes some attempts one after the other."""

    def __init__(self, lines: Sequence[Sequence[Attempt]], over: threading.Event) -> None:
        """Begin nothing yet; `over` stops every attempt."""
        self.results: dict[int, AttemptResult] = {}
        self._over = over
        self._told: SimpleQueue[OfAttempt | None] = SimpleQueue()
        """What is told; None when a thread has ended."""
        self._faults: list[BaseException] = []
        self._threads = [
            threading.Thread(target=self._work, args=(line,), name="attempt", daemon=True)
            for line in lines
            if line
        ]

    def events(self) -> Iterator[Event]:
        """Make the attempts, and tell what they tell until all have ended.

        Raises:
            Exception: whatever stopped one of them.
        """
        first, *waiting = self._threads
        num_left = len(self._threads)
        first.start()
        try:
            while num_left:
                told = self._told.get()
                if waiting and (told is None or _has_read(told.event)):
                    for thread in waiting:
                        thread.start()
                    waiting = []
                if told is None:
                    num_left -= 1
                else:
                    yield told
        finally:
            self._over.set()
            for thread in self._threads:
                if thread not in waiting:
                    thread.join()
        if self._faults:
            raise self._faults[0]

    def _work(self, line: Sequence[Attempt]) -> None:
        """Be one of the threads."""
        try:
            for attempt in line:
                if attempt.cancel():
                    break
                self._make(attempt)
        except RunCancelled:  # by the person or by a green one: who asked for them knows
            pass
        except BaseException as error:  # raised again where the events are taken
            self._faults.append(error)
            self._over.set()
        finally:
            self._told.put(None)

    def _make(self, attempt: Attempt) -> None:
        events = attempt.run()
        while True:
            try:
                event = next(events)
            except StopIteration as stop:
                result: AttemptResult = stop.value
                break
            self._told.put(OfAttempt(attempt.number, event))
        self.results[attempt.number] = result
        if result.exit_code == FIXED:
            self._over.set()


def _has_read(event: Event) -> bool:
    """Say whether an attempt that tells this has read its prompt."""
    if isinstance(event, PrefillProgress):
        return event.num_done >= event.num_total
    return isinstance(event, TextDelta | ThinkingDelta | CallWriting | ReplyEnded)


def _is_mended(results: Results) -> bool:
    return any(result.exit_code == FIXED for result in results.values())


def _in_turn(chats: Sequence[ChatModel], num: int) -> Iterator[ChatModel]:
    """Give out the models: attempts of the same one are made one after the other."""
    return (chats[place % len(chats)] for place in range(num))


def _own_session(session: Session, number: int) -> Session:
    """Begin the session of an attempt, or go on with it; one that is damaged is begun anew."""
    folder = session.folder / TOGETHER / str(number)
    with suppress(SessionError):  # it is not there, or was not begun
        earlier = Session.open(folder)
        if earlier.attempt and not earlier.damage:
            return earlier
        earlier.close()
    remove_tree(folder)
    own = Session.create_at(folder, {"kind": "attempt"})
    if "context" in session.facts:
        own.record("context", sections=session.facts["context"]["sections"])
    return own


def _share_budget(session: Session, own: Sequence[Session]) -> None:
    """Let all of them spend of one budget."""
    session.beside = tuple(own)
    for one in own:
        one.beside = (session, *(other for other in own if other is not one))
