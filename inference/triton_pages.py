"""Triton's kernels for `page_kernels.py`, and nothing else: whoever imports this needs triton.

Where a line's pages lie and how long it is they read from memory (`page_map.py`), so that launches
can be recorded once and repeated. Places within a slab [layers, 2, HEADS, slab_tokens, DIM] are
counted in tokens from the address of a page: of layer 0, keys, head 0.
"""
# It may not be there, and has no types.
# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-def, untyped-decorator"

import torch
import triton
import triton.language as tl

NUMBERS = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
"""Types that a model computes in, as Triton has them."""
SMALLEST = tl.constexpr(2.0**-126)
"""`kv_codec.SMALLEST`."""
MAGIC = tl.constexpr(1.5 * 2**23)
"""Added to a small float32 and taken away again, it leaves the nearest even whole number."""
LOG2_E = tl.constexpr(1.4426950408889634)


@triton.jit
def _page(addresses, line, token, max_pages, PAGE: tl.constexpr, FIELDS: tl.constexpr):
    """Return where the addresses of the page of a token are kept."""
    return addresses + (line * max_pages + token // PAGE).to(tl.int64) * FIELDS


@triton.jit
def _pointer(entry, dtype: tl.constexpr):
    """Return what a kept address points to: pages begin at multiples of 16 bytes."""
    return tl.multiple_of(tl.load(entry).to(tl.pointer_type(dtype)), 16)


@triton.jit
def _put(entry, place, numbers, DIM: tl.constexpr, QUANTIZED: tl.constexpr):
    """Store [DIM] at a place of a page, as `Int8.encode` and `Plain.encode` do.

    The same to the last bit for numbers of 16 bits, whose 127th part is never near the middle of
    two scales: there torch may multiply by the reciprocal and round otherwise.
    """
    dims = tl.arange(0, DIM)
    if QUANTIZED:
        exact = numbers.to(tl.float32)
        scale = tl.maximum(tl.div_rn(tl.max(tl.abs(exact), 0), 127.0), SMALLEST)
        bits = scale.to(tl.uint32, bitcast=True)
        bits = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # bfloat16, to the nearest even
        scale = (bits << 16).to(tl.float32, bitcast=True)
        steps = (tl.div_rn(exact, scale) + MAGIC) - MAGIC
        steps = tl.minimum(tl.maximum(steps, -127.0), 127.0)
        tl.store(_pointer(entry, tl.int8) + place * DIM + dims, steps.to(tl.int8))
        tl.store(_pointer(entry + 1, tl.uint16) + place, bits.to(tl.uint16))
    else:
        tl.store(_pointer(entry, numbers.dtype) + place * DIM + dims, numbers)


@triton.jit(do_not_specialize=["layer", "num_tokens", "max_pages", "slab_tokens"])
def write(
    bounds,
    addresses,
    keys,
    values,
    layer,
    num_tokens,
    max_pages,
    slab_tokens,
    key_line,
    key_head,
    key_token,
    value_line,
    value_head,
    value_token,
    HEADS: tl.constexpr,
    DIM: tl.constexpr,
    PAGE: tl.constexpr,
    QUANTIZED: tl.constexpr,
):
    """Store a key and a value; grid (lines * num_tokens, HEADS)."""
    line, token = tl.program_id(0) // num_tokens, tl.program_id(0) % num_tokens
    head = tl.program_id(1)
    seen = tl.load(bounds + 2 * line) + token
    if seen < tl.load(bounds + 2 * line + 1):
        entry = _page(addresses, line, seen, max_pages, PAGE, 2 if QUANTIZED else 1)
        place = (layer * 2 * HEADS + head).to(tl.int64) * slab_tokens + seen % PAGE
        dims = tl.arange(0, DIM)
        key = tl.load(keys + line * key_line + head * key_head + token * key_token + dims)
        _put(entry, place, key, DIM, QUANTIZED)
        place += HEADS * slab_tokens
        value = tl.load(values + line * value_line + head * value_head + token * value_token + dims)
        _put(entry, place, value, DIM, QUANTIZED)


@triton.jit
def _tile(entry, places, is_there, DIM: tl.constexpr, dtype: tl.constexpr, DOT: tl.constexpr):
    """Load [N, DIM] of a page; what was never written may be anything, and is 0 here."""
    pointers = _pointer(entry, dtype) + places[:, None] * DIM + tl.arange(0, DIM)[None, :]
    return tl.load(pointers, mask=is_there[:, None], other=0).to(DOT)


@triton.jit
def _scales(entry, places, is_there):
    """Load [N] scales of a page as float32."""
    bits = tl.load(_pointer(entry + 1, tl.uint16) + places, mask=is_there, other=0)
    return (bits.to(tl.uint32) << 16).to(tl.float32, bitcast=True)


@triton.jit(do_not_specialize=["layer", "num_tokens", "max_pages", "slab_tokens"])
def attend(
    bounds,
    addresses,
    query,
    outputs,
    weights,
    layer,
    num_tokens,
    max_pages,
    slab_tokens,
    scale,
    query_line,
    query_head,
    query_token,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    DIM: tl.constexpr,
    PAGE: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    QUANTIZED: tl.constexpr,
    DOT: tl.constexpr,
):
    """Attend to a share of a line's keys; grid (lines * HEADS, shares, blocks of ROWS rows).

    A row is a token's query by one of the GROUPS heads that read one key head. Of each the output
    is kept, and the logarithm to base 2 of its sum of exponentials.
    """
    line, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    rows = tl.program_id(2) * ROWS + tl.arange(0, ROWS)
    tokens = rows // GROUPS
    dims = tl.arange(0, DIM)
    start, end = tl.load(bounds + 2 * line), tl.load(bounds + 2 * line + 1)
    num_seen = tl.where(tokens < end - start, start + tokens + 1, 0)

    queries = query + line * query_line + (head * GROUPS + rows % GROUPS) * query_head
    queries = (queries + tokens * query_token)[:, None] + dims[None, :]
    asked = tl.load(queries, mask=(tokens < num_tokens)[:, None], other=0).to(DOT)

    largest = tl.full([ROWS], -float("inf"), tl.float32)
    total = tl.zeros([ROWS], tl.float32)
    read = tl.zeros([ROWS, DIM], tl.float32)
    num_blocks = tl.cdiv(end, BLOCK)
    share = tl.cdiv(num_blocks, tl.num_programs(1))
    first = tl.program_id(1) * share
    last = tl.minimum(first + share, num_blocks)
    of_keys = (layer * 2 * HEADS + head).to(tl.int64) * slab_tokens
    dtype: tl.constexpr = tl.int8 if QUANTIZED else query.dtype.element_ty
    for block in range(first, last):
        entry = _page(addresses, line, block * BLOCK, max_pages, PAGE, 2 if QUANTIZED else 1)
        numbers = block * BLOCK + tl.arange(0, BLOCK)
        is_there = numbers < end
        places = of_keys + block * BLOCK % PAGE + tl.arange(0, BLOCK)
        keys = _tile(entry, places, is_there, DIM, dtype, DOT)
        scores = tl.dot(asked, tl.trans(keys), input_precision="ieee") * (scale * LOG2_E)
        if QUANTIZED:
            scores *= _scales(entry, places, is_there)[None, :]
        scores = tl.where(numbers[None, :] < num_seen[:, None], scores, -float("inf"))
        new_largest = tl.maximum(largest, tl.max(scores, 1))
        base = tl.where(new_largest == -float("inf"), 0.0, new_largest)  # nothing seen yet
        shares = tl.exp2(scores - base[:, None])
        kept = tl.exp2(largest - base)
        total = total * kept + tl.sum(shares, 1)
        places += HEADS * slab_tokens
        if QUANTIZED:
            shares *= _scales(entry, places, is_there)[None, :]
        values = _tile(entry, places, is_there, DIM, dtype, DOT)
        read = tl.dot(shares.to(DOT), values, read * kept[:, None], input_precision="ieee")
        largest = new_largest

    total = tl.where(total > 0, total, 1.0)
    parts = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    parts = (parts * tl.num_programs(2) * ROWS).to(tl.int64) + rows
    tl.store(weights + parts, largest + tl.log2(total))
    if first < last:
        tl.store(outputs + parts[:, None] * DIM + dims[None, :], read / total[:, None])


@triton.jit(do_not_specialize=["num_tokens", "num_parts", "num_rows"])
def join(
    outputs,
    weights,
    read,
    num_tokens,
    num_parts,
    num_rows,
    HEADS: tl.constexpr,
    GROUPS: tl.constexpr,
    DIM: tl.constexpr,
    STRIP: tl.constexpr,
    PARTS: tl.constexpr,
):
    """Join what `attend` kept of a row's parts; grid (lines * HEADS, rows, DIM // STRIP)."""
    line, head = tl.program_id(0) // HEADS, tl.program_id(0) % HEADS
    row = tl.program_id(1)
    dims = tl.program_id(2) * STRIP + tl.arange(0, STRIP)
    numbers = tl.arange(0, PARTS)
    parts = (tl.program_id(0) * num_parts + numbers).to(tl.int64) * num_rows + row
    weight = tl.load(weights + parts, mask=numbers < num_parts, other=-float("inf"))
    largest = tl.max(weight, 0)
    shares = tl.exp2(weight - tl.where(largest == -float("inf"), 0.0, largest))
    total = tl.sum(shares, 0)
    there = (weight > -float("inf"))[:, None]  # of other parts nothing was kept
    part = tl.load(outputs + parts[:, None] * DIM + dims[None, :], mask=there, other=0)
    joined = tl.sum(part * shares[:, None], 0) / tl.where(total > 0, total, 1.0)
    place = (line * num_tokens + row // GROUPS) * HEADS * GROUPS + head * GROUPS + row % GROUPS
    tl.store(read + place.to(tl.int64) * DIM + dims, joined.to(read.dtype.element_ty))
