"""The byte tables of the family, which plans fit which card, and what is given up for memory."""

import weakref
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from inference.door import EngineSettings
from inference.footprint import KV_FORMATS, Footprint, Kv, Weights, int8_bytes, nf4_bytes
from inference.lines import fitting as lines_fitting
from inference.model import Model
from inference.models import SHAPES, newest
from inference.plan import GIB, Plan, Room, Wanted
from inference.planner import (
    MIN_WINDOW,
    TYPICAL_WINDOW,
    Refusal,
    largest,
    next_smaller,
    plan,
    to_run,
)
from inference.shapes import Group, built, shape_of

RAM = 64 * GIB
K = 1024


def footprint(size: str) -> Footprint:
    return Footprint(shape_of(SHAPES[size]))


def drafting(size: str) -> Footprint:
    return Footprint(replace(shape_of(SHAPES[size]), has_draft=True))


def gpu(gib: float) -> Room:
    return Room.of_gpu(round(gib * GIB), RAM)


def fitting(size: str, room: Room, wanted: Wanted | None = None) -> Plan:
    found = plan(size, shape_of(SHAPES[size]), room, wanted)
    assert isinstance(found, Plan), found
    return found


def refused(size: str, room: Room, wanted: Wanted | None = None) -> Refusal:
    others = [(model.size, shape_of(model.config)) for model in newest()]
    found = plan(size, shape_of(SHAPES[size]), room, wanted, others)
    assert isinstance(found, Refusal), found
    return found


# --- bytes


@pytest.mark.parametrize(
    ("sizes", "in_16", "gib_at_262k"),
    [
        (("0.8B", "2B"), 12_288, 3.0),
        (("4B", "9B"), 32_768, 8.0),
        (("27B",), 65_536, 16.0),
        (("35B-A3B",), 20_480, 5.0),
    ],
)
def test_keys_and_values_of_a_token(sizes: tuple[str, ...], in_16: int, gib_at_262k: float) -> None:
    for size in sizes:
        found = footprint(size)
        assert found.kv_of_a_token("16bit") == in_16
        assert found.kv("16bit", 262_144) == gib_at_262k * GIB
        for kv, share in (("int8", 2), ("int4", 4)):
            heads = 2 * found.shape.num_attention_layers * found.shape.num_kv_heads
            scales = heads * KV_FORMATS[kv].scale_bytes
            assert found.kv_of_a_token(kv) - scales == in_16 // share
            assert scales < in_16 // share / 20


def test_recurrent_states_in_16_bits_leave_room_for_twice_as_many() -> None:
    in_32, in_16 = (
        fitting("27B", gpu(24), Wanted(state=state)).footprint for state in ("float32", "float16")
    )
    assert 2 * in_16.recurrent == in_32.recurrent
    assert in_32.snapshot - in_16.snapshot == in_16.recurrent


@pytest.mark.parametrize(
    ("size", "of_transformers", "ours"),
    [
        ("0.8B", 19_759_104, 20_531_200),
        ("2B", 19_759_104, 20_531_200),
        ("4B", 51_904_512, 52_504_576),
        ("9B", 51_904_512, 52_504_576),
        ("27B", 154_927_104, 154_937_344),
        ("35B-A3B", 64_880_640, 65_382_400),
    ],
)
def test_a_snapshot_is_counted_as_it_is_kept(size: str, of_transformers: int, ours: int) -> None:
    """transformers keeps four columns of the convolutions and no logits; we three, and these."""
    found = footprint(size)
    assert found.recurrent + found.conv * 4 // 3 == of_transformers
    assert found.snapshot == found.recurrent + found.conv + 4 * found.shape.vocab == ours


@pytest.mark.parametrize(
    ("size", "weights", "num_bytes"),
    [
        ("27B", "nf4", 219_128_096),
        ("35B-A3B", "nf4", 436_523_296),
        ("2B", "nf4", 31_395_360),
        ("2B", "16bit", 121_656_320),
        ("4B", "16bit", 241_199_104),
    ],
)
def test_a_draft_layer_weighs_what_the_engine_loads(
    size: str, weights: Weights, num_bytes: int
) -> None:
    assert drafting(size).draft(weights) == num_bytes
    assert footprint(size).draft(weights) == 0
    assert drafting(size).weights(weights) == footprint(size).weights(weights)


