"""Sizes in which the engine works; a planner, which loads no torch, counts by them beforehand."""

PAGE_TOKENS = 256
"""Tokens whose keys and values are one page."""

NF4_BLOCK = 64
"""Numbers that share a scale of 8 bits ..."""
NF4_NESTED_BLOCK = 256
"""... and scales that share one of 32."""

CPU_PIECE, GPU_PIECE = 1 << 21, 1 << 26
"""Numbers of a matrix in few bits that are made dense at a time: on a CPU they stay in its cache,
on a GPU a launch costs more than memory."""

CPU_TILE_BYTES, GPU_TILE_BYTES = 1 << 21, 1 << 25
"""Of keys and values in few bits that are decoded at a time: what stays in the cache of a CPU, and
enough for all cores of a GPU."""
