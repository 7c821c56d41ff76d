# mypy: disable-error-code="import-not-found,import-untyped,misc,no-untyped-def,no-untyped-call"
"""Rows times NF4 matrices as they are stored, in Triton: the device's side of `nf4_kernels.py`.

The bytes of a matrix are read once and become numbers in registers: they are what a launch waits
for. A number is looked up among the sixteen, which lie in one line of the first cache: choosing it
by comparing takes some twenty instructions, more than a 4090 has time for while a byte arrives. A
byte holds an even column and the odd one after it, so that it is the rows of `x` that are split
into even and odd columns, once for all the matrix's rows that a program has, not the matrix.

Weights are rounded to the kind of `x`, as `Nf4Stack.dense` rounds them, and sums are float32.
Launch these with `enable_fp_fusion=False`: a scale times its scale plus the offset, rounded once
instead of twice, would be another scale.

Everywhere: `num_rows` and `num_blocks` are the matrix's rows and its blocks of 64 columns, ROWS
and BLOCKS how many of them a program has at a time, powers of two.
"""

import triton
import triton.language as tl


@triton.jit
def _weights(
    packed, absmax, nested, offset, codes, byte_scales,
    rows, blocks, num_rows, num_blocks, kind: tl.constexpr,
):  # fmt: skip
    """Return the even and the odd columns of some blocks of some rows, [ROWS, BLOCKS, 32] each."""
    places = rows[:, None] * num_blocks + blocks[None, :]
    inside = (rows[:, None] < num_rows) & (blocks[None, :] < num_blocks)
    scales = tl.load(byte_scales + tl.load(absmax + places, mask=inside, other=0).to(tl.int32))
    scales = scales * tl.load(nested + places // 256, mask=inside, other=0) + offset
    bytes_ = packed + places[:, :, None] * 32 + tl.arange(0, 32)[None, None, :]
    pairs = tl.load(
        bytes_, mask=inside[:, :, None], other=0, eviction_policy="evict_first"
    ).to(tl.int32)  # fmt: skip
    even = tl.load(codes + (pairs >> 4)) * scales[:, :, None]
    odd = tl.load(codes + (pairs & 15)) * scales[:, :, None]
    return even.to(kind), odd.to(kind)


@triton.jit(do_not_specialize=["index"])
def one_row(
    x, packed, absmax, nested, offset, codes, byte_scales, chosen, out,
    index, rows_each, num_rows, num_blocks, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Multiply one row by one matrix: a sum along each row of the matrix.

    `out`, [P, num_rows]: row p is row `p // rows_each` of `x` times the matrix `chosen[p]`, or,
    where that is None, times the matrix `index`. Grid: [num_rows / ROWS, P].
    """
    number = tl.program_id(1)
    if chosen is None:
        matrix = index.to(tl.int64)
    else:
        matrix = tl.load(chosen + number).to(tl.int64)
    packed += matrix * num_rows * num_blocks * 32
    absmax += matrix * num_rows * num_blocks
    nested += matrix * tl.cdiv(num_rows * num_blocks, 256)
    x += (number // rows_each) * num_blocks * 64
    own_offset = tl.load(offset + matrix)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    columns = tl.arange(0, 32)[None, :, None] * 2 + tl.arange(0, 2)[None, None, :]
    sums = tl.zeros([ROWS, BLOCKS, 32], tl.float32)
    for first in range(0, num_blocks, BLOCKS):
        blocks = first + tl.arange(0, BLOCKS)
        even, odd = _weights(
            packed, absmax, nested, own_offset, codes, byte_scales,
            rows, blocks, num_rows, num_blocks, x.dtype.element_ty,
        )  # fmt: skip
        own = blocks[:, None, None]
        even_x, odd_x = tl.split(tl.load(x + own * 64 + columns, mask=own < num_blocks, other=0))
        sums = tl.fma(even.to(tl.float32), even_x[None].to(tl.float32), sums)
        sums = tl.fma(odd.to(tl.float32), odd_x[None].to(tl.float32), sums)
    product = tl.sum(tl.sum(sums, axis=2), axis=1)
    tl.store(out + number * num_rows + rows, product.to(x.dtype.element_ty), mask=rows < num_rows)


@triton.jit(do_not_specialize=["index", "num_x"])
def few_rows(
    x, packed, absmax, nested, offset, codes, byte_scales, out,
    index, num_x, num_rows, num_blocks, ROWS: tl.constexpr, BLOCKS: tl.constexpr,
):  # fmt: skip
    """Multiply up to 16 rows by the matrix `index`, on the tensor cores. Grid: [num_rows / ROWS]."""
    matrix = index.to(tl.int64)
    packed += matrix * num_rows * num_blocks * 32
    absmax += matrix * num_rows * num_blocks
    nested += matrix * tl.cdiv(num_rows * num_blocks, 256)
    own_offset = tl.load(offset + matrix)
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    numbers = tl.arange(0, 16)
    parity = tl.arange(0, 2)[None, None, :]
    sums = tl.zeros([16, ROWS], tl.float32)
    for first in range(0, num_blocks, BLOCKS):
        even, odd = _weights(
            packed, absmax, nested, own_offset, codes, byte_scales,
            rows, first + tl.arange(0, BLOCKS), num_rows, num_blocks, x.dtype.element_ty,
        )  # fmt: skip
        columns = (first * 32 + tl.arange(0, BLOCKS * 32)[None, :, None]) * 2 + parity
        inside = (numbers[:, None, None] < num_x) & (columns < num_blocks * 64)
        places = numbers[:, None, None] * (num_blocks * 64) + columns
        even_x, odd_x = tl.split(tl.load(x + places, mask=inside, other=0))
        even = tl.trans(tl.reshape(even, [ROWS, BLOCKS * 32]))
        odd = tl.trans(tl.reshape(odd, [ROWS, BLOCKS * 32]))
        sums = tl.dot(even_x, even, sums, input_precision="ieee")
        sums = tl.dot(odd_x, odd, sums, input_precision="ieee")
    inside = (numbers[:, None] < num_x) & (rows[None, :] < num_rows)
    places = numbers[:, None] * num_rows + rows[None, :]
    tl.store(out + places, sums.to(x.dtype.element_ty), mask=inside)
