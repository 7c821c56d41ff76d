"""Kernels that write and read the pages of several lines do what each line does alone.

There is no GPU: Triton's interpreter runs them, on a CPU and slowly, so that sizes are small.
"""

import json
import logging
import os
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inference.kv_codec import KvKind, KvShape
from inference.page_kernels import Extent, KernelPages, Pages, PlainPages
from inference.page_map import PageMap
from inference.page_trial import Maker, is_good, kernels_for
from inference.pages import PageTable
from inference.sizes import PAGE_TOKENS
from inference.slabs import Page, PagePool

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
DIM, SCALE = 32, 0.3


@pytest.fixture
def kernels(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[KernelPages]]:
    """What uses the kernels, which are interpreted; what it makes is full of NaN."""
    pytest.importorskip(
        "triton", minversion="3.7", reason="needs Triton's interpreter, 3.7 or newer"
    )
    from triton.runtime.interpreter import InterpretedFunction

    prepare, prepared = InterpretedFunction.__call__, set()

    def call(function: InterpretedFunction, *inputs: object, **options: object) -> object:
        """Prepare the language once for a module: for each call it takes as long as the test."""
        if function.fn.__module__ in prepared:
            return function.rewrite()(*inputs, **options)
        prepared.add(function.fn.__module__)
        return prepare(function, *inputs, **options)

    monkeypatch.setattr(InterpretedFunction, "__call__", call)
    torch.use_deterministic_algorithms(True)
    yield KernelPages
    torch.use_deterministic_algorithms(False)


def shape_of(
    kind: KvKind, dtype: torch.dtype = torch.float32, num_layers: int = 1, num_heads: int = 1
) -> KvShape:
    return KvShape(num_layers, num_heads, DIM, dtype, CPU, kind)


class Side:
    """Lines of a pool whose pages are small slabs of their own, and what reads them."""

    def __init__(self, make: Maker, shape: KvShape, extent: Extent) -> None:
        self.pool = PagePool(shape, slab_pages=1)
        self.pages: Pages = make(self.pool, extent)
        self.extent = extent
        self.tables: list[PageTable] = []
        self._random = torch.Generator().manual_seed(1)

    def drawn(self, *sizes: int) -> Tensor:
        numbers = torch.randn(*sizes, DIM, generator=self._random)
        return numbers.to(self.pool.shape.dtype)

    def grow(self, *lengths: int) -> None:
        """Add lines that have read something."""
        shape = self.pool.shape
        for length in lengths:
            table = PageTable(self.pool)
            table.reserve(length)
            for layer in range(shape.num_layers):
                table.write(layer, *self.drawn(2, 1, shape.num_heads, length))
            table.commit()
            self.tables.append(table)

    def read(self, *num_new: int) -> list[Tensor]:
        """Let each line read new tokens; return what attention reads in each layer."""
        for table, num in zip(self.tables, num_new, strict=True):
            table.reserve(num)
            self._spoil(table.pages[-1])
        self.pages.fill(self.tables)
        lines, tokens = self.extent.num_lines, self.extent.num_tokens
        outputs = []
        for layer in range(self.pool.shape.num_layers):
            # As a projection gives them: heads of a token side by side.
            new = self.drawn(lines, tokens, 2 * self.pool.shape.num_heads).transpose(1, 2)
            self.pages.write(layer, *new.chunk(2, dim=1))
            query = self.drawn(lines, self.extent.num_query_heads, tokens)
            outputs.append(self.pages.attend(layer, query, SCALE).clone())
        for table in self.tables:
            table.commit()
        return outputs

    def _spoil(self, page: Page) -> None:
        """Put into the places that no line has what must never be read."""
        for field in page.slab.fields:
            nothing = 99 if field.dtype == torch.int8 else torch.nan
            field[..., page.first + page.filled : page.first + PAGE_TOKENS, :] = nothing

    @property
    def stored(self) -> list[Tensor]:
        return [table.copy_out(0, len(table)) for table in self.tables]


