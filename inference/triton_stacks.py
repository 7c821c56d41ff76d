# mypy: disable-error-code="import-not-found,import-untyped,no-untyped-def,untyped-decorator"
"""Few rows times a matrix as it is stored: what a GPU runs of `stack_kernels.py`, in Triton.

Each byte of the matrix is read once, and decoded in registers. The sixteen numbers of NF4 are
looked up in shared memory, where one look-up is not in another's way; to choose a number by
comparing takes twenty instructions, more than there is time for while a byte arrives. Weights are
rounded to the kind of `x`, as `Stack.dense` rounds them, and left to the tensor cores: what they
take in pairs, other instructions would have to make wide again one by one. They take sixteen rows
of `x` at a time, so that one row is multiplied as sixteen are: its product is the same in any
company.

A program has ROWS rows of the matrix, and of each BLOCKS blocks of 64 columns at a time. A block is
in the hands of one warp, whose sums meet those of the others at the end: so enough bytes are under
way where a matrix has few rows, in one launch, and every time in the same order.
"""

import triton
import triton.language as tl

ROWS = tl.constexpr(16)
BLOCKS = tl.constexpr(4)


@triton.jit(do_not_specialize=["index", "num_x"])
def nf4(
    x, packed, absmax, nested, offset, code, scale_code, chosen, out,
    index, num_x, num_each, num_rows, num_blocks: tl.constexpr,
):  # fmt: skip
    """Multiply `num_x` rows by the matrix `index`, or each row by matrices of its own.

    Args:
        x: [T, num_blocks * 64], float32 or of 16 bits.
        packed, absmax, nested, offset: the fields of an `Nf4Stack`.
        code, scale_code: what its bits mean, `nf4.py`.
        chosen: the matrix of each product, [T * num_each]; or None, then `index` is that of all.
        out: [T, num_rows], or [T * num_each, num_rows].
        index, num_x: see above; `num_x` is 1 where matrices are chosen.
        num_each: the products of a row.
        num_rows, num_blocks: of a matrix.

    Grid: [num_rows / ROWS, rounded up], and the number of `chosen`, if there are any.
    """
    number = tl.program_id(1)
    matrix = (index if chosen is None else tl.load(chosen + number)).to(tl.int64)
    packed += matrix * num_rows * num_blocks * 32
    absmax += matrix * num_rows * num_blocks
    nested += matrix * tl.cdiv(num_rows * num_blocks, 256)
    mean = tl.load(offset + matrix)
    x += (number // num_each) * num_blocks * 64
    out += number * num_rows

    numbers = tl.load(code + tl.arange(0, 16))
    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[None, :]
    x_rows = tl.arange(0, 16)[None, :, None]
    sums = tl.zeros([BLOCKS, 16, ROWS], tl.float32)
    for first in range(0, num_blocks, BLOCKS):
        blocks = first + tl.arange(0, BLOCKS)[:, None]
        inside = (blocks < num_blocks) & (rows < num_rows)
        places = rows * num_blocks + blocks
        # 1. The scales, [BLOCKS, ROWS].
        scales = tl.load(scale_code + tl.load(absmax + places, mask=inside, other=0).to(tl.int32))
        scales = scales * tl.load(nested + places // 256, mask=inside, other=0) + mean
        # 2. The weights, [BLOCKS, ROWS, 64]; in the high bits is the first of a pair.
        bytes_of = packed + places[:, :, None] * 32 + tl.arange(0, 32)[None, None, :]
        pairs = tl.load(bytes_of, mask=inside[:, :, None], other=0, eviction_policy="evict_first")
        pairs = pairs.to(tl.int32)  # to shift bytes takes more instructions
        codes = tl.join(pairs >> 4, pairs & 15)
        weights = tl.gather(numbers, tl.reshape(codes, [BLOCKS * ROWS * 64]), 0)
        weights = tl.reshape(weights, [BLOCKS, ROWS, 64]) * scales[:, :, None]
        weights = tl.trans(weights.to(x.dtype.element_ty), (0, 2, 1))
        # 3. Their columns of x, [BLOCKS, 16, 64], zeros where the matrix has ended.
        columns = blocks[:, :, None] * 64 + tl.arange(0, 64)[None, None, :]
        of_x = (x_rows < num_x) & (columns < num_blocks * 64)
        part = tl.load(x + x_rows * num_blocks * 64 + columns, mask=of_x, other=0)
        sums = tl.dot(part, weights, sums, input_precision="ieee")
    out_rows = tl.arange(0, 16)[:, None]
    products = tl.sum(sums, axis=0).to(x.dtype.element_ty)
    of_out = (out_rows < num_x) & (rows < num_rows)
    tl.store(out + out_rows * num_rows + rows, products, mask=of_out)


@triton.jit(do_not_specialize=["index", "num_x"])
def int8(
    x, values, scale, chosen, out, index, num_x, num_each, num_rows, num_columns: tl.constexpr
):  # fmt: skip
    """Do what `nf4` does, with the fields of an `Int8Stack`, of any number of columns."""
    number = tl.program_id(1)
    matrix = (index if chosen is None else tl.load(chosen + number)).to(tl.int64)
    values += matrix * num_rows * num_columns
    scale += matrix * num_rows
    x += (number // num_each) * num_columns
    out += number * num_rows

    rows = tl.program_id(0) * ROWS + tl.arange(0, ROWS)[None, :]
    scales = tl.load(scale + rows, mask=rows < num_rows, other=0)[:, :, None]
    x_rows = tl.arange(0, 16)[None, :, None]
    sums = tl.zeros([BLOCKS, 16, ROWS], tl.float32)
    for first in range(0, num_columns, BLOCKS * 64):
        columns = first + tl.arange(0, BLOCKS)[:, None, None] * 64 + tl.arange(0, 64)[None, None, :]
        inside = (columns < num_columns) & (rows[:, :, None] < num_rows)
        places = rows[:, :, None].to(tl.int64) * num_columns + columns
        steps = tl.load(values + places, mask=inside, other=0, eviction_policy="evict_first")
        weights = (steps.to(tl.float32) * scales).to(x.dtype.element_ty)
        of_x = (x_rows < num_x) & (columns < num_columns)
        part = tl.load(x + x_rows * num_columns + columns, mask=of_x, other=0)
        sums = tl.dot(part, tl.trans(weights, (0, 2, 1)), sums, input_precision="ieee")
    out_rows = tl.arange(0, 16)[:, None]
    products = tl.sum(sums, axis=0).to(x.dtype.element_ty)
    of_out = (out_rows < num_x) & (rows < num_rows)
    tl.store(out + out_rows * num_rows + rows, products, mask=of_out)
