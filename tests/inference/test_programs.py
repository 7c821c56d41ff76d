"""Whatever is done to lines of tokens, what they say is what one run of transformers says.

A program is a random row of operations on a few conversations that share one engine. At its end
every conversation's tokens go through transformers' own model in one run: each token that was
generated greedily must be the best one there, and the last logits must be equal.
"""

import copy
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from inference.branch import Branch
from inference.door import GenerationEnd
from inference.engine import Engine
from inference.errors import Cancelled
from inference.identity import Identity
from inference.linear_state import MAX_ROLLBACK
from inference.messages import SamplingOptions
from inference.model import Model
from inference.state import HybridState
from inference.store import Store
from tests.inference.conftest import EXPERTS

TOLERANCE = 1e-4
ROUNDING = 1e-2
"""The same where a last bit may round a key to the next step."""
IDENTITY = Identity(
    model="tiny", revision="", quantization="", kv_dtype="", state_dtype="", template="", shape=""
)
OPERATIONS = (
    "append",
    "append",
    "generate",
    "generate",
    "fork",
    "rewind",
    "rollback",
    "snapshot",
    "evict",
    "restart",
    "cancel",
)
LENGTHS = (0, 1, 2, 3, 5, 17, 40, 62, 63, 64, 65, 66, 100, 127, 128, 129, 191, 255, 256, 257)
Step = tuple[str, int, int]
"""Operation, which conversation, how much of it."""

programs = st.lists(
    st.tuples(st.sampled_from(OPERATIONS), st.integers(0, 2), st.sampled_from(LENGTHS)),
    min_size=3,
    max_size=9,
)


@dataclass
class Line:
    """A conversation: its tokens, which of them were generated, and its live branch if any."""

    tokens: list[int] = field(default_factory=list)
    generated: set[int] = field(default_factory=set)
    branch: Branch | None = None

    def cut(self, length: int) -> None:
        del self.tokens[length:]
        self.generated = {index for index in self.generated if index < length}