def assert_alike(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        rtol = 1e-5 if ours.dtype == torch.float32 else 2**-6
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=rtol)


def assert_same(found: Side, expected: Side) -> None:
    assert all(map(torch.equal, found.stored, expected.stored))


@pytest.mark.parametrize("kind", ["int8", "16bit"])
@pytest.mark.parametrize(
    ("num_layers", "num_heads", "groups", "num_tokens", "lengths"),
    [
        (2, 2, 3, 1, (255, 256)),
        (1, 1, 1, 2, (0, 255, 257)),
        (1, 1, 4, 5, (600,)),
        (1, 1, 2, 16, (250,)),
    ],
)
def test_lines_store_and_read_together_what_they_do_alone(
    num_layers: int,
    num_heads: int,
    groups: int,
    num_tokens: int,
    lengths: tuple[int, ...],
    kind: KvKind,
    kernels: type[KernelPages],
) -> None:
    extent = Extent(len(lengths), num_tokens, 4, num_heads * groups)
    shape = shape_of(kind, num_layers=num_layers, num_heads=num_heads)
    found, expected = Side(kernels, shape, extent), Side(PlainPages, shape, extent)
    for side in (found, expected):
        side.grow(*lengths)
    new = [num_tokens] * len(lengths)
    assert_alike(found.read(*new), expected.read(*new))
    assert_same(found, expected)


@pytest.mark.parametrize("kind", ["int8", "16bit"])
def test_numbers_of_16_bits_are_stored_to_the_last_bit(
    kind: KvKind, kernels: type[KernelPages]
) -> None:
    extent = Extent(1, 16, 1, 1)
    sides = [Side(make, shape_of(kind, torch.bfloat16), extent) for make in (kernels, PlainPages)]
    for side in sides:
        side.grow(3)
    assert_alike(*(side.read(16) for side in sides))
    assert_same(*sides)


def test_calls_go_on_with_longer_lines_other_lines_and_none(kernels: type[KernelPages]) -> None:
    extent = Extent(3, 2, 3, 2)
    sides = [Side(make, shape_of("int8"), extent) for make in (kernels, PlainPages)]
    for side in sides:
        side.grow(254, 40)
    for num_new in ((2, 1), (1, 2)):  # into the next page; fewer than there is room for
        assert_alike(*(side.read(*num_new) for side in sides))
    for side in sides:
        first, second = side.tables
        first.truncate(200)
        side.tables = [second, first.share(), first]  # which then copy what they share
    assert_alike(*(side.read(1, 2, 2) for side in sides))
    assert_same(*sides)
    for side in sides:
        side.tables = []
        assert all(not layer.any() for layer in side.read())


def test_numbers_far_out_and_halves_are_stored_alike(kernels: type[KernelPages]) -> None:
    sides = [Side(make, shape_of("int8"), Extent(1, 5, 1, 1)) for make in (kernels, PlainPages)]
    numbers = sides[0].drawn(1, 1, 5)
    numbers[0, 0, :3] *= torch.tensor([0.0, 1e-30, 1e30])[:, None]
    numbers[0, 0, 3:].clamp_(-1, 1)
    numbers[0, 0, 3, :3] = torch.tensor([0.5, 1.5, 127.0])  # of steps, to the even one
    numbers[0, 0, 4, 0] = 127 * (1 + 2**-8)  # in the middle of two scales
    for side in sides:
        side.grow(0)
        (table,) = side.tables
        table.reserve(5)
        side.pages.fill([table])
        side.pages.write(0, numbers, -numbers)
        table.commit()
    assert_same(*sides)


class CountedMap(PageMap):
    """Knows how many numbers each copy to the device was of."""

    def __init__(self, pool: PagePool, num_lines: int, max_pages: int) -> None:
        super().__init__(pool, num_lines, max_pages)
        self.sent: list[int] = []

    def _send(self, source: Tensor, target: Tensor) -> None:
        self.sent.append(source.numel())
        super()._send(source, target)


