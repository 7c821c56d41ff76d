"""The door that every engine of a benchmark stands behind: `ask(ids, n_gen)` and `restart()`.

Whoever has these two can run any trace of `trace.py`, and any other driver that speaks in token
ids. An answer is a dictionary, under names that such drivers use, so that it goes into a JSON line
as it is. `InChild` puts any engine into a process of its own: its peak memory is then its own, and
its restart a real one. No torch here: engines are in `own.py` and `peers.py`.
"""

import multiprocessing
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any, Protocol, TypedDict

SHUTDOWN_S = 60.0
"""How long an engine may take to leave, with what it still writes."""


class Answer(TypedDict):
    """One reply, and what it cost."""

    tokens: list[int]
    """What was generated."""
    prompt_n: int
    """Prompt tokens that were really run through the model."""
    cached_n: int
    """Prompt tokens that were not."""
    ttft: float
    """Seconds from the question to the first token."""
    total: float
    """Seconds to the last."""
    gen_tok_s: float | None
    """Tokens a second after the first; None where there was only one."""
    peak_rss_bytes: int
    """The most memory that the engine's process held while it answered; 0 if it cannot be told."""


class Restarted(TypedDict):
    """What a restart took."""

    restart_s: float
    """Seconds from the order to leave until the next question can be asked."""


class Adapter(Protocol):
    """An engine that a trace can be run on."""

    def ask(self, ids: Sequence[int], n_gen: int, seed: int = 0) -> Answer:
        """Read the whole prompt `ids`, write exactly `n_gen` tokens; seed 0 is greedy."""
        ...

    def restart(self) -> Restarted:
        """Leave and come back; what survives that is up to the engine."""
        ...

    def close(self) -> None:
        """Give everything back."""
        ...


class BenchFailed(Exception):
    """A benchmark cannot go on; the text is one sentence for the user."""


class InChild:
    """An engine in a child process."""

    def __init__(self, make: Callable[[], Adapter]) -> None:
        """Start it and wait until it can be asked.

        Args:
            make: makes the engine, in the child; picklable.

        Raises:
            BenchFailed: it could not be made.
        """
        self._make = make
        self._start()

    def ask(self, ids: Sequence[int], n_gen: int, seed: int = 0) -> Answer:
        """Hand the question on.

        Raises:
            BenchFailed: the process ended; its own words are on stderr.
        """
        answer: Answer = self._call((list(ids), n_gen, seed))
        return answer

    def restart(self) -> Restarted:
        """End the process and start another; loading the weights is part of it."""
        started = time.perf_counter()
        self.close()
        self._start()
        return {"restart_s": time.perf_counter() - started}

    def close(self) -> None:
        """Let the process leave; one that is still at a question, or that stays, is ended."""
        if self._is_busy:
            self._process.kill()
        with suppress(OSError):  # it left by itself
            self._pipe.send(None)
        self._process.join(SHUTDOWN_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self._pipe.close()

    def _start(self) -> None:
        # Not forked: a process that has run torch's threads cannot be, and each starts alike.
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(self._make, theirs), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self._receive()
        except BaseException:
            self.close()
            raise

    def _call(self, question: tuple[list[int], int, int]) -> Any:
        try:
            self._pipe.send(question)
        except OSError as error:
            raise BenchFailed(self._last_words()) from error
        return self._receive()

    def _receive(self) -> Any:
        self._is_busy = True
        try:
            answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise BenchFailed(self._last_words()) from error
        self._is_busy = False
        if isinstance(answer, BenchFailed):
            raise answer
        return answer

    def _last_words(self) -> str:
        self._process.join(SHUTDOWN_S)
        return f"The engine's process ended with {self._process.exitcode}; its words are above."


def _serve(make: Callable[[], Adapter], pipe: Connection) -> None:
    """Be the child: make the engine, answer until told to leave."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        engine = make()
    except BenchFailed as error:
        pipe.send(error)
        return
    pipe.send(None)  # it can be asked
    try:
        while (question := pipe.recv()) is not None:
            try:
                pipe.send(engine.ask(*question))
            except BenchFailed as error:
                pipe.send(error)
    except EOFError:
        pass  # the parent is gone
    finally:
        engine.close()
