"""How long does a person wait for `qwen-agent --help`?

Method: the installed command in a fresh process, beside a Python that does nothing (the limit);
1 warm-up, 10 runs of each, median and range. Goal: under 0.3 s.
Clock: perf_counter around the whole process, files cached. Last line: JSON, figures and machine.
"""

import json
import os
import platform
import statistics
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from pathlib import Path

NUM_RUNS = 10


def time_command(argv: Sequence[str]) -> list[float]:
    """Run `argv` once to warm the file cache, then `NUM_RUNS` times; return the seconds of each."""
    seconds = []
    for _ in range(NUM_RUNS + 1):
        started = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, timeout=60)
        seconds.append(time.perf_counter() - started)
    return seconds[1:]


def main() -> None:
    """Measure and print."""
    command = Path(sysconfig.get_path("scripts")) / "qwen-agent"
    if not command.exists():
        sys.exit(f"{command} is not installed; run `make setup` first.")
    figures: dict[str, object] = {}
    for name, argv in {
        "help": (str(command), "--help"),
        "bare_python": (sys.executable, "-c", "pass"),
    }.items():
        seconds = time_command(argv)
        median = statistics.median(seconds)
        print(f"{name:12} {median:.3f} s  ({min(seconds):.3f} - {max(seconds):.3f})")
        figures[f"{name}_s"] = round(median, 4)
        figures[f"{name}_range_s"] = [round(min(seconds), 4), round(max(seconds), 4)]
    figures["machine"] = f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}"
    figures["python"] = platform.python_version()
    print(json.dumps({"bench": "start", "num_runs": NUM_RUNS} | figures))


if __name__ == "__main__":
    main()
