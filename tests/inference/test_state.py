"""A snapshot is what the state was, whatever happens to the state, and shares what it can."""

import copy
from dataclasses import replace

import pytest
import torch
from transformers import Qwen2Config

from inference.errors import DamagedState
from inference.linear_state import Inputs
from inference.model import Model
from inference.packed import LinearStates
from inference.slabs import PagePool
from inference.state import HybridState, Layout, Snapshot, unpack
from tests.inference.conftest import EXPERTS

TOKENS = tuple((7 * i * i + 3 * i + 1) % 97 for i in range(400))


KINDS = ("qwen3_5", EXPERTS, "qwen3", "int8", pytest.param("int4", marks=pytest.mark.slow))


@pytest.fixture(scope="module", params=KINDS)
def tiny_model(request, modules):
    """Return a model of each family, and the one without linear layers in 8 and in 4 bits; for
    hybrids in few bits see test_programs.py."""
    if request.param in modules:
        return Model(copy.deepcopy(modules[request.param]))
    return Model(copy.deepcopy(modules["qwen3"]), kv=request.param)


def close(left, right):
    torch.testing.assert_close(left, right, rtol=2e-3, atol=2e-3)


def contents(snapshot: Snapshot) -> list[torch.Tensor]:
    """Copy all that a snapshot can see."""
    seen = [tensor.clone() for states in snapshot.linear for tensor in states.tensors]
    return [*seen, snapshot.table.copy_out(0, len(snapshot))]


def same(left: list[torch.Tensor], right: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def test_reading_in_two_parts_gives_the_logits_of_reading_at_once(tiny_model: Model) -> None:
    whole = tiny_model.forward_all(TOKENS[:90], tiny_model.new_state())
    state = tiny_model.new_state()
    parts = [
        tiny_model.forward_all(TOKENS[:33], state),
        tiny_model.forward_all(TOKENS[33:90], state),
    ]
    close(torch.cat(parts), whole)
    assert state.tokens == list(TOKENS[:90])


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129])
def test_a_restored_snapshot_goes_on_as_one_run_would(tiny_model: Model, cut: int) -> None:
    expected = tiny_model.forward(TOKENS[:140], tiny_model.new_state())
    state = tiny_model.new_state()
    tiny_model.forward(TOKENS[:cut], state)
    snapshot = state.snapshot()
    tiny_model.forward((7, 7, 7), state)  # the original goes on; the snapshot must not
    close(tiny_model.forward(TOKENS[cut:140], snapshot.restore()), expected)


STOPS = (1, 2, 63, 64, 65, 127, 255, 256, 257, 300)


def test_snapshots_on_the_way_of_a_forward_are_those_of_stopping_there(tiny_model: Model) -> None:
    state = tiny_model.new_state()
    tiny_model.forward(TOKENS[:30], state)
    logits = tiny_model.forward_past(TOKENS[30:370], state, STOPS)
    snapshots = [state.snapshot(row, 30 + n) for row, n in zip(logits, STOPS, strict=False)]
    before = [contents(snapshot) for snapshot in snapshots]
    tiny_model.forward(TOKENS[370:], state)  # the original goes on, in the same pages
    expected = tiny_model.forward(TOKENS[:390], tiny_model.new_state())
    for stop, snapshot, row, seen in zip(STOPS, snapshots, logits, before, strict=False):
        assert snapshot.tokens == TOKENS[: 30 + stop]
        assert same(contents(snapshot), seen)
        close(row, tiny_model.forward(TOKENS[: 30 + stop], tiny_model.new_state()))
        close(tiny_model.forward(TOKENS[30 + stop : 390], snapshot.restore()), expected)
    close(tiny_model.forward(TOKENS[:390], tiny_model.new_state()), expected)


def test_stops_change_nothing_of_the_forward_that_passes_them(tiny_model: Model) -> None:
    state = tiny_model.new_state()
    *_, last = tiny_model.forward_past(TOKENS, state, STOPS)
    close(last, tiny_model.forward(TOKENS, tiny_model.new_state()))
    assert tiny_model.pool.num_pages  # the state is alive
    with pytest.raises(ValueError, match="kept nothing of"):
        state.snapshot(None, 77)


def test_what_is_taken_back_takes_the_stops_with_it(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:20], state)
    state.allow_rollback(40)
    tiny_hybrid.forward_past(TOKENS[20:60], state, (10, 30))
    state.rollback(25)
    close(
        tiny_hybrid.forward(TOKENS[35:50], state),
        tiny_hybrid.forward(TOKENS[:50], tiny_hybrid.new_state()),
    )
    with pytest.raises(ValueError, match="kept nothing of"):
        state.snapshot(None, 30)


def test_nothing_that_happens_later_changes_a_snapshot(tiny_model: Model) -> None:
    state = tiny_model.new_state()
    tiny_model.forward(TOKENS[:70], state)
    snapshot = state.snapshot()
    before = contents(snapshot)
    tiny_model.forward(TOKENS[70:71], state)
    tiny_model.forward(TOKENS[71:330], state)  # past the end of the buffer
    one, two = snapshot.restore(), snapshot.restore()
    tiny_model.forward((1,), one)
    tiny_model.forward((2, 3, 4), two)
    assert same(contents(snapshot), before)
    assert snapshot.tokens == TOKENS[:70]


