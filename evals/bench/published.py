"""What llama.cpp was measured to need for the same cases, as data; nothing is measured here.

The trace is the same down to the lengths of the messages, so tokens compare strictly. Times do
not: they are of another machine, and of weights in four bits. They stay as a mark to be below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.bench import trace
from evals.bench.trace import Row, Sizes, Trace, draw_trace

SOURCE = (
    "llama.cpp server, commit 0c1e57098 (0.5.0-dev, Oct 2026), Q4_K_M, default settings, -np 1; "
    "the 0.8B shape with random weights, 2 threads of a 2-core Intel Xeon at 2.6 GHz with AVX512 "
    "and AMX, 22 Nov 2026; 8,192-token base, one pass. Another machine than this one: compare its "
    "tokens strictly, its seconds only with that in mind."
)

NUM_BASE = 8192


@dataclass(frozen=True)
class Published:
    """One case of the published column."""

    ttft_s: tuple[float, ...]
    """Median; or median, lowest, highest; or one number a question."""
    num_prefilled: tuple[int, ...] = ()
    """Of each question; empty where it was the new tokens, and no more."""

    def allowed(self, rows: Sequence[Row]) -> list[int]:
        """Return how many tokens llama.cpp read for each of these questions."""
        if len(self.num_prefilled) == len(rows):
            return list(self.num_prefilled)
        return [max(row.num_new, 1) for row in rows]


LLAMA_CPP: Mapping[str, Published] = {
    trace.FIRST: Published((50.2,), (8589,)),
    trace.APPEND: Published((3.86, 2.2, 4.5)),
    trace.RETRY: Published((0.17,), (4,)),
    trace.REWIND: Published((2.60,), (311,)),
    trace.NEW: Published((2.25,), (271,)),
    trace.BACK: Published((38.4,), (4450,)),
    trace.STRIP: Published((3.06,), (510, 313, 396, 288)),
    trace.TOOL_STRIP: Published((10.8, 10.3, 11.3), (1284, 1270)),
    trace.RESTART: Published((3.92,), (469,)),
    trace.RESTART_BACK: Published((2.81,), (333,)),
    trace.RESTART_STRIP: Published((55.9,), (9242,)),
}
"""`thinking stripped` was published as 288 to 510 tokens, which is 4 beyond what follows the
divergence; from the lengths of the messages these are the four numbers."""

LLAMA_CPP_TUNED: Mapping[str, Published] = {trace.BACK: Published((5.6,), (501,))}
"""With `-sps 0` and no fixed slot, on a trace of four turns."""

TARGET_FACTORS: Mapping[str, float] = {trace.BACK: 5.0, trace.RESTART_STRIP: 5.0}
"""How many times sooner than the published column the first token has to come; elsewhere once."""


def is_comparable(material: Trace) -> bool:
    """Tell whether a trace has the lengths of the published one."""
    drawn = draw_trace(Sizes(num_base=2), vocab_size=8)
    lengths = [len(chunk) for chunk in drawn.chunks]
    return (
        len(material.base) == NUM_BASE
        and [len(chunk) for chunk in material.chunks[: len(lengths)]] == lengths
    )