def test_the_draft_layer_takes_room_from_the_window_and_from_snapshots() -> None:
    for size, room in (("27B", gpu(16)), ("27B", gpu(24)), ("9B", gpu(8))):
        shape = shape_of(SHAPES[size])
        without, found = (plan(size, s, room) for s in (shape, replace(shape, has_draft=True)))
        assert isinstance(without, Plan)
        assert isinstance(found, Plan)
        assert found.needed_bytes <= room.device_bytes
        assert found.needed_bytes + found.cache_bytes - 2 * found.state_bytes <= room.device_bytes
        if found.context_tokens == without.context_tokens == shape.context_tokens:
            assert found.needed_bytes - without.needed_bytes == found.draft_bytes
        else:
            assert MIN_WINDOW < found.context_tokens < without.context_tokens


@pytest.mark.parametrize(
    ("size", "group", "gib"),
    [
        ("27B", "delta", (10.36, 2.67, 5.18)),
        ("27B", "attention", (3.13, 0.81, 1.56)),
        ("27B", "mlp", (31.88, 8.22, 15.94)),
        ("27B", "head", (2.37, 0.61, 1.18)),
        ("35B-A3B", "delta", (1.89, 0.49, 0.94)),
        ("35B-A3B", "attention", (0.51, 0.13, 0.25)),
        ("35B-A3B", "experts", (60.0, 15.48, 30.0)),
        ("35B-A3B", "head", (0.95, 0.24, 0.47)),
    ],
)
def test_weights_by_group_and_format(
    size: str, group: Group, gib: tuple[float, float, float]
) -> None:
    formats: tuple[Weights, ...] = ("16bit", "nf4", "int8")
    found = footprint(size)
    for weights, expected in zip(formats, gib, strict=True):
        kept = [p for p in found.shape.parts if p.group == group and p.is_kept]
        small = sum(part.num_values * 2 for part in kept)
        large = (found.weights(weights)[group] - small) / GIB
        assert large == pytest.approx(expected, rel=0.005, abs=0.02)


def test_the_bodies_and_the_smallest_packed_model() -> None:
    def body(size: str) -> float:
        weights = footprint(size).weights("nf4")
        return sum(weights[g] for g in weights if g not in ("embedding", "head")) / GIB

    assert body("27B") == pytest.approx(11.74, abs=0.02)
    assert body("35B-A3B") == pytest.approx(16.20, abs=0.02)
    assert footprint("35B-A3B").experts_of_a_layer("nf4") / GIB == pytest.approx(0.387, abs=1e-3)
    assert sum(footprint("2B").weights("nf4").values()) <= 1.27e9


def test_bits_and_their_scales_are_counted() -> None:
    assert nf4_bytes(512 * 1024) == 262_144 + 8_192 + 4 * 32 + 4
    assert nf4_bytes(64) == 32 + 1 + 4 + 4
    assert int8_bytes(3, 5) == 3 * 5 + 3 * 4


@pytest.mark.slow
def test_four_bits_weigh_what_bitsandbytes_writes() -> None:
    functional = pytest.importorskip("bitsandbytes.functional")
    for rows, columns in ((64, 64), (96, 352), (512, 1024)):
        packed, state = functional.quantize_4bit(
            torch.randn(rows, columns), quant_type="nf4", compress_statistics=True
        )
        written = (packed, state.absmax, state.state2.absmax, state.offset)
        assert nf4_bytes(rows * columns) == sum(tensor.nbytes for tensor in written)


# --- what a forward needs