class Run:
    """Carries a program out."""

    def __init__(self, model: Model, folder: Path) -> None:
        self.model, self.folder = model, folder
        self.notices: list[str] = []
        self.engine = self.open()
        self.lines = [Line()]
        self.num_drawn = 0

    def open(self) -> Engine:
        store = Store(self.folder, IDENTITY, 1 << 30, self.notices.append)
        return Engine(self.model, cache_bytes=1 << 30, prefill_chunk=64, store=store)

    def step(self, operation: str, which: int, amount: int) -> None:
        line = self.lines[which % len(self.lines)]
        getattr(self, operation)(line, amount)

    def append(self, line: Line, amount: int) -> None:
        self.extend(line, amount)
        if line.tokens:
            self.read(line, marks=(len(line.tokens) - amount // 2,))

    def extend(self, line: Line, amount: int) -> None:
        for _ in range(amount):
            self.num_drawn += 1
            line.tokens.append((7 * self.num_drawn**2 + 3 * self.num_drawn) % 97)

    def read(self, line: Line, marks: tuple[int, ...] = ()) -> Branch:
        line.branch = self.engine.branch(line.tokens, lambda: False, marks=marks, live=line.branch)
        return line.branch

    def generate(self, line: Line, amount: int) -> None:
        if not line.tokens:
            return
        branch = self.engine.find(line.tokens, line.branch)
        line.branch = branch
        *_, end = self.engine.generate(
            branch,
            line.tokens[len(branch) :],
            SamplingOptions(),
            max_new_tokens=min(amount, 20),
            cancel=lambda: False,
        )
        assert isinstance(end, GenerationEnd)
        assert end.usage.num_prompt == len(line.tokens)
        first = len(line.tokens)
        line.tokens += end.token_ids
        line.generated |= set(range(first, len(line.tokens)))

    def fork(self, line: Line, _amount: int) -> None:
        if line.tokens and len(self.lines) < 3:
            branch = self.engine.fork(self.read(line))
            self.lines.append(Line(list(line.tokens), set(line.generated), branch))

    def rewind(self, line: Line, amount: int) -> None:
        line.cut(max(0, len(line.tokens) - amount))

    def rollback(self, line: Line, amount: int) -> None:
        """Read some tokens that may be taken back, and take some of them back."""
        if not line.tokens:
            return
        branch = self.read(line)
        num_read = amount % (MAX_ROLLBACK + 1)
        branch.state.allow_rollback(num_read)
        start = len(line.tokens)
        self.extend(line, num_read)
        half = start + num_read // 2
        for part in (line.tokens[start:half], line.tokens[half:]):
            if part:
                branch.logits = self.model.forward(part, branch.state)
        num_back = (amount * 7) % (num_read + 1)
        branch.state.rollback(num_back)
        if num_back:
            branch.logits = None
        line.cut(len(line.tokens) - num_back)

    def snapshot(self, line: Line, _amount: int) -> None:
        if line.tokens:
            self.engine.snapshot(self.read(line))

    def evict(self, _line: Line, amount: int) -> None:
        budget, self.engine.snapshots.budget_bytes = self.engine.snapshots.budget_bytes, amount * 99
        self.engine.snapshots.shrink()
        self.engine.snapshots.budget_bytes = budget

    def restart(self, _line: Line, amount: int) -> None:
        if amount % 2:
            self.engine.shelf.flush(timeout_s=20)
        self.engine.close()
        self.engine = self.open()
        for line in self.lines:
            line.branch = None

    def cancel(self, line: Line, amount: int) -> None:
        self.extend(line, amount)
        looks = iter(range(amount % 3, -1, -1))
        if line.tokens:
            try:
                line.branch = self.engine.branch(
                    line.tokens, lambda: next(looks, 0) == 0, live=line.branch
                )
            except Cancelled:
                line.branch = None

    def check(self, oracle: Callable[..., Any], tolerance: float) -> None:
        for line in self.lines:
            if not line.tokens:
                continue
            branch = self.read(line)
            if branch.logits is None:  # taken back to where nobody looked ahead
                line.branch = None
                branch = self.read(line)
            with torch.inference_mode():
                logits = oracle(input_ids=torch.tensor([line.tokens])).logits[0]
            assert (branch.logits - logits[-1]).abs().max() < tolerance
            for index in line.generated:
                best = logits[index - 1]
                assert best[line.tokens[index]] > best.max() - tolerance, index
        self.engine.close()
        assert not self.notices


def run_program(model: Model, steps: list[Step], tolerance: float = TOLERANCE) -> None:
    folder = Path(tempfile.mkdtemp(dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
    try:
        run = Run(model, folder)
        for step in steps:
            run.step(*step)
        run.check(model.oracle, tolerance)
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module", params=["qwen3_5", EXPERTS])
def calm_model(request, make_module) -> Model:
    """A model whose logits differ by less than 1e-5 from float64's: weights are smaller."""
    module = calmed(make_module(request.param))
    model = Model(copy.deepcopy(module))
    model.oracle = module
    return model


def calmed(module: PreTrainedModel) -> PreTrainedModel:
    with torch.no_grad():
        for weight in module.parameters():
            if weight.dim() > 1:
                weight.mul_(0.4)
    return module


@pytest.fixture(scope="module", params=["int8", pytest.param("int4", marks=pytest.mark.slow)])
def model_in_few_bits(request, make_module) -> Model:
    """One whose keys and values are rounded; no other engine does it alike, so it is compared with
    itself, reading all at once."""
    model = Model(calmed(make_module("qwen3_5")), kv=request.param)

    def at_once(input_ids: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=[model.forward_all(input_ids[0].tolist(), model.new_state())])

    model.oracle = at_once
    return model


SETTINGS = {
    "deadline": None,
    "database": None,
    "derandomize": True,
    "phases": (Phase.explicit, Phase.generate, Phase.shrink),
    "suppress_health_check": list(HealthCheck),
}


@settings(max_examples=150, **SETTINGS)
@given(steps=programs)
def test_programs_say_what_one_run_says(calm_model: Model, steps: list[Step]) -> None:
    run_program(calm_model, steps)


@pytest.mark.slow
@settings(max_examples=400, **(SETTINGS | {"derandomize": False}))
@given(steps=programs)
def test_many_programs_say_what_one_run_says(calm_model: Model, steps: list[Step]) -> None:
    run_program(calm_model, steps)


@settings(max_examples=6, **SETTINGS)
@given(steps=programs)
def test_programs_in_few_bits_say_what_reading_at_once_says(
    model_in_few_bits: Model, steps: list[Step]
) -> None:
    run_program(model_in_few_bits, steps, ROUNDING)


@pytest.mark.slow
@settings(max_examples=60, **SETTINGS)
@given(steps=programs)
def test_many_programs_in_few_bits_say_what_reading_at_once_says(
    model_in_few_bits: Model, steps: list[Step]
) -> None:
    run_program(model_in_few_bits, steps, ROUNDING)


def test_a_broken_rollback_would_be_caught(
    calm_model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recurrent state is left as it was, as transformers' own `crop` does."""
    original = HybridState.rollback

    def without_linear(state, num_tokens):
        states = {index: slot.states for index, slot in state.slots.items()}
        original(state, num_tokens)
        for index, slot in state.slots.items():
            slot.states = states[index]

    monkeypatch.setattr(HybridState, "rollback", without_linear)
    with pytest.raises(AssertionError):
        run_program(calm_model, [("append", 0, 100), ("rollback", 0, 40), ("append", 0, 5)])
