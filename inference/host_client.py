"""The engine of another process, with the methods of the one in this process. No torch.

A host that ended costs what was being done, one `EngineGone`; the next prompt starts another. For
one thread at a time: a second thread opens a client of its own, the weights are shared all the
same.
"""

import os
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

from inference import wire
from inference.chat import Cancel, never
from inference.door import (
    CallGrammar,
    EngineSettings,
    GenerationEnd,
    OnProgress,
    ThinkingLimit,
    Token,
)
from inference.errors import Cancelled, EngineGone, ModelUnavailable, OutOfMemory, TooLarge
from inference.fallback import Fallback, Step
from inference.host_address import address_of, addresses
from inference.host_link import HostedModel, Link, status_at
from inference.host_start import IDLE_LIMIT_S, find_or_start
from inference.messages import Prefill, SamplingOptions
from inference.pictures import Place
from inference.plan import Plan
from inference.shortage import Shortage

CANCEL_S = 300.0
"""How long a request may go on after it was cancelled: one chunk of a slow machine."""

REPLACED = "The engine's process had ended; another went on from what was saved."

NUM_TRIES = 5
"""A host may be about to leave just when it is found."""


class HostBranch:
    """A line of tokens that the host holds. Dropped here, it is dropped there."""

    def __init__(self, link: Link, number: int, num_tokens: int) -> None:
        self.link = link
        self.number = number
        self.num_tokens: int | None = num_tokens
        """None after a reply that was not listened to until its end."""
        weakref.finalize(self, link.dropped.append, number).atexit = False

    def __len__(self) -> int:
        if self.num_tokens is None:
            self.num_tokens = self.link.ask(
                wire.Measure(self.link.number(), self.number)
            ).num_tokens
        return self.num_tokens