class Peak(TorchDispatchMode):
    """Counts the bytes of tensors that are made inside of it and alive at once."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = self._live = 0
        self._seen: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor.untyped_storage())
        return out

    def _note(self, storage: torch.UntypedStorage) -> None:
        key = storage._cdata
        if key not in self._seen:
            self._seen[key] = storage.nbytes()
            self._live += storage.nbytes()
            self.peak = max(self.peak, self._live)
            weakref.finalize(storage, self._drop, key)

    def _drop(self, key: int) -> None:
        self._live -= self._seen.pop(key)


@pytest.mark.parametrize("on_gpu", [True, False])
def test_the_workspace_is_what_reading_a_chunk_takes(on_gpu: bool) -> None:
    """What runs on a GPU runs here too, where the kernels of a CPU are left out."""
    from transformers import AutoConfig, AutoModelForCausalLM

    text = {
        "model_type": "qwen3_5_text",
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 1,
        "head_dim": 64,
        "linear_num_key_heads": 4,
        "linear_num_value_heads": 8,
        "vocab_size": 256,
    }
    config = AutoConfig.for_model(**text)
    make: Any = AutoModelForCausalLM.from_config
    model = Model(make(config, dtype=torch.float32), fast_kernels=not on_gpu)
    model.forward([1], model.new_state())  # the slab of the pages is there from now on
    state = model.new_state()
    with Peak() as peak:
        model.forward([1] * 512, state)
    found = Footprint(built(text), value_bytes=4, is_gpu=on_gpu)
    stays = found.kv("16bit", 512) + found.snapshot
    assert found.workspace("16bit", "16bit", 512) == pytest.approx(peak.peak - stays, rel=0.05)


# --- which card holds what


FIT_TABLE: tuple[tuple[str, Kv, tuple[float, float, float, float]], ...] = (
    ("27B", "16bit", (15.7, 17.7, 21.7, 29.7)),
    ("27B", "int8", (14.7, 15.8, 17.8, 22.0)),
    ("27B", "int4", (14.3, 14.8, 16.0, 18.2)),
    ("35B-A3B", "16bit", (18.3, 19.0, 20.2, 22.7)),
    ("35B-A3B", "int8", (18.0, 18.3, 19.0, 20.3)),
)
"""GiB at 32K, 64K, 128K and 262K tokens, with NF4 weights and the embedding on the CPU."""
USABLE = {16: 15.0, 24: 22.8, 32: 30.4}


@pytest.mark.parametrize("card", USABLE)
@pytest.mark.parametrize(("size", "kv", "needs"), FIT_TABLE)
def test_what_fits_a_card_is_what_the_table_says(
    size: str, kv: Kv, needs: tuple[float, ...], card: int
) -> None:
    room = gpu(card)
    assert room.device_bytes / GIB == pytest.approx(USABLE[card], abs=0.01)
    for window, gib in zip((32 * K, 64 * K, 128 * K, 256 * K), needs, strict=True):
        for shape in (footprint(size).shape, drafting(size).shape):
            found = plan(size, shape, room, Wanted(window, kv, "nf4"))
            assert isinstance(found, Plan) == (gib <= USABLE[card]), (window, gib)


def test_what_is_needed_is_near_the_table() -> None:
    """The table counts 1.2 GiB of workspace, and up to 0.4 GiB more of scales in long windows."""
    for size, kv, needs in FIT_TABLE:
        for window, gib in zip((32 * K, 64 * K, 128 * K, 256 * K), needs, strict=True):
            found = fitting(size, gpu(80), Wanted(window, kv, "nf4"))
            moved = replace(found, embedding_on_cpu=True)
            table = moved.weights_bytes + moved.kv_bytes + moved.state_bytes + 1.2 * GIB
            assert table / GIB == pytest.approx(gib, abs=0.4), (size, kv, window)


def test_both_large_models_have_their_whole_window_on_24_gib_without_loss() -> None:
    for size in ("27B", "35B-A3B"):
        found = fitting(size, Room.of_gpu(24_564 * 1024**2, 32 * GIB))
        assert (found.weights, found.kv, found.context_tokens) == ("nf4", "int8", 262_144)


@pytest.mark.parametrize(("window", "layers"), [(32, 8), (64, 9), (128, 11), (256, 14)])
def test_experts_go_to_the_cpu_where_a_card_is_too_small(window: int, layers: int) -> None:
    offers = refused("35B-A3B", gpu(16), Wanted(window * K)).offers
    moved = next(offer.plan for offer in offers if offer.plan.experts_on_cpu)
    # The table has 1.2 GiB of workspace; with chunks of 512 tokens a GiB less is enough.
    assert layers - 3 <= moved.experts_on_cpu <= layers
    assert moved.fits
    assert not replace(moved, experts_on_cpu=moved.experts_on_cpu - 1).fits


def test_a_refusal_offers_what_is_nearest_first() -> None:
    found = refused("27B", gpu(16), Wanted(262_144))
    assert found.sentence.startswith("27B with 262,144 tokens needs 21.")
    assert [offer.sentence for offer in found.offers] == [
        "a smaller window",
        "a smaller window and keys and values in 4 bits",
        "a smaller model",
    ]
    int8, int4, other = (offer.plan for offer in found.offers)
    assert (int8.kv, int4.kv) == ("int8", "int4")
    assert int8.context_tokens < int4.context_tokens < 262_144
    assert (other.name, other.context_tokens) == ("9B", 262_144)
    assert all(offer.plan.fits for offer in found.offers)
    nearest = refused("9B", gpu(8), Wanted(262_144)).offers[0]
    assert (nearest.plan.kv, nearest.plan.context_tokens) == ("int4", 262_144)


def test_a_run_takes_the_nearest_offer_but_no_loss_of_quality_and_no_other_model() -> None:
    found = refused("27B", gpu(16), Wanted(262_144))
    nearest = to_run(found)
    assert nearest is not None
    assert nearest.plan == found.offers[0].plan
    rest = replace(found, offers=found.offers[1:])
    assert to_run(rest) is None
    asked = to_run(rest, "int4")
    assert asked is not None
    assert asked.plan == found.offers[1].plan


def test_only_what_is_packed_is_moved_off_a_gpu() -> None:
    for gib in range(8, 80, 4):
        for size in ("9B", "27B", "35B-A3B"):
            found = plan(size, shape_of(SHAPES[size]), gpu(gib))
            if isinstance(found, Plan):
                assert not (found.weights == "16bit" and found.embedding_on_cpu)
    in_16 = fitting("9B", gpu(24), Wanted(weights="16bit", embedding_on_cpu=True))
    while (offer := next_smaller(in_16)) is not None:
        in_16 = offer.plan
    assert in_16.ram_bytes == 0
    whole = fitting("9B", gpu(8), Wanted(weights="nf4", is_whole=True))
    assert not whole.embedding_on_cpu


def test_a_window_that_the_model_was_not_made_for_is_refused() -> None:
    found = refused("9B", gpu(24), Wanted(1_000_000))
    assert found.sentence == "9B was made for 262,144 tokens."
    (offer,) = found.offers
    assert (offer.plan.context_tokens, offer.plan.fits) == (262_144, True)


def test_a_model_with_a_small_window_gets_all_of_it() -> None:
    toy = replace(shape_of(SHAPES["0.8B"]), context_tokens=3_000)
    found = plan("toy", toy, gpu(8))
    assert isinstance(found, Plan)
    assert found.context_tokens == 3_000


def test_four_bit_keys_and_values_are_offered_and_never_taken_unasked() -> None:
    for gib in (8, 16, 24, 48):
        for size in SHAPES:
            found = plan(size, shape_of(SHAPES[size]), gpu(gib))
            assert isinstance(found, Refusal) or found.kv != "int4"


def test_the_largest_windows_and_then_the_most_bits_are_taken() -> None:
    assert fitting("9B", gpu(24)).weights == "16bit"
    assert fitting("9B", gpu(16)).weights == "int8"
    small = fitting("9B", gpu(8))
    assert (small.weights, small.embedding_on_cpu) == ("nf4", True)
    assert MIN_WINDOW < small.context_tokens < 262_144
    assert fitting("9B", gpu(16)).context_tokens == 262_144


def test_a_cpu_without_bfloat16_needs_twice_as_much() -> None:
    narrow, wide = Room.of_cpu(24 * GIB), Room.of_cpu(24 * GIB, 4)
    assert fitting("0.8B", wide).weights_bytes == 2 * fitting("0.8B", narrow).weights_bytes
    assert fitting("35B-A3B", narrow).weights == "nf4"


def test_the_largest_model_is_taken_and_none_where_none_fits() -> None:
    family = [(model.size, shape_of(model.config)) for model in newest()]
    for gib, size in ((8, "9B"), (16, "27B"), (24, "35B-A3B"), (80, "122B-A10B")):
        found = largest(family, gpu(gib))
        assert found is not None
        assert found.name == size
    assert largest(family, gpu(1)) is None


def test_snapshots_get_what_is_left_and_always_two() -> None:
    for found in (fitting("27B", gpu(24)), fitting("27B", gpu(80)), fitting("9B", gpu(8))):
        assert found.cache_bytes >= 2 * found.footprint.snapshot
        spare = found.room.device_bytes - found.needed_bytes + 2 * found.footprint.snapshot
        assert found.cache_bytes <= spare
        settings = found.settings(EngineSettings("folder"))
        assert settings.prefill_chunk == found.prefill_chunk
        assert settings.cache_bytes == found.cache_bytes
        assert settings.device == "cuda"


# --- when memory turns out to be short


def test_every_smaller_plan_needs_less_until_there_is_none() -> None:
    for size, room in (("27B", gpu(24)), ("35B-A3B", gpu(24)), ("0.8B", Room.of_cpu(8 * GIB))):
        now, sentences = fitting(size, room), []
        while (offer := next_smaller(now)) is not None:
            assert offer.plan.needed_bytes < now.needed_bytes
            assert (offer.plan.kv, offer.plan.weights) == (now.kv, now.weights)
            sentences.append(offer.sentence)
            now = offer.plan
        assert now.context_tokens == MIN_WINDOW
        assert all(s.startswith("Memory is short: ") and s.endswith(".") for s in sentences)
        assert len(set(sentences)) == len(sentences)
        if size == "35B-A3B":
            assert now.experts_on_cpu == now.shape.num_expert_layers


def test_experts_are_not_moved_into_memory_that_is_not_there() -> None:
    now = fitting("35B-A3B", Room.of_gpu(24 * GIB, 4 * GIB))
    while (offer := next_smaller(now)) is not None:
        now = offer.plan
        assert now.ram_bytes <= now.room.ram_bytes
    assert now.experts_on_cpu < 10


# --- several lines


@pytest.mark.parametrize(("gib", "wanted"), [(24, None), (24, Wanted(96 * K)), (18, None)])
def test_several_lines_find_room_beside_what_snapshots_may_hold(
    gib: int, wanted: Wanted | None
) -> None:
    found = fitting("27B", gpu(gib), wanted)
    assert found.window_of(1) == found.context_tokens
    without_lines = found.needed_bytes - 3 * found.state_bytes - found.kv_bytes
    for num in (2, 3, 4):
        of_lines = num * (found.footprint.kv(found.kv, found.window_of(num)) + found.state_bytes)
        held = without_lines + found.cache_bytes + of_lines
        assert 0.98 * found.room.device_bytes < held <= found.room.device_bytes


def test_lines_are_fewer_where_each_would_have_too_little_room() -> None:
    large, small = fitting("27B", gpu(24)), fitting("27B", gpu(18))
    assert lines_fitting(large, 4, large.context_tokens) == (4, large.window_of(4))
    assert lines_fitting(small, 4, small.context_tokens) == (3, small.window_of(3))
    assert small.window_of(4) < TYPICAL_WINDOW <= small.window_of(3)
    assert lines_fitting(None, 4, 8 * K) == (4, 8 * K), "nano has room for any"