def filled(page_map: CountedMap, tables: Sequence[PageTable]) -> list[int]:
    """Fill a map; return what was sent, having seen that it names what the tables hold."""
    page_map.sent = []
    page_map.fill(tables)
    for line, table in enumerate(tables):
        assert page_map.bounds[line, 0] == len(table)
        for number, page in enumerate(table.pages):
            fields = [field[0, 0, 0, page.first] for field in page.slab.fields]
            known = [field.data_ptr() for field in fields]
            assert page_map.addresses[line, number].tolist() == known
    return page_map.sent


def test_a_token_sends_the_bounds_and_pages_only_where_they_change() -> None:
    pool = PagePool(shape_of("int8"), slab_pages=3)
    page_map = CountedMap(pool, 2, 4)
    first, second = PageTable(pool), PageTable(pool)
    for table, length in ((first, 3 * PAGE_TOKENS - 2), (second, 10)):
        table.reserve(length)
        table.commit()
        table.reserve(1)
    assert filled(page_map, [first, second]) == [4, 3 * 2, 2]
    first.commit()
    first.reserve(1)
    assert filled(page_map, [first, second]) == [4]
    first.commit()
    first.reserve(1)
    assert filled(page_map, [first, second]) == [4, 4 * 2]  # a page more, in another slab
    fork = first.share(PAGE_TOKENS + 7)
    assert filled(page_map, [fork, second]) == [4, 2 * 2]  # another table
    fork.reserve(1)
    assert filled(page_map, [fork, second]) == [4, 2 * 2]  # a copy of the last
    assert filled(page_map, [second]) == [4, 2]
    assert page_map.bounds.tolist() == [[10, 11], [0, 0]]


def test_a_map_keeps_no_page_of_a_line_that_has_ended() -> None:
    pool = PagePool(shape_of("int8"), slab_pages=1)
    page_map = PageMap(pool, 1, 2)
    table = PageTable(pool)
    table.reserve(PAGE_TOKENS + 1)
    page_map.fill([table])
    (slab, _) = (page.slab for page in table.pages)
    known = weakref.ref(slab.fields[0])
    del table, slab
    assert known() is None


def test_without_a_gpu_there_are_none() -> None:
    assert kernels_for(shape_of("int8"), 2) is None


def test_what_answers_as_plain_torch_does_is_used(caplog: pytest.LogCaptureFixture) -> None:
    for kind in ("16bit", "int8", "int4"):
        assert is_good(PlainPages, shape_of(kind), 2)
    assert caplog.records == []


class Forgetful(PlainPages):
    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        super().write(layer, keys, values.roll(1, dims=2))


class Blind(PlainPages):
    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        return super().attend(layer, query, scale * 1.5)


class Broken(PlainPages):
    def attend(self, layer: int, query: Tensor, scale: float) -> Tensor:
        raise ValueError("no such shared memory.\nPTXAS:")


@pytest.mark.parametrize(
    ("wrong", "what"),
    [(Forgetful, "inf off"), (Blind, "0.*off"), (Broken, "no such shared memory\\)")],
)
def test_what_stores_or_reads_otherwise_or_breaks_is_said_once_and_not_used(
    wrong: Maker, what: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert not is_good(wrong, shape_of("int8"), 2)
    (record,) = caplog.records
    assert re.search(what, record.message)


@pytest.mark.slow
def test_the_kernels_answer_what_they_are_asked_on_a_card(kernels: type[KernelPages]) -> None:
    assert is_good(kernels, shape_of("int8", torch.bfloat16), 2)


@pytest.mark.slow
@pytest.mark.usefixtures("kernels")
def test_programs_fit_the_cards_of_24_gb_and_larger_ones(tmp_path: Path) -> None:
    cases = "86 int8 1 86 16bit 16 89 int8 16 90 int8 16 120 int8 1"
    environment = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "tests.inference.compiled_pages", *cases.split()]
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    programs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(programs) == 5 * 3
    too_large = [taken for taken in programs if taken["shared"] > 99 * 1024]
    assert too_large == [], "what cards for consumers let a program share"
    assert [taken for taken in programs if taken["spilled"] > 64] == []
