"""Whose turn it is in a host: all that is asked waits already, and a clock ticks with each look.

So neither a thread that stands still nor a slow step changes what comes after what.
"""

import itertools
import threading
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from inference import host_worker, wire
from inference.engine import Engine
from inference.gain import Gain
from inference.host_worker import Seat, Worker
from inference.messages import SamplingOptions
from inference.model import Model
from inference.watchdog import Watchdog
from tests.inference.workers import work_until

GREEDY = SamplingOptions()
PROMPT = tuple(range(1, 41))
Answers = list[tuple[int, wire.Outcome]]
"""Which front end was told what, in this order."""


@pytest.fixture(autouse=True)
def _even_steps_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(monotonic=itertools.count().__next__)
    monkeypatch.setattr(host_worker, "time", clock)
    monkeypatch.setattr(Gain, "pays", lambda *_: False)


def answers_to(model: Model, *asked: Sequence[wire.Work]) -> Answers:
    """Let a worker answer several front ends, each of whom has asked for all of this."""
    worker, ended, answers = Worker(Watchdog(60.0)), threading.Semaphore(0), Answers()

    def seat_of(number: int) -> Seat:
        def take(answer: wire.Outcome) -> None:
            answers.append((number, answer))
            if isinstance(answer, wire.End):
                ended.release()

        return Seat(take, lambda: True)

    for number, requests in enumerate(asked):
        seat = seat_of(number)
        for request in requests:
            worker.submit(seat, request)
    work_until(ended, len(asked), worker, Engine(model, cache_bytes=0, prefill_chunk=8))
    return answers


def reply(prompt: Sequence[int], num_new: int) -> tuple[wire.Work, wire.Work]:
    tokens = tuple(prompt)
    return wire.Find(1, tokens, None), wire.Generate(2, 1, tokens, GREEDY, num_new)


def test_front_ends_take_turns(tiny_hybrid: Model) -> None:
    answers = answers_to(tiny_hybrid, reply(PROMPT, 30), reply(PROMPT[::-1], 30))
    whose = [number for number, answer in answers if isinstance(answer, wire.OneToken)]
    ahead = [2 * whose[:num].count(0) - num for num in range(len(whose))]
    assert len(whose) == 60
    assert max(map(abs, ahead)) <= 2


def test_a_long_prompt_does_not_hold_up_the_reply_of_another(tiny_hybrid: Model) -> None:
    long = tuple(1 + n % 90 for n in range(1000))
    answers = answers_to(tiny_hybrid, reply(long, 1), reply(PROMPT, 20))
    (end,) = (at for at, one in enumerate(answers) if one[0] == 1 and isinstance(one[1], wire.End))
    chunks = [
        at for at, one in enumerate(answers) if one[0] == 0 and isinstance(one[1], wire.Chunk)
    ]
    assert sum(at < end for at in chunks) < len(chunks) / 2