def test_two_branches_of_a_snapshot_do_not_see_each_other(tiny_model: Model) -> None:
    state = tiny_model.new_state()
    tiny_model.forward(TOKENS[:50], state)
    snapshot = state.snapshot()
    one, two = snapshot.restore(), snapshot.restore()
    for token in (5, 6, 7):
        tiny_model.forward((token,), one)
        tiny_model.forward((token + 20,), two)
    for branch, tail in ((one, (5, 6, 7)), (two, (25, 26, 27))):
        expected = tiny_model.forward((*TOKENS[:50], *tail, 9), tiny_model.new_state())
        close(tiny_model.forward((9,), branch), expected)


def test_pages_are_shared_until_a_second_branch_appends(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:300], state)
    snapshot = state.snapshot()
    del state
    whole, part = snapshot.table.pages
    one, two = snapshot.restore(), snapshot.restore()
    tiny_hybrid.forward((1,), one)
    assert one.table.pages == (whole, part), "the first to go on appends in place"
    tiny_hybrid.forward((2,), two)
    assert two.table.pages[0] is whole
    assert two.table.pages[1] is not part, "the second copies the page that it writes to"


def test_a_fork_costs_a_state_and_a_page(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS * 5, state)
    num_pages = tiny_hybrid.pool.num_pages
    forks = [state.snapshot().restore() for _ in range(4)]
    assert tiny_hybrid.pool.num_pages == num_pages
    for token, fork in enumerate(forks):
        tiny_hybrid.forward((token,), fork)
    assert tiny_hybrid.pool.num_pages == num_pages + 3, "the first writes where nobody had"


def test_a_dropped_branch_gives_its_pages_back(tiny_hybrid: Model) -> None:
    num_pages = tiny_hybrid.pool.num_pages
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:50], state)
    snapshot = state.snapshot()
    tiny_hybrid.forward(TOKENS[50:330], state)
    assert tiny_hybrid.pool.num_pages == num_pages + 2
    del state
    assert tiny_hybrid.pool.num_pages == num_pages + 1
    resumed = snapshot.restore()
    expected = tiny_hybrid.forward((*TOKENS[:50], 3, 4), tiny_hybrid.new_state())
    close(tiny_hybrid.forward((3, 4), resumed), expected)
    del resumed, snapshot
    assert tiny_hybrid.pool.num_pages == num_pages


def test_a_line_that_grows_alone_is_one_run(tiny_hybrid: Model) -> None:
    state = HybridState(tiny_hybrid.layout, PagePool(tiny_hybrid.pool.shape))
    for start in range(0, 400, 50):
        tiny_hybrid.forward(TOKENS[start : start + 50], state)
    assert [run.num_tokens for run in state.table.past] == [400]


@pytest.mark.parametrize("num_back", [0, 1, 3, 4, 5, 31, 32, 63, 64])
def test_tokens_taken_back_were_never_read(tiny_model: Model, num_back: int) -> None:
    state = tiny_model.new_state()
    tiny_model.forward(TOKENS[:230], state)
    state.allow_rollback(64)
    for start, end in ((230, 231), (231, 261), (261, 294)):
        tiny_model.forward(TOKENS[start:end], state)
    state.rollback(num_back)
    kept = TOKENS[: 294 - num_back]
    assert state.tokens == list(kept)
    expected = tiny_model.forward((*kept, 9, 8, 7), tiny_model.new_state())
    close(tiny_model.forward((9, 8, 7), state), expected)


def test_tokens_can_be_taken_back_again_and_again_from_one_base(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:20], state)
    line = list(TOKENS[:20])
    for turn in range(12):
        state.allow_rollback(8)
        tiny_hybrid.forward(TOKENS[turn : turn + 8], state)
        state.rollback(turn % 8)
        line += TOKENS[turn : turn + 8 - turn % 8]
        assert state.tokens == line
    expected = tiny_hybrid.forward((*line, 5), tiny_hybrid.new_state())
    close(tiny_hybrid.forward((5,), state), expected)


def test_what_was_not_allowed_for_cannot_be_taken_back(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:20], state)
    with pytest.raises(ValueError, match="3 tokens cannot be taken back"):
        state.rollback(3)
    state.allow_rollback(4)
    tiny_hybrid.forward(TOKENS[:5], state)
    with pytest.raises(ValueError, match="6 tokens"):
        state.rollback(6)
    tiny_hybrid.forward(TOKENS[:64], state)
    with pytest.raises(ValueError, match="1 tokens"):
        state.rollback(1)
    assert len(state) == 89
    assert all(slot.journal is None for slot in state.slots.values())


