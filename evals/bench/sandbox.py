"""How long does a command wait for its sandbox?

Method: `true` in each sandbox that works here, in turn; 3 warm-ups, 30 rounds, median and range.
Before each there is a pause, as a model makes one, in which the next supervisor starts.
Processor time, of us and all that we started, is given beside the wall clock: on a machine that
does other work it is what can be compared. A bare interpreter is measured too, as a unit.
Last line: JSON, figures and machine.

    python -m evals.bench.sandbox
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from evals.bench.machine import timed
from sandbox.base import Sandbox, View
from sandbox.bubblewrap import Bubblewrap
from sandbox.direct import Direct
from sandbox.landlock import Landlock
from sandbox.limits import Limits

WARM_UPS, ROUNDS = 3, 30
PAUSE_S = 0.3


def main() -> int:
    """Measure every level and print a table."""
    with tempfile.TemporaryDirectory() as name:
        view = View(Path(name), Path(name))
        best = Bubblewrap()
        sandboxes: list[Sandbox] = [Direct(), Landlock(), Bubblewrap(without=("uid",))]
        sandboxes += [best] if best.level == "full" else []
        runs: dict[str, Callable[[], object]] = {"bare python": bare_python}
        for sandbox in sandboxes:
            runs[sandbox.level] = partial(sandbox.run, ["true"], view, Limits())
        figures: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
        for number in range(WARM_UPS + ROUNDS):
            for name, run in runs.items():
                time.sleep(PAUSE_S)
                sample = timed(run)
                if number >= WARM_UPS:
                    figures[name].append(sample)
    report(figures)
    return 0


def bare_python() -> None:
    """Start what a supervisor is before it does anything."""
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)


def report(figures: dict[str, list[tuple[float, float]]]) -> None:
    """Print the table and the line for machines."""
    machine = f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"
    summary = {}
    print(f"{'':12} {'wall ms':>8} {'range':>13} {'processor ms':>13}")
    for name, samples in figures.items():
        wall = [1000 * wall_s for wall_s, _ in samples]
        processor = statistics.mean(1000 * processor_s for _, processor_s in samples)
        median, low, high = statistics.median(wall), min(wall), max(wall)
        print(f"{name:12} {median:8.1f} {f'{low:.0f}-{high:.0f}':>13} {processor:13.1f}")
        summary[name] = {"wall_ms": median, "least_ms": low, "processor_ms": processor}
    print(json.dumps({"rounds": ROUNDS, "machine": machine, "figures": summary}))


if __name__ == "__main__":
    raise SystemExit(main())
