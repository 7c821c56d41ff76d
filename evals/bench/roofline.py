"""How near is a figure to what this machine can do at all?

The ceilings are measured before anything else: bytes a second that come from memory, and operations
a second of matrix products of a prompt's shape. What a model needs of both is counted from its
shape, never timed. A `Figure` is one row of a benchmark's table, beside its ceiling; a `Report` is
the table, and JSON that says on what it was measured. Running a model is not for here.
"""

import json
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from evals.bench.machine import describe_machine, load, moment
from inference.footprint import Footprint, Kv, Weights
from inference.shapes import ModelShape

NUM_RUNS = 5
READ_BYTES = 1 << 29
"""Of the buffer that is read: larger than the caches of a processor."""
NUM_ROWS = 2048
"""Of the left matrix, tokens of a prompt; fewer where a product would take longer than a second."""
PROBE_ROWS = 128
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class Work:
    """What some tokens cost at least: operations, and bytes that come from memory once."""

    linear_flops: int
    """Products with the weights, a multiplication and an addition counted as two."""
    attention_flops: int
    """Scores and their products with the values."""
    recurrent_flops: int
    """The gated delta rule token by token; a kernel of chunks does more."""
    weight_bytes: int
    kv_bytes: int
    state_bytes: int
    """Recurrent states, read and written."""

    @property
    def flops(self) -> int:
        """Operations of matrix products."""
        return self.linear_flops + self.attention_flops

    @property
    def num_bytes(self) -> int:
        """Bytes from memory."""
        return self.weight_bytes + self.kv_bytes + self.state_bytes


@dataclass(frozen=True)
class Ceilings:
    """The most that was seen of this machine, with the threads in use."""

    bytes_per_s: float
    flops_per_s: Mapping[str, float]
    """By the name of the numbers' type in torch."""

    def seconds(self, work: Work, dtype: torch.dtype) -> float:
        """Return the least time for some work: that of the products or of memory."""
        peak = self.flops_per_s[str(dtype).removeprefix("torch.")]
        return max(work.flops / peak, work.num_bytes / self.bytes_per_s)

    def words(self) -> str:
        """Say them in a line."""
        products = (f"{name} {peak / 1e9:,.0f} GFLOPS" for name, peak in self.flops_per_s.items())
        return f"ceilings: {', '.join(products)}, memory {self.bytes_per_s / 1e9:.1f} GB/s"


def prefill_work(
    footprint: Footprint, num_tokens: int, num_cached: int = 0,
    weights: Weights = "16bit", kv: Kv = "16bit",
) -> Work:  # fmt: skip
    """Count what reading so many tokens costs after those that are cached; the last has logits."""
    shape = footprint.shape
    pairs = num_tokens * num_cached + num_tokens * (num_tokens + 1) // 2
    head = 2 * shape.hidden * shape.vocab
    return Work(
        linear_flops=2 * num_tokens * _values_of_a_token(shape) + head,
        attention_flops=_attention_flops(shape, pairs),
        recurrent_flops=num_tokens * _recurrent_flops(shape),
        weight_bytes=_weight_bytes(footprint, weights, num_tokens),
        kv_bytes=(num_cached + num_tokens) * footprint.kv_of_a_token(kv),
        state_bytes=2 * footprint.recurrent,
    )


def decode_work(
    footprint: Footprint, num_cached: int,
    weights: Weights = "16bit", kv: Kv = "16bit", num_rows: int = 1,
) -> Work:  # fmt: skip
    """Count what writing one token costs in each of the rows, which share the weights alone."""
    shape = footprint.shape
    return Work(
        linear_flops=2 * num_rows * (_values_of_a_token(shape) + shape.hidden * shape.vocab),
        attention_flops=num_rows * _attention_flops(shape, num_cached + 1),
        recurrent_flops=num_rows * _recurrent_flops(shape),
        weight_bytes=_weight_bytes(footprint, weights, num_rows),
        kv_bytes=num_rows * (num_cached + 1) * footprint.kv_of_a_token(kv),
        state_bytes=num_rows * 2 * footprint.recurrent,
    )


def _values_of_a_token(shape: ModelShape) -> int:
    """Numbers of the matrices that one token inside of the layers is multiplied by."""
    bodies = [part for part in shape.parts if part.group in ("delta", "attention", "mlp")]
    dense = sum(part.num_values for part in bodies if len(part.shape) > 1)  # convolutions too
    return dense + round(_experts(shape) * _share_of_experts(shape, 1))


def _experts(shape: ModelShape) -> int:
    return sum(part.num_values for part in shape.parts if part.group == "experts")


def _share_of_experts(shape: ModelShape, num_tokens: int) -> float:
    """The share of all experts that some tokens are expected to use, each choosing by chance."""
    counts = [part.shape[0] for part in shape.parts if part.group == "experts"]
    return 1 - (1 - shape.experts_per_token / counts[0]) ** num_tokens if counts else 0.0


def _weight_bytes(footprint: Footprint, weights: Weights, num_tokens: int) -> int:
    """Every matrix once, of the experts those that are used; a lone embedding gives a few rows."""
    groups = dict(footprint.weights(weights))
    if not footprint.shape.is_tied:
        groups.pop("embedding")
    experts = groups.pop("experts", 0) * _share_of_experts(footprint.shape, num_tokens)
    return sum(groups.values()) + round(experts)


def _attention_flops(shape: ModelShape, pairs: int) -> int:
    return 4 * pairs * shape.num_attention_layers * shape.num_heads * shape.head_dim