def test_a_rollback_changes_no_snapshot(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:250], state)
    state.allow_rollback(40)
    tiny_hybrid.forward(TOKENS[250:270], state)
    snapshot = state.snapshot()
    before = contents(snapshot)
    state.rollback(15)
    tiny_hybrid.forward(TOKENS[:30], state)
    assert same(contents(snapshot), before)


def test_a_journal_token_of_the_27b_shape_is_below_one_mebibyte() -> None:
    inputs = Inputs(
        torch.empty(1, 1, 2 * 16 * 128 + 48 * 128, dtype=torch.bfloat16),
        torch.empty(1, 1, 48),
        torch.empty(1, 1, 48, dtype=torch.bfloat16),
    )
    assert 48 * sum(tensor.nbytes for tensor in inputs.tensors) <= 1 << 20


@pytest.mark.parametrize("cut", [0, 1, 100, 255, 256, 257, 310])
def test_a_packed_state_goes_on_as_one_run_would(tiny_model: Model, cut: int) -> None:
    state = tiny_model.new_state()
    chain = []
    base = None
    if cut:
        tiny_model.forward(TOKENS[:cut], state)
        base = state.snapshot()
        chain.append(base.pack(0))
    tiny_model.forward(TOKENS[cut:311], state)
    chain.append(state.snapshot().pack(cut))
    expected = tiny_model.forward((*TOKENS[:311], 4, 5), tiny_model.new_state())
    pool = PagePool(tiny_model.pool.shape)
    for snapshot in (
        unpack(chain, tiny_model.layout, pool),
        unpack(chain[-1:], tiny_model.layout, tiny_model.pool, base),
    ):
        assert snapshot.tokens == TOKENS[:311]
        close(tiny_model.forward((4, 5), snapshot.restore()), expected)


def test_nodes_that_do_not_fit_are_refused(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:10], state)
    first = state.snapshot().pack(0)
    tiny_hybrid.forward(TOKENS[10:20], state)
    second = state.snapshot().pack(10)
    layout, pool = tiny_hybrid.layout, tiny_hybrid.pool
    for chain in (
        [second],
        [second, first],
        [first, replace(second, edge=second.edge[::-1])],
        [first, replace(second, linear=None)],
        [first, replace(second, kv=second.kv.half())],
        [first, replace(second, kv=second.kv[:, :, :1])],
    ):
        with pytest.raises(DamagedState):
            unpack(chain, layout, pool)


def test_float16_states_are_half_as_large_and_close(modules) -> None:
    model = Model(copy.deepcopy(modules["qwen3_5"]), recurrent_dtype=torch.float16)
    state = model.new_state()
    model.forward(TOKENS[:100], state)
    (kept,) = {t.dtype for states in state.snapshot().linear for t in states.recurrent}
    assert kept == torch.float16
    whole = modules["qwen3_5"](input_ids=torch.tensor([[*TOKENS[:100], 5]])).logits[0, -1]
    torch.testing.assert_close(model.forward((5,), state), whole, rtol=0.05, atol=0.05)


def test_bytes_are_those_of_the_tensors(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:50], state)
    snapshot = state.snapshot()
    recurrent = 3 * 4 * 8 * 8 * 4  # layers, heads, Dk, Dv, float32
    conv = 3 * (2 * 2 * 8 + 4 * 8) * 3 * 4  # layers, channels of q, k, v, width, float32
    page = 256 * 2 * 2 * 16 * 4  # tokens, k and v, heads, Dh, float32
    assert snapshot.state_nbytes == recurrent + conv
    assert snapshot.nbytes == recurrent + conv + page


def test_a_forward_that_was_broken_off_leaves_a_state_that_refuses_to_go_on(
    tiny_hybrid: Model,
) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:10], state)

    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    hook = tiny_hybrid.module.model.layers[2].register_forward_pre_hook(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            tiny_hybrid.forward(TOKENS[10:30] * 4, state)  # more than a decode step reads
    finally:
        hook.remove()
    assert not state.is_whole
    assert state.tokens == list(TOKENS[:10])
    with pytest.raises(AssertionError, match="broken off"):
        tiny_hybrid.forward((1,), state)
    with pytest.raises(AssertionError, match="broken off"):
        state.snapshot()


def test_a_layer_with_several_states_keeps_them_all(tiny_hybrid: Model) -> None:
    config = tiny_hybrid.config.__class__(**tiny_hybrid.config.to_dict(), number_of_conv_states=2)
    layout = Layout.of(config)
    assert layout.num_states == (2, 2, 2)
    state = HybridState(layout, tiny_hybrid.pool)
    states = LinearStates((torch.ones(1, 3, 4), torch.zeros(1, 3, 4)), (torch.ones(1, 2, 2), None))
    for slot in state.slots.values():
        slot.states = states
    state.tokens = [1]
    again = state.snapshot().restore()
    assert all(slot.states is states for slot in again.slots.values())


def test_sliding_windows_are_refused() -> None:
    config = Qwen2Config(num_hidden_layers=2, use_sliding_window=True, max_window_layers=0)
    with pytest.raises(TypeError, match="not supported"):
        Layout.of(config)
