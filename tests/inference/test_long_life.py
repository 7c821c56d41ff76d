"""An engine that has been talked to all day holds what its budgets allow, and no more each hour."""

import ctypes
import gc
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import transformers

from evals.bench.machine import rss_bytes
from inference.engine import Engine
from inference.model import Model
from inference.packed import LinearStates, Packed, line_key
from inference.prefix_cache import Node
from inference.store import Store
from tests.inference.long_lines import IDENTITY, ask, cold, drawn

NUM_TURNS, NUM_WARM = 200, 50
MAX_TOKENS = 3_000
MIB = 1 << 20
BUDGET_BYTES = 96 * MIB
LINE_BYTES = 60 * MIB
STORE_BYTES = 160 * MIB


@pytest.fixture
def model() -> Model:
    """Narrow, but a token weighs 16 KiB, so that what is kept too long shows."""
    config = transformers.Qwen3_5TextConfig(
        vocab_size=97,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        layer_types=["linear_attention", "full_attention"],
        num_attention_heads=8,
        num_key_value_heads=8,
        head_dim=256,
        linear_key_head_dim=64,
        linear_value_head_dim=64,
        linear_num_key_heads=8,
        linear_num_value_heads=8,
    )
    torch.manual_seed(7)
    return Model(transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32))


def num_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208  its entries vanish while listed


def settled_rss() -> int:
    """Give freed memory back to the system, so that what is left is in use."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return rss_bytes()


def nodes_of(engine: Engine) -> Iterator[Node]:
    stack = [engine.snapshots.root]
    while stack:
        node = stack.pop()
        stack += node.children.values()
        yield node


class Day:
    """One conversation after the other, with steps back, other tries and cancels."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.dice = random.Random(5)
        self.line = drawn(0, 400)
        self.live = engine.find(())
        self.num_turns = 0

    def turn(self) -> None:
        self.num_turns += 1
        what = self.dice.random()
        if what < 0.3:
            self.line = self.line[: self.dice.randrange(1, len(self.line))]
        elif what < 0.35 or len(self.line) > MAX_TOKENS:
            self.line = drawn(self.num_turns, 400)
        self.line += drawn(1000 + self.num_turns, self.dice.randrange(20, 400))
        self.live = self.engine.find(self.line, None if what > 0.9 else self.live)
        limit = self.dice.randrange(2, 30)
        looks = iter(range(limit if what > 0.8 else 10_000))
        end = ask(
            self.engine,
            self.line,
            num_new=16,
            live=self.live,
            cancel=lambda: next(looks, None) is None,
            marks=(len(self.line) - 20,),
        )
        self.line += end.token_ids


def packed(line: tuple[int, ...], num_before: int) -> Packed:
    """A node whose state is as large as a hundred tokens."""
    edge = line[num_before:]
    return Packed(
        key=line_key(line),
        parent=line_key(line[:num_before]),
        num_before=num_before,
        edge=edge,
        kv=torch.zeros(1, 2, 1, len(edge), 16),
        linear=(
            LinearStates(conv=(torch.zeros(1, 8, 3),), recurrent=(torch.zeros(1, 1, 56, 56),)),
        ),
    )


def test_pruning_frees_what_it_was_asked_for(tmp_path: Path) -> None:
    """Nodes in the middle lose their states first and go later, in the same pass."""
    line = drawn(3, 2_000)
    for kib in (0, 20, 60, 100, 200):
        store = Store(tmp_path / str(kib), IDENTITY, 1 << 30, pytest.fail)
        for end in range(200, 2_001, 200):
            assert store.put(packed(line[:end], end - 200))
        before = store.nbytes
        freed = store.prune(kib << 10)
        assert store.nbytes <= kib << 10
        assert freed == before - store.nbytes


def test_a_node_that_has_left_the_tree_takes_no_other_with_it(model: Model) -> None:
    engine = Engine(model, cache_bytes=BUDGET_BYTES)
    line = drawn(4, 300)
    ask(engine, line, num_new=0)
    (old,) = engine.snapshots.holders()
    engine.snapshots.drop(old)
    ask(engine, line, num_new=0)
    engine.snapshots.tidy(old)
    assert len(engine.snapshots) == 1


@pytest.mark.slow
@pytest.mark.parametrize("is_stored", [False, True])
def test_two_hundred_turns_with_steps_back_hold_no_more_than_fifty(
    model: Model, is_stored: bool, tmp_path: Path
) -> None:
    notices: list[str] = []
    store = Store(tmp_path, IDENTITY, STORE_BYTES, notices.append) if is_stored else None
    engine = Engine(model, cache_bytes=BUDGET_BYTES, prefill_chunk=256, store=store)
    day = Day(engine)
    rss, descriptors, nodes = [], [], []
    for _ in range(NUM_TURNS):
        day.turn()
        assert engine.shelf.flush(60), "what waits to be written comes on top"
        assert model.pool.nbytes <= BUDGET_BYTES + LINE_BYTES, "the live line comes on top"
        if day.num_turns % NUM_WARM == 0:
            rss.append(settled_rss())
            descriptors.append(num_descriptors())
            nodes.append(sum(1 for _ in nodes_of(engine)))
    assert max(rss[1:]) < 1.05 * rss[0]
    assert max(descriptors[1:]) <= descriptors[0]
    num_files = len(list(tmp_path.glob("*/*.safetensors")))
    # Nodes that only divide edges are as many at most; of lost files it learns now and then.
    assert nodes[-1] <= 2 * (len(engine.snapshots) + 2 * num_files + 32)
    assert nodes[-1] < 1.5 * nodes[0]
    assert ask(engine, day.line, live=day.live).token_ids == cold(model, day.line)
    assert store is None or store.nbytes <= STORE_BYTES

    del day
    engine.snapshots.budget_bytes = 0
    engine.snapshots.shrink()
    engine.close()
    gc.collect()
    assert model.pool.num_pages == 0, "nobody holds a page that nobody knows"
    assert not notices
