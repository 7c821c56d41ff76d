"""The stages of `gpu.py`: one line is read to the end of the window, and forks of it go on.

Everything goes through the engine, as the agent uses it. A stage keeps what it found at once and
ends when its time is over; nothing here knows which device or shape it runs on.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch

from evals.bench.meter import Meter
from evals.bench.notes import Clock, Notes
from evals.bench.roofline import Figure, Work, decode_work, prefill_work, seconds_of
from inference.branch import Branch
from inference.door import Token
from inference.engine import Engine
from inference.errors import Cancelled
from inference.messages import SamplingOptions
from inference.plan import GIB, Plan
from inference.sizes import PAGE_TOKENS
from inference.state import unpack

NUM_WRITTEN = 33
"""Tokens at each depth; the first needs no reading."""
NEW_TOKENS, TURN_TOKENS = 200, 4
"""Read and written in a turn."""
NUM_MESSAGES, NUM_FORKS = 5, 20
DECODE_SHARE = 0.15
"""Of the time that is left; a machine that writes a token a second is cut short."""
SETTLED = 5
"""Turns after which memory has to stay what it is."""
DECODE_GOALS = {"27b": 0.60, "35b-a3b": 0.35}
"""The share of the ceiling that decoding is to reach."""
GREEDY = SamplingOptions()
FULL_WINDOW = 262_144


@dataclass(frozen=True)
class Depths:
    """Where is measured what, in tokens that were read."""

    prefill: tuple[int, ...]
    decode: tuple[int, ...]
    warm: tuple[int, ...]
    turns: int
    end: int
    """Of the line; forks go on in what is left of the window."""

    @classmethod
    def of(cls, window: int) -> "Depths":
        """Return those of a window; in the full one they are 2K, 16K, 32K, 38K, 64K ..."""

        def at(num_thousand: int) -> int:
            return max(1, num_thousand * 1024 * window // FULL_WINDOW)

        end = window - PAGE_TOKENS
        return cls(
            (at(2), at(16), at(64), end), (at(32), at(128), end), (at(38), at(100)), at(32), end
        )

    @property
    def stops(self) -> list[int]:
        """All of them, rising."""
        return sorted({*self.prefill, *self.decode, *self.warm, self.turns, self.end})


@dataclass
class Stages:
    """One model and what is measured on it."""

    engine: Engine
    plan: Plan
    notes: Notes
    clock: Clock
    ids: Sequence[int]
    meter: Meter
    bytes_before: int
    """What was held before there was a model."""

    def ceiling(self, work: Work, num_tokens: int = 1) -> float:
        """Return tokens a second that the hardware allows for some work."""
        return num_tokens / self.notes.ceilings.seconds(work, self.engine.model.dtype)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.engine.model.device

    def run(self, depths: Depths, num_turns: int) -> None:
        """Go through all stages."""
        self.weights()
        self.engine.branch(self._message(0), self.clock.is_over)  # warm-up
        self.meter.forget_peak()
        line = self.engine.branch(self.ids[:1], self.clock.is_over)
        self.decode(line)
        reading = self.clock.share(0.75)  # the rest is for what happens at the end of the line
        prefill_s = 0.0
        for stop in depths.stops:
            started = time.perf_counter()
            self.read(line, stop, reading)
            prefill_s += time.perf_counter() - started
            if len(line) < stop:
                self.cut_short(line, stop, prefill_s)
                break
            if stop in depths.prefill:
                self.prefilled(line, prefill_s)
            if stop == depths.turns:
                self.turns(line, num_turns, reading.share(0.2))
            if stop in depths.warm:
                self.messages(line)
            if stop in depths.decode:
                self.decode(line)
        self.memory(line)
        self.forks(line)

    def weights(self) -> None:
        """Compare what the weights take with the plan."""
        planned = self.plan.weights_bytes + self.plan.ram_bytes
        self._note("weights beside plan", [100 * self.engine.model.weights_nbytes / planned], "%")

    def read(self, line: Branch, stop: int, clock: Clock) -> None:
        """Let the line read on, as far as time allows."""
        try:
            self.engine.branch(self.ids[:stop], clock.is_over, live=line)
        except Cancelled:
            return
        self._wait()

    def cut_short(self, line: Branch, stop: int, seconds: float) -> None:
        """Say that the line ends here, and take what can be taken."""
        self._late(f"{len(line):,} of {stop:,} tokens were read")
        self.prefilled(line, seconds)
        self.decode(line)

    def prefilled(self, line: Branch, seconds: float) -> None:
        """Keep how fast all was read until here."""
        depth = len(line)
        work = prefill_work(self.plan.footprint, depth, 0, "nf4", "int8")
        self._note("prefill", [depth / seconds], "tok/s", self.ceiling(work, depth), depth)

    def decode(self, line: Branch) -> None:
        """Write tokens on a fork, one after the other."""
        times = self._written(line, (), NUM_WRITTEN, self.clock.share(DECODE_SHARE))
        speeds = [1 / (after - before) for before, after in pairwise(times)]
        depth = 0 if len(line) == 1 else len(line)
        if not speeds:
            self._late(f"no token could be written after {depth:,}")
            return
        work = decode_work(self.plan.footprint, depth, "nf4", "int8")
        self._note("decode", speeds, "tok/s", self.ceiling(work), depth)
        if goal := DECODE_GOALS.get(self.plan.name):
            share = statistics.median(speeds) / self.ceiling(work)
            self._goal(f"decode at {depth:,} at {goal:.0%} of the ceiling", share >= goal)

    def messages(self, line: Branch) -> None:
        """Take the time from a new message to the first token of its answer."""
        waits = []
        for number in range(NUM_MESSAGES):
            started = time.perf_counter()
            if not (times := self._written(line, self._message(number), 1, self.clock)):
                self._late(f"{number} of {NUM_MESSAGES} messages after {len(line):,}")
                break
            waits.append(times[0] - started)
        if waits:
            self._note("warm time to first token", waits, "s", at=len(line))

    def turns(self, line: Branch, num_turns: int, clock: Clock) -> None:
        """Let forks read a message and answer it, and see whether memory grows."""
        held: list[int] = []
        while len(held) < num_turns and not clock.is_over():
            self._written(line, self._message(len(held)), TURN_TOKENS, clock, reuse=True)
            held.append(self.meter.held_bytes())
        if len(held) < num_turns:
            self._late(f"{len(held)} of {num_turns} turns")
        if len(held) > SETTLED:
            grown = max(held[SETTLED:]) - held[SETTLED - 1]
            name = f"growth over {len(held) - SETTLED} turns"
            self._note(name, [grown / 2**20], "MiB", at=len(line))
            self._goal("no growth", grown <= 0)

    def memory(self, line: Branch) -> None:
        """Compare the most that was allocated with the plan for as many tokens."""
        planned = replace(self.plan, context_tokens=len(line)).needed_bytes
        used = self.meter.peak_bytes() - self.bytes_before
        self._note("peak of memory", [used / GIB], "GiB", at=len(line))
        self._note("peak beside plan", [100 * used / planned], "%", at=len(line))
        self._goal("planned within 3 %", abs(used / planned - 1) <= 0.03)

    def forks(self, line: Branch) -> None:
        """Take the times of a fork, a snapshot's return, and of the way to RAM and back."""
        depth, state = len(line), line.state
        snapshot = state.snapshot(line.logits)
        first = (depth - 1) // PAGE_TOKENS * PAGE_TOKENS
        packed = snapshot.pack(first)
        pool, layout = state.table.pool, state.layout
        before = replace(
            snapshot, tokens=snapshot.tokens[:first], table=snapshot.table.share(first)
        )
        ways: dict[str, Callable[[], object]] = {
            "fork": lambda: self.engine.fork(line),
            "restore": snapshot.restore,
            "state to RAM": lambda: snapshot.pack(first),
            "state from RAM": lambda: unpack([packed], layout, pool, before),
        }
        for name, way in ways.items():
            seconds = seconds_of(way, self.device, NUM_FORKS)
            self._note(name, [1000 * each for each in seconds], "ms", at=depth)

    def _written(
        self, line: Branch, new: Sequence[int], num_tokens: int, clock: Clock, reuse: bool = False
    ) -> list[float]:
        """Let a fork read `new` and write while there is time; return when each token was there."""
        fork = self.engine.fork(line)
        fork.reuse = reuse
        replies = self.engine.generate(
            fork, new, GREEDY, max_new_tokens=num_tokens, cancel=clock.is_over
        )
        return [time.perf_counter() for event in replies if isinstance(event, Token)]

    def _message(self, number: int) -> Sequence[int]:
        """Return the tokens of a message, another one each time."""
        return [
            (token + number + 1) % self.engine.model.vocab_size for token in self.ids[:NEW_TOKENS]
        ]

    def _late(self, words: str) -> None:
        self.notes.fail(f"{self.plan.name}: time was over: {words}")

    def _note(
        self, name: str, samples: Sequence[float], unit: str,
        ceiling: float | None = None, at: int | None = None,
    ) -> None:  # fmt: skip
        self.notes.note(Figure.of(f"{self.plan.name} {name}", samples, unit, ceiling, at))

    def _goal(self, name: str, is_met: bool) -> None:
        """Keep whether a goal is met; they are those of a GPU."""
        if self.meter.is_exact:
            self.notes.goal(f"{self.plan.name} {name}", is_met)

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