class HostEngine:
    """A `TokenEngine` whose model runs in the host."""

    def __init__(
        self,
        settings: EngineSettings,
        *,
        plan: Plan | None = None,
        shortage: Shortage | None = None,
        idle_limit_s: float = IDLE_LIMIT_S,
        on_progress: OnProgress | None = None,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Connect to the host, started if need be, and wait until the model is loaded.

        Args:
            settings: which model, and how it is loaded.
            plan: how it is run in the memory that there is; where that was too much, the next host
                goes by a smaller one.
            shortage: what did not fit the last time, which is then not tried; it is told more.
            idle_limit_s: how long a host that is started here stays when no front end is left.
            on_progress: told of a download.
            environment: where the folders of socket and log are.

        Raises:
            ModelUnavailable: the same as in this process, or the host cannot be started.
        """
        self._fallback = Fallback(settings, plan)
        self._idle_limit_s = idle_limit_s
        self._on_progress = on_progress
        self._environment = environment
        self._shortage = shortage
        self._taken: list[Step] = []
        """Steps down for want of memory, so far."""
        self._notices = self._begin_smaller()
        self._link = self._open(never)

    @property
    def model(self) -> HostedModel:
        """The model that runs, with the window that there is memory for."""
        model, window = self._link.model, self._fallback.context_tokens
        if window is None:
            return model
        return replace(model, context_tokens=min(window, model.context_tokens))

    @property
    def plan(self) -> Plan | None:
        """How the model is run in the memory that there is; None where nobody has planned."""
        return self._fallback.plan

    def another(self) -> "HostEngine":
        """Connect once more, for another thread.

        Raises:
            ModelUnavailable: the host has ended, and cannot be started again.
        """
        return HostEngine(
            self._fallback.settings,
            plan=self.plan,
            idle_limit_s=self._idle_limit_s,
            environment=self._environment,
        )

    @property
    def pid(self) -> int:
        """The host that was spoken to last."""
        return self._link.pid

    def close(self) -> None:
        """Leave the host; branches are lost, snapshots are not."""
        self._link.close()

    @property
    def is_there(self) -> bool:
        """Whether the host is, as far as is known without asking it."""
        return not self._link.has_ended()

    def come_back(self, cancel: Cancel) -> None:
        """Start another host if this one has ended.

        Raises:
            Cancelled: nobody wants to wait for it; it goes on loading beside.
            ModelUnavailable: another cannot be started.
        """
        if not self.is_there:
            self._reopen(cancel, is_told=not self._link.close.alive)

    def find(
        self, tokens: Sequence[int], live: HostBranch | None = None, reuse: bool = True
    ) -> HostBranch:
        """Return the longest known line that `tokens` starts with and that leaves one to run.

        Raises:
            ModelUnavailable: the host had ended and another cannot be started.
        """
        self.come_back(never)
        try:
            return self._find(tokens, live, reuse)
        except EngineGone:  # it was gone before it was asked: nothing is lost but its memory
            self._reopen(never, is_told=False)
            return self._find(tokens, None, reuse)

    def branch(
        self,
        tokens: Sequence[int],
        cancel: Cancel,
        on_progress: Callable[[Prefill], None] | None = None,
        marks: Sequence[int] = (),
        live: HostBranch | None = None,
        places: Sequence[Place] = (),
    ) -> HostBranch:
        """Find the longest known line and prefill the rest of `tokens`.

        Raises:
            Cancelled: between two chunks; what was prefilled is kept and found the next time.
            EngineGone: the host ended.
        """
        branch = self.find(tokens, live)
        link = branch.link
        new, keep = tuple(tokens[len(branch) :]), tuple(marks)
        if not new:
            return branch
        request = wire.Append(link.number(), branch.number, new, keep, tuple(places))
        with self._smaller_next_time():
            for event in _events(branch, request, cancel):
                if isinstance(event, Prefill) and on_progress is not None:
                    on_progress(event)
        if len(branch) < len(tokens):
            raise Cancelled(f"stopped after {len(branch)} of {len(tokens)} prompt tokens")
        return branch

    def generate(
        self,
        branch: HostBranch,
        new_tokens: Sequence[int],
        sampling: SamplingOptions,
        *,
        max_new_tokens: int,
        cancel: Cancel,
        stop_ids: frozenset[int] = frozenset(),
        keep_ids: frozenset[int] = frozenset(),
        marks: Sequence[int] = (),
        thinking: ThinkingLimit | None = None,
        grammar: CallGrammar | None = None,
        places: Sequence[Place] = (),
    ) -> Iterator[Prefill | Token | GenerationEnd]:
        """Read `new_tokens` after those of the branch, write a reply, end with a GenerationEnd.

        Raises:
            EngineGone: the host ended; the next `find` goes on with another.
        """
        request = wire.Generate(
            number=branch.link.number(),
            branch=branch.number,
            tokens=tuple(new_tokens),
            sampling=sampling,
            max_new_tokens=max_new_tokens,
            stop_ids=tuple(sorted(stop_ids)),
            keep_ids=tuple(sorted(keep_ids)),
            marks=tuple(marks),
            thinking=thinking,
            grammar=grammar,
            places=tuple(places),
        )
        with self._smaller_next_time():
            for event in _events(branch, request, cancel):
                if isinstance(event, GenerationEnd) and self._notices:
                    event = replace(event, notices=(*self._notices, *event.notices))
                    self._notices.clear()
                yield event

    def fork(self, branch: HostBranch, reuse: bool = True) -> HostBranch:
        """Make a second line from here; without `reuse` nothing is kept of what it reads."""
        link = branch.link
        done = link.ask(wire.Fork(link.number(), branch.number, reuse))
        return HostBranch(link, done.branch, done.num_tokens)

    def snapshot(self, branch: HostBranch) -> None:
        """Keep this place among those that prompts are looked up in."""
        branch.link.ask(wire.TakeSnapshot(branch.link.number(), branch.number))

    def status(self) -> wire.HostStatus:
        """Ask the host how it is.

        Raises:
            EngineGone: it ended.
        """
        status = status_at(self._link.address)
        if status is None:
            raise self._link.gone()
        return status

    def _begin_smaller(self) -> list[str]:
        """Go down at once to where an earlier start ended; return what is to be said of that."""
        if self._shortage is None:
            return []
        self._taken, cost = self._fallback.repeat(self._shortage.steps())
        known = f"That is known from an earlier start; remove {self._shortage.file} to try more."
        return [f"{cost} {known}"] if cost else []

    @contextmanager
    def _smaller_next_time(self) -> Iterator[None]:
        """Ask for less of the next host if this one dies in mid-work: memory is the usual cause."""
        try:
            yield
        except EngineGone as error:
            if (cost := self._fallback.go_down("work")) is not None:
                self._notices.append(cost)
                if isinstance(error, OutOfMemory):
                    self._taken.append("work")
            raise

    def _find(self, tokens: Sequence[int], live: HostBranch | None, reuse: bool) -> HostBranch:
        link = self._link
        number = live.number if live is not None and live.link is link else None
        done = link.ask(wire.Find(link.number(), tuple(tokens), number, reuse))
        if live is not None and number == done.branch:
            live.num_tokens = done.num_tokens
            return live
        return HostBranch(link, done.branch, done.num_tokens)

    def _reopen(self, cancel: Cancel, is_told: bool) -> None:
        """Go on with another host; `is_told` is whether who asks knows that this one ended."""
        self._link = self._open(cancel)
        if not is_told:
            self._notices.append(REPLACED)

    def _open(self, cancel: Cancel) -> Link:
        """Connect, and wait until the model is there, loaded by a smaller plan if need be."""
        while True:
            try:
                link = self._open_as_planned(cancel)
            except TooLarge:
                cost = self._fallback.go_down("load")
                if cost is None:
                    raise
                self._notices.append(cost)
                self._taken.append("load")
            else:
                if self._shortage and self._taken:
                    self._shortage.keep(self._taken)
                return link

    def _open_as_planned(self, cancel: Cancel) -> Link:
        settings = self._fallback.settings
        address = address_of(settings, self._environment)
        for _ in range(NUM_TRIES):
            sock, is_new = find_or_start(settings, address, self._idle_limit_s, self._environment)
            link = Link(sock, address)
            try:
                link.wait_until_ready(self._on_progress, cancel)
            except EngineGone:
                if is_new:
                    break
            except BaseException:
                link.close()
                raise
            else:
                return link
        raise ModelUnavailable(f"The engine ended while it started; its log is {address.log}.")


def _events(
    branch: HostBranch, request: wire.Append | wire.Generate, cancel: Cancel
) -> Iterator[Prefill | Token | GenerationEnd]:
    """Send a request and yield what comes back; the host is told if nobody listens any more."""
    link = branch.link
    cancelled_at: float | None = None

    def poll() -> None:
        nonlocal cancelled_at
        if cancelled_at is not None:
            if time.monotonic() > cancelled_at + CANCEL_S:
                link.close()
                raise EngineGone(f"The engine's process (pid {link.pid}) does not stop.")
        elif cancel():
            link.send(wire.Cancel(request.number))
            cancelled_at = time.monotonic()

    branch.num_tokens = None
    link.send(request)
    try:
        while True:
            poll()
            match link.next_answer(request.number, poll):
                case wire.Chunk(num_done=num_done, num_total=num_total, elapsed_s=elapsed_s):
                    yield Prefill(num_done, num_total, elapsed_s)
                case wire.OneToken(id=token):
                    yield Token(token)
                case wire.End() as end:
                    branch.num_tokens = end.num_tokens
                    yield GenerationEnd(
                        end.stop_reason, end.usage, end.token_ids, end.notices, end.memory
                    )
                    return
    finally:
        link.forget(request.number)
        if branch.num_tokens is None and link.close.alive and cancelled_at is None:
            with suppress(EngineGone):  # why it went has been said already, or is next
                link.send(wire.Cancel(request.number))


def host_status(environment: Mapping[str, str] = os.environ) -> tuple[wire.HostStatus, ...]:
    """Ask every host of this user how it is."""
    found = (status_at(address) for address in addresses(environment))
    return tuple(status for status in found if status is not None)
