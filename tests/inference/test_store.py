"""The disk tier when nothing breaks: what goes in comes out, fits its budget, and can be found."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import safetensors
import torch

from inference.errors import ModelUnavailable
from inference.identity import Identity, fingerprint
from inference.packed import ROOT, LinearStates, Packed, check_chain, line_key
from inference.store import Store
from inference.store_folder import identities
from inference.writer import Writer

IDENTITY = Identity(
    model="c0ffee",
    revision="main",
    quantization="",
    kv_dtype="bfloat16",
    state_dtype="float32",
    template="",
    shape="2x2x16",
)
DAY_S = 86_400


def states(seed: int, dtype: torch.dtype = torch.float32) -> tuple[LinearStates, ...]:
    """Two layers; the second declares two states and uses one."""
    torch.manual_seed(seed)
    conv, recurrent = torch.randn(1, 24, 4).to(dtype), torch.randn(1, 2, 8, 8)
    return (
        LinearStates(conv=(conv,), recurrent=(recurrent,)),
        LinearStates(conv=(None, conv + 1), recurrent=(recurrent * 2, None)),
    )


def node(
    line: tuple[int, ...],
    num_before: int = 0,
    *,
    dtype: torch.dtype = torch.bfloat16,
    num_layers: int = 2,
    state: bool = True,
    logits: bool = True,
) -> Packed:
    """The tokens of `line` after `num_before`, with tensors that depend on them."""
    torch.manual_seed(sum(line))
    num_new = len(line) - num_before
    return Packed(
        key=line_key(line),
        parent=line_key(line[:num_before]),
        num_before=num_before,
        edge=line[num_before:],
        kv=torch.randn(num_layers, 2, 2, num_new, 16).to(dtype),
        linear=states(sum(line), dtype) if state else None,
        logits=torch.randn(97) if logits else None,
    )


def assert_equal(left: Packed | None, right: Packed) -> None:
    assert left is not None
    names = ("key", "parent", "num_before", "edge")
    assert [getattr(left, name) for name in names] == [getattr(right, name) for name in names]
    assert_same_bits(left.kv, right.kv)
    assert (left.logits is None) == (right.logits is None)
    if left.logits is not None and right.logits is not None:
        assert_same_bits(left.logits, right.logits)
    assert (left.linear is None) == (right.linear is None)
    for mine, yours in zip(left.linear or (), right.linear or (), strict=True):
        for a, b in zip(mine.conv + mine.recurrent, yours.conv + yours.recurrent, strict=True):
            assert (a is None) == (b is None)
            if a is not None and b is not None:
                assert_same_bits(a, b)
        assert len(mine.conv) == len(yours.conv)


def assert_same_bits(left: torch.Tensor, right: torch.Tensor) -> None:
    assert (left.dtype, left.shape) == (right.dtype, right.shape)
    assert torch.equal(
        left.contiguous().reshape(-1).view(torch.uint8),
        right.contiguous().reshape(-1).view(torch.uint8),
    )


def file_of(store: Store, packed: Packed) -> Path:
    return store.folder / store.identity.digest / f"{packed.key}.safetensors"


def age(store: Store, packed: Packed, days: float) -> None:
    then = time.time() - days * DAY_S
    os.utime(file_of(store, packed), (then, then))


@pytest.fixture
def notices() -> list[str]:
    return []


@pytest.fixture
def store(tmp_path: Path, notices: list[str]) -> Store:
    return Store(tmp_path / "states", IDENTITY, 1 << 30, notices.append)


def reopened(store: Store, budget_bytes: int = 1 << 30) -> Store:
    return Store(store.folder, store.identity, budget_bytes, store.on_notice)


# --- round trips


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("num_layers", [0, 1, 3])
@pytest.mark.parametrize("state", [True, False])
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("num_tokens", [1, 2, 257])
def test_what_is_put_comes_back_bit_for_bit(
    store: Store,
    notices: list[str],
    dtype: torch.dtype,
    num_layers: int,
    state: bool,
    logits: bool,
    num_tokens: int,
) -> None:
    line = tuple(range(5, 5 + num_tokens))
    packed = node(line, dtype=dtype, num_layers=num_layers, state=state, logits=logits)
    assert store.put(packed)
    assert_equal(store.get(packed.key), packed)
    assert_equal(reopened(store).get(packed.key), packed)
    assert notices == []


def test_odd_values_and_odd_layouts_come_back_bit_for_bit(store: Store) -> None:
    packed = node((1, 2, 3))
    odd = torch.tensor([float("nan"), float("inf"), -0.0, 1e-45]).repeat(24).reshape(24, 4).T
    linear = (
        LinearStates(conv=(), recurrent=()),
        LinearStates(conv=(None,), recurrent=(odd, None, torch.empty(0, 3))),
        LinearStates(conv=(torch.ones(1, 3, 3, dtype=torch.float16),), recurrent=(None, None)),
    )
    sliced = torch.randn(2, 2, 2, 9, 16)[:, :, :, 3:6]
    packed = replace(packed, linear=linear, kv=sliced)
    assert store.put(packed)
    assert_equal(store.get(packed.key), packed)


def test_a_model_without_linear_layers_keeps_its_empty_state(store: Store) -> None:
    packed = replace(node((1, 2, 3)), linear=())
    assert store.put(packed)
    read = store.get(packed.key)
    assert read is not None
    assert read.linear == ()
    assert store.entries()[0].has_state


def test_without_state_only_tokens_and_kv_are_read(store: Store) -> None:
    packed = node((1, 2, 3))
    store.put(packed)
    assert_equal(store.get(packed.key, state=False), replace(packed, linear=None, logits=None))


def test_a_chain_is_found_again_parents_first(store: Store) -> None:
    line = tuple(range(1, 41))
    ends = (7, 20, 40)
    chain = [node(line[:end], start) for start, end in zip((0, *ends), ends, strict=False)]
    for packed in reversed(chain):  # in whatever order they were written
        store.put(packed)
    entries = reopened(store).entries()
    assert [entry.key for entry in entries] == [packed.key for packed in chain]
    assert [entry.edge for entry in entries] == [packed.edge for packed in chain]
    assert [entry.num_before for entry in entries] == [0, 7, 20]
    assert [entry.parent for entry in entries] == [ROOT, chain[0].key, chain[1].key]
    found = [store.get(entry.key) for entry in entries]
    assert check_chain([one for one in found if one is not None]) == line


def test_any_reader_of_safetensors_can_open_a_file(store: Store) -> None:
    packed = node((1, 2, 3))
    store.put(packed)
    with safetensors.safe_open(file_of(store, packed), "pt") as file:
        assert file.metadata()["key"] == packed.key
        assert file.get_tensor("edge").tolist() == [1, 2, 3]
        assert_same_bits(file.get_tensor("kv"), packed.kv)
        assert packed.linear is not None
        assert packed.linear[1].conv[1] is not None
        assert_same_bits(file.get_tensor("linear.1.conv.1"), packed.linear[1].conv[1])


def test_what_was_read_stays_when_its_file_is_replaced_or_removed(store: Store) -> None:
    packed = node((1, 2, 3))
    store.put(packed)
    read = store.get(packed.key)
    store.drop_state(packed.key)
    store.remove(packed.key)
    assert_equal(read, packed)


def test_a_missing_node_is_a_miss_and_no_notice(store: Store, notices: list[str]) -> None:
    assert store.get(line_key((1,))) is None
    assert line_key((1,)) not in store
    assert not store.drop_state(line_key((1,)))
    store.remove(line_key((1,)))
    store.touch(line_key((1,)))
    assert store.entries() == []
    assert notices == []


def test_a_node_is_written_once_and_again_when_there_is_more_of_it(store: Store) -> None:
    whole = node((1, 2, 3))
    bare = replace(whole, linear=None, logits=None)
    store.put(bare)
    first = file_of(store, whole).stat()
    age(store, whole, 3)
    store.put(bare)
    assert file_of(store, whole).stat().st_ino == first.st_ino
    assert file_of(store, whole).stat().st_mtime > time.time() - 60  # used now
    store.put(whole)
    assert_equal(store.get(whole.key), whole)
    store.put(bare)  # what is there is not given up
    assert_equal(store.get(whole.key), whole)


def test_two_models_do_not_see_each_other(store: Store, notices: list[str]) -> None:
    other = Store(store.folder, replace(IDENTITY, kv_dtype="float16"), 1 << 30, notices.append)
    packed = node((1, 2, 3))
    store.put(packed)
    assert other.get(packed.key) is None
    assert other.entries() == []
    assert other.put(node((4, 5)))
    assert [entry.num_before for entry in store.entries()] == [0]
    assert other.nbytes == store.nbytes > 0  # the budget is for both
    assert sorted(i.kv_dtype for i in identities(store.folder)) == ["bfloat16", "float16"]
    assert notices == []


def test_every_field_of_an_identity_counts() -> None:
    names = ("model", "revision", "quantization", "kv_dtype", "state_dtype", "template", "shape")
    digests = {replace(IDENTITY, **{name: "other"}).digest for name in names}
    assert len(digests | {IDENTITY.digest}) == 8
    assert all(len(digest) >= 16 and int(digest, 16) >= 0 for digest in digests)


def test_folders_and_files_are_private_whatever_the_umask(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        (tmp_path / "states").mkdir(mode=0o777)
        store = Store(tmp_path / "states", IDENTITY, 1 << 30, lambda _notice: None)
        store.put(node((1, 2, 3)))
        store.prune(1 << 30)
    finally:
        os.umask(old)
    modes = {path: path.stat().st_mode & 0o777 for path in (tmp_path / "states").rglob("*")}
    assert modes[file_of(store, node((1, 2, 3)))] == 0o600
    assert {mode for path, mode in modes.items() if path.is_file()} == {0o600}
    assert {mode for path, mode in modes.items() if path.is_dir()} == {0o700}
    assert (tmp_path / "states").stat().st_mode & 0o777 == 0o700


# --- size and time


def node_of_the_small_model(num_tokens: int) -> Packed:
    """A node of the 0.8B shape: 12 KiB a token, 19 MiB of states, logits."""
    line = tuple(range(num_tokens))
    linear = LinearStates(
        conv=(torch.zeros(1, 6144, 4, dtype=torch.bfloat16),),
        recurrent=(torch.randn(1, 16, 128, 128),),
    )
    return Packed(
        key=line_key(line),
        parent=ROOT,
        num_before=0,
        edge=line,
        kv=torch.ones(6, 2, 2, num_tokens, 256, dtype=torch.bfloat16),
        linear=(linear,) * 18,
        logits=torch.randn(248_320),
    )


def test_a_file_is_as_large_as_the_arithmetic_says(store: Store) -> None:
    packed = node_of_the_small_model(512)
    store.put(packed)
    arithmetic = packed.nbytes + 4 * 512
    assert packed.kv.nbytes == 512 * 12 * 1024
    assert arithmetic <= store.nbytes <= 1.02 * arithmetic
    assert store.entries()[0].nbytes == store.nbytes


def test_a_16k_node_of_the_small_model_is_read_whole(store: Store) -> None:
    packed = node_of_the_small_model(16_384)
    store.put(packed)
    read = reopened(store).get(packed.key)
    assert read is not None
    assert read.kv.nbytes == 192 << 20


def test_a_checkpoint_is_told_from_another_without_reading_it(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    weights = tmp_path / "model-1.safetensors"
    header = json.dumps({"__metadata__": {"x": "y"}}).encode()
    weights.write_bytes(len(header).to_bytes(8, "little") + header + bytes(200_000))
    os.truncate(weights, 20 << 30)  # sparse
    seen = [fingerprint(tmp_path)]
    started = time.thread_time()  # of this thread alone, whatever else is done on the machine
    assert fingerprint(tmp_path) == seen[0]
    assert time.thread_time() - started < 2  # it is 20 GiB
    status = weights.stat()
    for offset in (4, 20, 8 + len(header) + 60_000, (20 << 30) - 5):
        with weights.open("r+b") as file:
            file.seek(offset)
            file.write(b"\1")
        os.utime(weights, ns=(status.st_atime_ns, status.st_mtime_ns))
        seen.append(fingerprint(tmp_path))
    os.utime(weights, ns=(0, 0))
    seen.append(fingerprint(tmp_path))
    weights.rename(tmp_path / "model-2.safetensors")
    seen.append(fingerprint(tmp_path))
    (tmp_path / "config.json").write_text("{ }")
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == len(seen) == 8
    with pytest.raises(ModelUnavailable, match=r"config.json cannot be read \(No such file"):
        fingerprint(tmp_path / "nothing")


# --- what goes first


def keys(store: Store) -> set[str]:
    return {path.stem for path in store.folder.glob("*/*.safetensors")}


def test_nothing_goes_while_there_is_room(store: Store) -> None:
    store.put(node((1, 2, 3), 2))  # stranded, but harmless
    assert store.prune(store.nbytes) == 0
    assert len(keys(store)) == 1


def test_stranded_nodes_go_first_then_middle_states_then_leaves(store: Store) -> None:
    line = tuple(range(1, 61))
    chain = [node(line[:20]), node(line[:40], 20), node(line, 40)]
    orphan = node((9, *range(40)), 1)
    dead_end = node((8, *range(40)), state=False)
    for packed in (*chain, orphan, dead_end):
        store.put(packed)
    order = []
    while (total := store.nbytes) > 0:
        before = {entry.key: entry.has_state for entry in store.entries()}
        files = keys(store)
        assert store.prune(total - 1) > 0
        after = {entry.key: entry.has_state for entry in store.entries()}
        gone = files - keys(store)
        dropped = {key for key, has in after.items() if before[key] and not has}
        order.append((gone, dropped))
    assert order[0] == ({orphan.key}, set())
    assert order[1] == ({dead_end.key}, set())
    assert {frozenset(gone | dropped) for gone, dropped in order[2:4]} == {
        frozenset({chain[0].key}),
        frozenset({chain[1].key}),
    }
    assert all(not gone for gone, _ in order[2:4])
    # The last state gone, nobody can go on from anywhere: all of the line goes, the end first.
    assert [gone for gone, _ in order[4:]] == [{packed.key} for packed in reversed(chain)]


def test_a_prefix_that_lines_share_outlives_their_ends(store: Store) -> None:
    base = tuple(range(1, 31))
    shared = node(base)
    ends = [node((*base, 50 + i, 51, 52), 30) for i in range(4)]
    for packed in (shared, *ends):
        store.put(packed)
    for packed in ends:
        age(store, packed, 1)
    store.prune(file_of(store, shared).stat().st_size)
    assert [entry.key for entry in store.entries()] == [shared.key]
    assert_equal(store.get(shared.key), shared)


def test_of_equals_the_longest_unused_goes_first_and_touching_saves(store: Store) -> None:
    nodes = [node((i, *range(20))) for i in range(3)]
    for days, packed in zip((5, 3, 2), nodes, strict=True):
        store.put(packed)
        age(store, packed, days)
    store.touch(nodes[0].key)
    store.prune(store.nbytes - 1)
    assert keys(store) == {nodes[0].key, nodes[2].key}


def test_reading_a_state_counts_as_a_use_and_passing_through_its_kv_does_not(store: Store) -> None:
    packed = node((1, 2, 3))
    store.put(packed)
    age(store, packed, 5)
    store.get(packed.key, state=False)
    assert store.entries()[0].last_used < time.time() - 4 * DAY_S
    store.get(packed.key)
    assert store.entries()[0].last_used > time.time() - 60


def test_a_long_line_is_worth_more_than_a_short_one(store: Store) -> None:
    short, long = node((1, 2)), node(tuple(range(2, 60)))
    store.put(long)
    store.put(short)
    store.prune(store.nbytes - 1)
    assert keys(store) == {long.key}


def test_no_order_of_pruning_ever_leaves_a_child_without_its_parent(store: Store) -> None:
    generator = torch.Generator().manual_seed(3)
    lines: list[tuple[int, ...]] = [()]
    for i in range(40):
        above = lines[int(torch.randint(len(lines), (1,), generator=generator))]
        new = torch.randint(200, (1 + i % 7,), generator=generator).tolist()
        line = (*above, 1000 + i, *new)
        packed = node(line, len(above), state=i % 3 != 0, logits=i % 2 == 0)
        store.put(packed)
        age(store, packed, days=i * 7 % 5)
        lines.append(line)
    assert len(store.entries()) == 40
    while store.nbytes:
        store.prune(int(store.nbytes * 0.93))
        assert {entry.key for entry in store.entries()} == keys(store)


def test_other_models_states_are_pruned_by_the_same_measure(store: Store) -> None:
    other = Store(store.folder, replace(IDENTITY, model="old"), 1 << 30, store.on_notice)
    forgotten, used = node((1, 2, 3)), node((4, 5, 6))
    other.put(forgotten)
    age(other, forgotten, 30)
    store.put(used)
    store.prune(store.nbytes - 1)
    assert keys(store) == {used.key}


def test_putting_keeps_to_the_budget_and_to_what_the_new_node_builds_on(
    store: Store, notices: list[str]
) -> None:
    line = tuple(range(1, 61))
    chain = [node(line[:20]), node(line[:40], 20), node(line, 40)]
    others = [node((90 + i, *range(30))) for i in range(5)]
    for packed in (*others, *chain[:2]):
        store.put(packed)
    for packed in chain[:2]:
        age(store, packed, 9)
    small = reopened(store, budget_bytes=store.nbytes)
    assert small.put(chain[2])
    assert small.nbytes <= small.budget_bytes
    assert {packed.key for packed in chain} <= {entry.key for entry in small.entries()}
    assert notices == []


def test_what_can_never_fit_is_said_once(store: Store, notices: list[str]) -> None:
    tiny = reopened(store, budget_bytes=1000)
    assert not tiny.put(node((1, 2, 3)))
    assert not tiny.put(node((1, 2, 4)))
    assert len(notices) == 1
    assert notices[0].startswith("This conversation no longer fits the 1,000 bytes")
    assert keys(tiny) == set()


def test_dropping_a_state_keeps_kv_and_age(store: Store) -> None:
    packed = node((1, 2, 3))
    store.put(packed)
    age(store, packed, 4)
    before = store.entries()[0]
    assert store.drop_state(packed.key)
    (after,) = store.entries()
    assert_equal(store.get(packed.key), replace(packed, linear=None, logits=None))
    assert after.last_used == pytest.approx(before.last_used)
    assert not after.has_state
    assert after.nbytes < before.nbytes
    assert store.drop_state(packed.key)  # again: nothing left to do


# --- the writer


def test_the_writer_stores_what_it_is_given(store: Store) -> None:
    writer = Writer(store)
    nodes = [node((i, 2, 3)) for i in range(5)]
    for packed in nodes:
        writer.write_later(packed.key, lambda packed=packed: packed)  # type: ignore[misc]
    assert writer.flush(60)
    for packed in nodes:
        assert_equal(store.get(packed.key), packed)
    assert writer.close()


def test_handing_over_returns_at_once_and_the_oldest_are_left_out(store: Store) -> None:
    gate, entered = threading.Event(), threading.Event()

    def held(packed: Packed) -> Callable[[], Packed]:
        def make() -> Packed:
            entered.set()
            assert gate.wait(60)
            return packed

        return make

    writer = Writer(store, max_waiting=2)
    nodes = [node((i, 2, 3)) for i in range(5)]
    writer.write_later(nodes[0].key, held(nodes[0]))
    assert entered.wait(60)
    for packed in nodes[1:]:
        writer.write_later(packed.key, held(packed))
    assert not writer.flush(0.05)
    gate.set()
    assert writer.close()
    assert {entry.key for entry in store.entries()} == {nodes[i].key for i in (0, 3, 4)}
    assert writer.num_left_out == 2


def test_an_error_in_the_thread_is_a_notice_and_the_next_node_is_stored(
    store: Store, notices: list[str]
) -> None:
    def broken() -> Packed:
        raise ValueError("no such page")

    writer = Writer(store)
    writer.write_later("broken", broken)
    writer.write_later("good", lambda: node((1, 2, 3)))
    assert writer.flush(60)
    assert notices == ["A state was not stored: ValueError: no such page."]
    assert len(store.entries()) == 1
    assert writer.close()


def test_closing_in_the_middle_of_a_write_that_hangs_gives_up_and_says_so(
    store: Store, notices: list[str]
) -> None:
    gate = threading.Event()

    def stuck() -> None:
        gate.wait(60)

    writer = Writer(store)
    writer.write_later("stuck", stuck)
    assert not writer.close(timeout_s=0.05)
    assert len(notices) == 1
    gate.set()