def _recurrent_flops(shape: ModelShape) -> int:
    """Fade, answer, correct and read: 1 + 2 + 2 + 2 operations for each number of a state."""
    of_a_head = shape.linear_key_dim * shape.linear_value_dim
    return 7 * shape.num_linear_layers * shape.linear_value_heads * of_a_head


def measure_ceilings(
    shape: ModelShape, device: str = "cpu", read_bytes: int = READ_BYTES, num_rows: int = NUM_ROWS
) -> Ceilings:
    """Read memory and multiply matrices of this model's shape; the best of some runs each."""
    on = torch.device(device)
    with torch.inference_mode():
        fastest = {name: _flops_per_s(shape, num_rows, kind, on) for name, kind in DTYPES.items()}
        return Ceilings(_bytes_per_s(read_bytes, on), fastest)


def _bytes_per_s(num_bytes: int, device: torch.device) -> float:
    """Sum a buffer, and multiply it with a vector: whichever reads faster."""
    matrix = torch.ones(num_bytes // (4 * 4096), 4096, device=device)
    vector = torch.ones(4096, device=device)
    ways: tuple[Callable[[], object], ...] = (matrix.sum, lambda: matrix @ vector)
    return matrix.nbytes / min(min(seconds_of(way, device)) for way in ways)


def _flops_per_s(
    shape: ModelShape, num_rows: int, dtype: torch.dtype, device: torch.device
) -> float:
    # Drawn, not constant: where few bits change, a GPU is faster than it is with real numbers.
    matrix = torch.rand(max(shape.inner, shape.hidden), shape.hidden, dtype=dtype, device=device)

    def seconds(num: int, num_runs: int) -> float:
        rows = torch.rand(num, shape.hidden, dtype=dtype, device=device)
        return min(seconds_of(lambda: torch.nn.functional.linear(rows, matrix), device, num_runs))

    probe = min(PROBE_ROWS, num_rows)
    num = max(probe, min(num_rows, int(probe / seconds(probe, 1))))
    return 2 * num * matrix.numel() / seconds(num, NUM_RUNS)


def seconds_of(
    run: Callable[[], object], device: torch.device | None = None, num_runs: int = NUM_RUNS
) -> list[float]:
    """Run it once to warm up and then some times; return the seconds of each, device included."""
    found = []
    for _ in range(num_runs + 1):
        _wait_for(device)
        started = time.perf_counter()
        run()
        _wait_for(device)
        found.append(time.perf_counter() - started)
    return found[1:]


def _wait_for(device: torch.device | None) -> None:
    if device is not None and device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass(frozen=True)
class Figure:
    """One row of a table: the median of some runs, beside the ceiling of the hardware."""

    name: str
    """What was measured; figures of one name make one line of a plot."""
    value: float
    unit: str
    n: int
    low: float
    high: float
    ceiling: float | None = None
    """In the same unit: what the hardware would allow; None where there is no such thing."""
    at: int | None = None
    """Tokens of context or prompt where it was measured: the x of a plot."""

    @classmethod
    def of(
        cls, name: str, samples: Sequence[float], unit: str,
        ceiling: float | None = None, at: int | None = None,
    ) -> "Figure":  # fmt: skip
        """Summarise runs."""
        middle = statistics.median(samples)
        return cls(name, middle, unit, len(samples), min(samples), max(samples), ceiling, at)

    @property
    def share(self) -> float | None:
        """How much of the ceiling was reached; of a time, the ceiling is the least."""
        if not self.ceiling or not self.value:
            return None
        is_time = self.unit in ("s", "ms")
        return self.ceiling / self.value if is_time else self.value / self.ceiling


@dataclass(frozen=True)
class Report:
    """What a benchmark found, and on what."""

    bench: str
    figures: Sequence[Figure]
    ceilings: Ceilings | None = None
    beside: Mapping[str, Any] = field(default_factory=dict)
    """What else a reader needs: the shape, ratios, peers that were not there, verdicts."""
    machine: Mapping[str, object] = field(
        default_factory=lambda: describe_machine(torch.get_num_threads())
    )
    date: str = field(default_factory=moment)
    load: float = field(default_factory=load)
    """See `machine.load`."""

    def table(self) -> str:
        """Return the figures as a table of Markdown."""
        return table(self.figures)

    def json(self) -> str:
        """Return all of it in one line."""
        rows = [{**asdict(figure), "share": figure.share} for figure in self.figures]
        return json.dumps({**asdict(self), "figures": rows})


def table(figures: Sequence[Figure]) -> str:
    """Return figures as a table of Markdown."""
    lines = ["| figure | tokens | median | range | n | ceiling | share |"]
    lines.append("|---|--:|--:|--:|--:|--:|--:|")
    return "\n".join(lines + [_row(figure) for figure in figures])


def _row(figure: Figure) -> str:
    tokens = "" if figure.at is None else f"{figure.at:,}"
    ceiling = "" if figure.ceiling is None else _number(figure.ceiling)
    share = "" if figure.share is None else f"{figure.share:.0%}"
    spread = f"{_number(figure.low)} - {_number(figure.high)}" if figure.n > 1 else ""
    cells = (
        *(figure.name, tokens, f"{_number(figure.value)} {figure.unit}"),
        *(spread, str(figure.n), ceiling, share),
    )
    return f"| {' | '.join(cells)} |"


def _number(value: float) -> str:
    """Four digits, without an exponent."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
