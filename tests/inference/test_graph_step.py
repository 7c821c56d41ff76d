"""Few tokens read between buffers that never move are read as the module reads them."""

import copy
import gc
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any
from weakref import ref

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from inference.experts import _gathered, _one_by_one
from inference.frame import Form, Made
from inference.graph_step import MAX_ROWS, GraphStep
from inference.model import Model, _notice
from inference.page_kernels import Extent, KernelPages, Pages, PlainPages
from inference.page_trial import Maker
from inference.pages import PageTable
from inference.quantize import EXPERT_MATRICES
from inference.stack import Workspace, new_stack
from inference.together import Together
from tests.inference.recorder import Recorder

WIDTHS = (40, 1, 1, 3, 1, 16, 16, 1, 30, 1, 2, 1, 180, 1, 1)
TOKENS = random.Random(4).choices(range(97), k=sum(WIDTHS) + 40)
GENEROUS = {"rtol": 1e-4, "atol": 1e-4}


class Launched:
    """Pages whose calls are kernels to a recorder, as they are on a GPU."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages
        self.recorder: Recorder | None = None

    def fill(self, tables: Sequence[PageTable]) -> None:
        self._pages.fill(tables)

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        self._launch(lambda: self._pages.write(layer, keys, values))

    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        return self._launch(lambda: self._pages.attend(layer, query, scale))

    def _launch(self, kernel: Callable[[], Any]) -> Any:
        return kernel() if self.recorder is None else self.recorder.launch(kernel)


class Device:
    """Has graphs: what a forward launches is done again by itself, and nothing else is."""

    def __init__(self, model: Model, make: Maker) -> None:
        self._pool, self._make = model.pool, make
        self._pages: list[Launched] = []
        self.num_recorded = 0

    def new_pages(self, form: Form) -> Pages:
        extent = Extent(form.num_lines, form.num_tokens, max_pages=8, num_query_heads=4)
        self._pages.append(Launched(self._make(self._pool, extent)))
        return self._pages[-1]

    def record(self, forward: Callable[[], Made]) -> Callable[[], Made]:
        forward()
        recorder = Recorder()
        for pages in self._pages:
            pages.recorder = recorder
        try:
            with recorder:
                made = forward()
        finally:
            for pages in self._pages:
                pages.recorder = None
        self.num_recorded += 1
        return partial(recorder.replay, made)


def pair(
    module: PreTrainedModel, make: Maker = PlainPages, **options: Any
) -> tuple[Model, Model, Device]:
    """Return a model with frames, one without, and what the first one runs on."""
    framed, plain = (Model(copy.deepcopy(module), fast_kernels=False, **options) for _ in range(2))
    device = Device(framed, make)
    framed._step = GraphStep(framed.module, framed.layout, device.new_pages, device.record)
    return framed, plain, device


@pytest.mark.parametrize("kv", ["16bit", "int8"])
@pytest.mark.parametrize("family", ["qwen3_5", "qwen3_5_moe"])
def test_every_width_gives_the_logits_of_the_module(family, kv, modules) -> None:
    framed, plain, device = pair(modules[family], kv=kv)
    states = framed.new_state(), plain.new_state()
    start = 0
    for width in WIDTHS:
        tokens = TOKENS[start : start + width]
        logits, expected = (
            model.forward_all(tokens, state)
            for model, state in zip((framed, plain), states, strict=True)
        )
        torch.testing.assert_close(logits, expected, **GENEROUS)
        start += width
    assert device.num_recorded == len({width for width in WIDTHS if width <= MAX_ROWS})


@pytest.mark.parametrize("kv", ["16bit", "int8"])
def test_kernels_find_pages_when_they_are_launched_again(kv, modules) -> None:
    pytest.importorskip("triton", minversion="3.7", reason="needs Triton's interpreter, 3.7")
    framed, plain, device = pair(modules["qwen3_5"], KernelPages, kv=kv)
    states = framed.new_state(), plain.new_state()
    for model, state in zip((framed, plain), states, strict=True):
        model.forward(TOKENS[:254], state)
    for tokens in (TOKENS[254:256], TOKENS[256:258], TOKENS[258:259], TOKENS[259:260]):
        logits = framed.forward_all(tokens, states[0])  # over the end of a page
        torch.testing.assert_close(logits, plain.forward_all(tokens, states[1]), **GENEROUS)
    assert device.num_recorded == 2


def test_only_what_was_recorded_is_done_again(modules, monkeypatch) -> None:
    framed, plain, _ = pair(modules["qwen3_5"])
    state = framed.new_state()
    framed.forward(TOKENS[:20], state)
    framed.forward(TOKENS[20:21], state)
    monkeypatch.setattr(framed.module.model.norm, "forward", None)  # Python is not asked again
    logits = framed.forward(TOKENS[21:22], state)
    expected = plain.forward(TOKENS[:22], plain.new_state())
    torch.testing.assert_close(logits, expected, **GENEROUS)


def test_lines_that_take_turns_do_not_meet(modules) -> None:
    framed, plain, _ = pair(modules["qwen3_5"])
    lines = [TOKENS[:50], [*TOKENS[:30], *TOKENS[60:80]]]  # the second forks off the first
    first = framed.new_state()
    framed.forward(TOKENS[:30], first)
    kept = first.snapshot()
    states = first, kept.restore()
    for number in range(30, 50):
        for line, state in zip(lines, states, strict=True):
            logits = framed.forward([line[number]], state)
            if number in (30, 49):
                expected = plain.forward(line[: number + 1], plain.new_state())
                torch.testing.assert_close(logits, expected, **GENEROUS)
    again = framed.forward(TOKENS[30:50], kept.restore())  # nothing was written over
    torch.testing.assert_close(again, plain.forward(lines[0], plain.new_state()), **GENEROUS)


@pytest.mark.parametrize("num_back", [1, 5, 9])
def test_what_is_taken_back_was_never_read(num_back, modules) -> None:
    framed, plain, _ = pair(modules["qwen3_5"])
    state = framed.new_state()
    framed.forward(TOKENS[:20], state)
    state.allow_rollback(10)
    framed.forward(TOKENS[20:21], state)
    framed.forward([*TOKENS[21:25], 5, 5, 5, 5, 5], state)
    state.rollback(num_back)
    left = [*TOKENS[:25], 5, 5, 5, 5, 5][: 30 - num_back]
    logits = framed.forward(TOKENS[40:41], state)
    expected = plain.forward([*left, TOKENS[40]], plain.new_state())
    torch.testing.assert_close(logits, expected, **GENEROUS)


def test_a_snapshot_is_of_its_moment(modules) -> None:
    framed, plain, _ = pair(modules["qwen3_5"])
    state = framed.new_state()
    framed.forward(TOKENS[:20], state)
    framed.forward(TOKENS[20:21], state)
    kept = state.snapshot()
    stored = [tensor.clone() for states in kept.linear for tensor in states.tensors]
    for token in TOKENS[21:30]:
        framed.forward([token], state)
    held = [tensor for states in kept.linear for tensor in states.tensors]
    assert all(map(torch.equal, held, stored))
    assert all(tensor.untyped_storage().nbytes() == tensor.nbytes for tensor in held)
    again = framed.forward(TOKENS[21:22], kept.restore())
    expected = plain.forward(TOKENS[:22], plain.new_state())
    torch.testing.assert_close(again, expected, **GENEROUS)


def test_a_line_that_ends_leaves_no_states_behind(modules) -> None:
    framed, _, _ = pair(modules["qwen3_5"])
    state = framed.new_state()
    for tokens in (TOKENS[:20], TOKENS[20:21]):
        framed.forward(tokens, state)
    states = [ref(slot.states) for slot in state.slots.values()]
    del state
    gc.collect()
    assert [left for left in states if left() is not None] == []


def test_lines_together_read_what_each_reads_alone(modules) -> None:
    framed, plain, device = pair(modules["qwen3_5"], kv="int8")
    lines = [TOKENS[:20], TOKENS[5:80], TOKENS[9:10]]
    states = [framed.new_state() for _ in lines]
    for line, state in zip(lines, states, strict=True):
        framed.forward(line, state)
    for number in (2, 3, 3, 2, 3):
        tokens = [line[0] for line in lines[:number]]
        logits = Together(framed).forward(tokens, states[:number])
        for i, token in enumerate(tokens):
            lines[i] = [*lines[i], token]
            expected = plain.forward(lines[i], plain.new_state())
            torch.testing.assert_close(logits[i], expected, **GENEROUS)
    assert device.num_recorded == 2  # for two lines, and for four, which do for fewer


def test_what_a_draft_layer_wants_is_what_the_module_shows(modules) -> None:
    framed, plain, _ = pair(modules["qwen3_5"])
    states = framed.new_state(), plain.new_state()
    for model, state in zip((framed, plain), states, strict=True):
        model.show_hidden()
        model.forward(TOKENS[:20], state)
        model.forward(TOKENS[20:23], state)
    torch.testing.assert_close(states[0].hidden, states[1].hidden, **GENEROUS)


@pytest.mark.parametrize(
    ("before", "tokens", "stops"), [(0, 1, ()), (20, MAX_ROWS + 1, ()), (20, 4, (2,))]
)
def test_what_is_no_form_is_left_to_the_module(before, tokens, stops, modules) -> None:
    framed, plain, device = pair(modules["qwen3_5"])
    state = framed.new_state()
    if before:
        framed.forward(TOKENS[:before], state)
    *_, logits = framed.forward_past(TOKENS[before : before + tokens], state, stops)
    assert device.num_recorded == 0
    expected = plain.forward(TOKENS[: before + tokens], plain.new_state())
    torch.testing.assert_close(logits, expected, **GENEROUS)


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_experts_are_gathered_without_asking_which_they_are(kind, modules) -> None:
    layer = copy.deepcopy(modules["qwen3_5_moe"]).model.layers[0].mlp.experts
    workspace = Workspace()
    for name in EXPERT_MATRICES:
        weights = torch.randn(4, 64, 64)
        stack = new_stack(kind, *weights.shape, workspace)
        for number, weight in enumerate(weights):
            stack.put(number, [weight])
        delattr(layer, name)
        setattr(layer, name, stack)
    layer._apply_gate = lambda inner: inner.tanh()
    hidden, shares = torch.randn(3, 64), torch.rand(3, 2)
    index = torch.tensor([[0, 1], [1, 3], [2, 0]])
    recorder = Recorder()
    with torch.inference_mode():
        _gathered(layer, hidden, index, shares)  # what codes mean is made once
    with torch.inference_mode(), recorder:
        made = _gathered(layer, hidden, index, shares)
    index.copy_(torch.tensor([[3, 2], [3, 0], [1, 2]]))  # in place, as a graph is told
    with torch.inference_mode():
        expected = _one_by_one(layer, hidden, index, shares)
        torch.testing.assert_close(recorder.replay(made), expected, **GENEROUS)


def test_a_recording_that_says_something_else_is_not_used(modules, caplog) -> None:
    framed, plain, device = pair(modules["qwen3_5"])

    def record(forward: Callable[[], Made]) -> Callable[[], Made]:
        made = device.record(forward)
        return lambda: Made(made().logits * 1.1, made().hidden)

    framed._step._record = record
    state = framed.new_state()
    for start, end in ((0, 20), (20, 21), (21, 22)):
        logits = framed.forward(TOKENS[start:end], state)
    assert caplog.text.count("it is 0.1 off here") == 1
    torch.testing.assert_close(logits, plain.forward(TOKENS[:22], plain.new_state()), **GENEROUS)


def test_states_in_16_bits_stay_so_when_tokens_are_taken_back(modules) -> None:
    framed, _, _ = pair(modules["qwen3_5"], recurrent_dtype=torch.float16)
    state = framed.new_state()
    framed.forward(TOKENS[:20], state)
    size = state.snapshot().state_nbytes
    state.allow_rollback(4)
    framed.forward(TOKENS[20:24], state)
    state.rollback(2)
    assert state.snapshot().state_nbytes == size
    framed.forward(TOKENS[22:23], state)
    assert state.snapshot().restore().snapshot().state_nbytes == size


def test_a_line_that_ends_leaves_no_pages_behind(modules) -> None:
    framed, _, _ = pair(modules["qwen3_5"], KernelPages)
    pytest.importorskip("triton", minversion="3.7", reason="needs Triton's interpreter, 3.7")
    state = framed.new_state()
    for tokens in (TOKENS[:20], TOKENS[20:21]):
        framed.forward(tokens, state)
    page = ref(state.table.pages[0])
    del state
    gc.collect()
    assert page() is None


def test_time_to_record_is_no_time_to_read(modules) -> None:
    framed, _, _ = pair(modules["qwen3_5"])
    state = framed.new_state()
    framed.forward(TOKENS[:20], state)
    assert framed._step.prepared_s == 0
    began, clock, late = time.perf_counter(), framed.clock(), time.perf_counter()
    framed.forward(TOKENS[20:21], state)
    soon, clock, passed = time.perf_counter(), framed.clock() - clock, time.perf_counter()
    assert framed._step.prepared_s > 0
    assert soon - late <= clock + framed._step.prepared_s + 1e-6
    assert clock + framed._step.prepared_s <= passed - began + 1e-6


def test_that_kernels_were_compiled_is_told_where_it_took_long() -> None:
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert "compiled and tried in 21 s" in _notice(None, gpu, 20.7)
    assert _notice(None, gpu, 0.4) == _notice(None, cpu, 20.7) == ""


def test_what_cannot_be_recorded_is_called(modules, caplog) -> None:
    framed, plain, device = pair(modules["qwen3_5"])
    norm = framed.module.model.norm
    whole = norm.forward

    def asking(x: Tensor) -> Tensor:
        assert x.sum().item() != 0  # waits for the device
        return whole(x)

    norm.forward = asking
    state = framed.new_state()
    for start, end in ((0, 20), (20, 21), (21, 22), (22, 25)):
        logits = framed.forward(TOKENS[start:end], state)
    assert device.num_recorded == 0
    assert caplog.text.count("recording it failed (item asks the device)") == 2  # of each form
    torch.testing.assert_close(logits, plain.forward(TOKENS[:25], plain.new_state()), **GENEROUS)


@pytest.mark.parametrize(
    "asking",
    [
        lambda x: x.tolist(),
        lambda x: x[x > 0],
        lambda x: torch.where(x > 0),
        lambda x: x.unique(),
        lambda x: x.cpu(),
        lambda x: bool(x.sum() > 0),
        lambda x: x.repeat_interleave((x > 0).long()),
        lambda x: x + torch.tensor([1.0, 2.0]),
    ],
)
def test_whatever_asks_the_device_cannot_be_recorded(asking) -> None:
    x = torch.ones(2)
    with torch.inference_mode(), pytest.raises(RuntimeError, match="asks the device"), Recorder():
        asking(x)
