"""A snapshot is what the state was, whatever happens to the state, and shares what it can."""

import pytest
import torch
from transformers import Qwen2Config

from inference.model import Model
from inference.state import HybridState, Snapshot

TOKENS = tuple((7 * i * i + 3 * i + 1) % 97 for i in range(400))


def close(left, right):
    torch.testing.assert_close(left, right, rtol=2e-3, atol=2e-3)


def contents(snapshot: Snapshot) -> list[torch.Tensor]:
    """Copy all that a snapshot can see."""
    seen = [tensor.clone() for states in snapshot.linear for tensor in states.tensors()]
    for span in snapshot.spans:
        seen.append(span.buffer.keys[:, :, : span.length].clone())
        seen.append(span.buffer.values[:, :, : span.length].clone())
    return seen


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


def test_keys_and_values_are_shared_until_a_second_branch_appends(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:50], state)
    snapshot = state.snapshot()
    (shared,) = snapshot.buffers
    one, two = snapshot.restore(), snapshot.restore()
    assert one.snapshot().buffers == two.snapshot().buffers == [shared]
    tiny_hybrid.forward((1,), one)
    assert one.snapshot().buffers == [shared], "the first to go on appends in place"
    tiny_hybrid.forward((2,), two)
    assert two.snapshot().buffers != [shared], "the second copies"


def test_a_dropped_branch_gives_its_place_back(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:50], state)
    snapshot = state.snapshot()
    tiny_hybrid.forward(TOKENS[50:60], state)
    del state
    resumed = snapshot.restore()
    expected = tiny_hybrid.forward((*TOKENS[:50], 3, 4), tiny_hybrid.new_state())
    close(tiny_hybrid.forward((3, 4), resumed), expected)
    assert resumed.snapshot().buffers == snapshot.buffers, "no copy was needed"


def test_a_grown_buffer_lets_the_old_one_go(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:200], state)
    snapshot = state.snapshot()
    (old,) = snapshot.buffers
    before = contents(snapshot)
    tiny_hybrid.forward(TOKENS[200:300], state)
    assert snapshot.buffers == state.snapshot().buffers != [old]
    assert same(contents(snapshot), before)


def test_decoding_allocates_a_buffer_once_in_many_tokens(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:250], state)
    seen = []
    for token in TOKENS[:12]:
        tiny_hybrid.forward((token,), state)
        (buffer,) = state.snapshot().buffers
        if buffer not in seen:
            seen.append(buffer)
    assert [buffer.capacity for buffer in seen] == [256, 512]


def test_bytes_are_those_of_the_tensors(tiny_hybrid: Model) -> None:
    state = tiny_hybrid.new_state()
    tiny_hybrid.forward(TOKENS[:50], state)
    snapshot = state.snapshot()
    recurrent = 3 * 4 * 8 * 8 * 4  # layers, heads, Dk, Dv, float32
    conv = 3 * (2 * 2 * 8 + 4 * 8) * 4 * 4  # layers, channels of q, k, v, width, float32
    kv = 50 * 2 * 2 * 16 * 4  # tokens, k and v, heads, Dh, float32
    assert snapshot.state_nbytes == recurrent + conv
    assert snapshot.nbytes == recurrent + conv + kv


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
            tiny_hybrid.forward(TOKENS[10:20], state)
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
    state = HybridState.empty(config)
    layer = state.cache.layers[0]
    layer.update_conv_state(torch.full((1, 3, 4), 1.0), state_idx=0)
    layer.update_conv_state(torch.full((1, 3, 4), 2.0), state_idx=1)
    layer.update_recurrent_state(torch.full((1, 2, 2, 2), 3.0), state_idx=0)
    restored = state.snapshot().restore().cache.layers[0]
    assert restored.number_of_states == 2
    assert restored.conv_states[0].unique().tolist() == [1.0]
    assert restored.conv_states[1].unique().tolist() == [2.0]
    assert restored.recurrent_states[0].unique().tolist() == [3.0]
    assert restored.recurrent_states[1] is None


def test_sliding_windows_are_refused() -> None:
    config = Qwen2Config(num_hidden_layers=2, use_sliding_window=True, max_window_layers=0)
    with pytest.raises(TypeError, match="not supported"):
        HybridState.empty(config)
