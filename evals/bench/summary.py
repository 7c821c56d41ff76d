"""From rows to figures: medians a case and engine, ratios between engines, one table of text."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from evals.bench import published
from evals.bench.trace import OPENING, Row

OURS, COLD, TRANSFORMERS, LLAMA_CPP = "ours", "cold", "transformers", "llama.cpp"
ENGINES = (OURS, COLD, TRANSFORMERS, LLAMA_CPP)
MIB = 2**20


@dataclass(frozen=True)
class Measured:
    """A row, and what it is a row of."""

    engine: str
    num_base: int
    repeat: int
    row: Row


@dataclass(frozen=True)
class Spread:
    """Median, lowest and highest of n values."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread":
        """Sum up at least one value."""
        numbers = sorted(values)
        return cls(statistics.median(numbers), numbers[0], numbers[-1])


@dataclass(frozen=True)
class CaseSummary:
    """One case on one engine with one base."""

    engine: str
    num_base: int
    case: str
    n: int
    num_prompt: Spread
    num_new: Spread
    num_prefilled: Spread
    num_reused: Spread
    ttft_s: Spread
    decode_tok_s: Spread | None
    peak_rss_bytes: int
    restart_s: Spread | None
    is_exact: bool | None
    """Read what is new and no more, in every question; None where history diverged."""
    at_most_published: bool | None
    """Read at most what llama.cpp was published to read, in every question; None: unknown."""
    times_cold: float | None = None
    """How many times sooner the first token came than from our own engine without reuse."""
    times_transformers: float | None = None
    times_published: float | None = None
    """The same against llama.cpp's published seconds, which are another machine's."""


def summarise(results: Sequence[Measured], comparable: Mapping[int, bool]) -> list[CaseSummary]:
    """Sum up every case; `comparable` says which bases have the lengths of the published trace."""
    groups: dict[tuple[int, str, str], list[Row]] = {}
    for result in results:
        if result.row.case != OPENING:
            key = (result.num_base, result.row.case, result.engine)
            groups.setdefault(key, []).append(result.row)
    ttfts = {key: statistics.median(row.ttft_s for row in rows) for key, rows in groups.items()}
    first_seen = {case: n for n, (_, case, _) in reversed(list(enumerate(groups)))}
    return [
        _summary(num_base, case, engine, rows, ttfts, comparable[num_base])
        for (num_base, case, engine), rows in sorted(
            groups.items(),
            key=lambda item: (item[0][0], first_seen[item[0][1]], ENGINES.index(item[0][2])),
        )
    ]


def _summary(
    num_base: int,
    case: str,
    engine: str,
    rows: Sequence[Row],
    ttfts: Mapping[tuple[int, str, str], float],
    is_comparable: bool,
) -> CaseSummary:
    known = published.LLAMA_CPP.get(case) if is_comparable else None
    ttft = Spread.of(row.ttft_s for row in rows)
    rates = [row.decode_tok_s for row in rows if row.decode_tok_s is not None]
    restarts = [row.restart_s for row in rows if row.restart_s is not None]
    diverged = any(row.diverges for row in rows)

    def times(other: str) -> float | None:
        reference = ttfts.get((num_base, case, other))
        return reference / ttft.median if reference and other != engine else None

    return CaseSummary(
        engine=engine,
        num_base=num_base,
        case=case,
        n=len(rows),
        num_prompt=Spread.of(row.num_prompt for row in rows),
        num_new=Spread.of(row.num_new for row in rows),
        num_prefilled=Spread.of(row.num_prefilled for row in rows),
        num_reused=Spread.of(row.num_reused for row in rows),
        ttft_s=ttft,
        decode_tok_s=Spread.of(rates) if rates else None,
        peak_rss_bytes=max(row.peak_rss_bytes for row in rows),
        restart_s=Spread.of(restarts) if restarts else None,
        is_exact=None
        if diverged
        else all(row.num_prefilled <= max(row.num_new, 1) for row in rows),
        at_most_published=None if known is None else _is_at_most(known, rows),
        times_cold=times(COLD),
        times_transformers=times(TRANSFORMERS),
        times_published=None if known is None else known.ttft_s[0] / ttft.median,
    )


def _is_at_most(known: published.Published, rows: Sequence[Row]) -> bool:
    """Compare turn by turn: rows of repeated passes come one pass after the other."""
    turns = sorted({row.turn for row in rows})
    firsts = [next(row for row in rows if row.turn == turn) for turn in turns]
    allowed = dict(zip(turns, known.allowed(firsts), strict=True))
    return all(row.num_prefilled <= allowed[row.turn] for row in rows)


HEADINGS = (
    "case", "engine", "n", "prompt", "new", "read", "reused", "TTFT s (range)", "tok/s",
    "peak MiB", "x cold", "x transformers", "x llama.cpp*", "read <= llama.cpp",
)  # fmt: skip


def table(summaries: Sequence[CaseSummary]) -> str:
    """Lay the summaries out, one block a base."""
    blocks = []
    for num_base in sorted({summary.num_base for summary in summaries}):
        own = [summary for summary in summaries if summary.num_base == num_base]
        lines = [HEADINGS, *_lines(own)]
        widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
        rows = [
            "  ".join(
                cell.ljust(width) if column < 2 else cell.rjust(width)
                for column, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        blocks.append("\n".join([f"{num_base:,}-token base", *rows]))
    notes = (
        "new: after the longest common prefix with anything read before. x: how many times sooner "
        "the first token came.\n* " + published.SOURCE
    )
    return "\n\n".join([*blocks, notes])


def _lines(summaries: Sequence[CaseSummary]) -> Iterable[tuple[str, ...]]:
    before = ""
    for summary in summaries:
        yield (
            "" if summary.case == before else summary.case,
            summary.engine,
            str(summary.n),
            f"{summary.num_prompt.median:,.0f}",
            f"{summary.num_new.median:,.0f}",
            f"{summary.num_prefilled.median:,.0f}",
            f"{summary.num_reused.median:,.0f}",
            _seconds(summary.ttft_s, summary.n),
            f"{summary.decode_tok_s.median:.1f}" if summary.decode_tok_s else "",
            f"{summary.peak_rss_bytes / MIB:,.0f}",
            _times(summary.times_cold),
            _times(summary.times_transformers),
            _times(summary.times_published),
            {None: "", True: "yes", False: "NO"}[summary.at_most_published],
        )
        before = summary.case


def _seconds(spread: Spread, n: int) -> str:
    if n == 1:
        return f"{spread.median:.3f}"
    return f"{spread.median:.3f} ({spread.low:.3f}-{spread.high:.3f})"


def _times(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.2f}"


def shortfalls(summaries: Sequence[CaseSummary]) -> list[str]:
    """Say in sentences where our engine does not reach what it has to."""
    found = []
    for summary in summaries:
        if summary.engine != OURS:
            continue
        where = f"{summary.case}, {summary.num_base:,}-token base"
        factor = published.TARGET_FACTORS.get(summary.case, 1.0)
        if summary.is_exact is False:
            found.append(f"{where}: more than the new tokens were read.")
        if summary.at_most_published is False:
            found.append(f"{where}: more tokens were read than llama.cpp read.")
        if summary.times_transformers is not None and summary.times_transformers <= 1:
            found.append(f"{where}: the first token came later than from transformers.")
        if summary.times_published is not None and summary.times_published < factor:
            found.append(f"{where}: the first token is under {factor:g}x of the published figure.")
    return found
