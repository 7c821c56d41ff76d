"""What a benchmark ran on, and what of it was used: memory, time; Linux, read from /proc."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "safetensors", "qwen-agent-local")


def describe_machine(num_threads: int) -> Mapping[str, object]:
    """Return the processor, its cores, the threads in use, memory and versions."""
    return {
        "cpu": _cpu_model(),
        "num_cores": os.cpu_count(),
        "num_usable_cores": len(os.sched_getaffinity(0)),
        "num_threads": num_threads,
        "cpu_features": _cpu_features(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: _version(name) for name in PACKAGES},
    }


def moment() -> str:
    """Return the time in the form of reports."""
    return datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")


def load() -> float:
    """Return how many processes wanted a core in the last minute, those of a benchmark included."""
    return round(os.getloadavg()[0], 2)


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return the seconds that a call took, by the clock and by processors, children's included."""
    clock_s, before = time.perf_counter(), os.times()
    run()
    clock_s, after = time.perf_counter() - clock_s, os.times()
    return clock_s, sum(after[:4]) - sum(before[:4])


def forget_peak(pid: int | str = "self") -> None:
    """Let the peak of a process begin anew; if the kernel refuses, it is the one since start."""
    try:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    except OSError:
        return


def peak_rss_bytes(pid: int | str = "self") -> int:
    """Return the most memory that a process has held since `forget_peak`."""
    return _status_bytes(pid, "VmHWM:")


def rss_bytes() -> int:
    """Return the memory that this process holds."""
    return _status_bytes("self", "VmRSS:")


def _status_bytes(pid: int | str, field: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith(field)), 0)


def _cpu_model() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpu_features() -> list[str]:
    """What decides how fast matrices are multiplied here."""
    flags = _cpuinfo("flags").split()
    return [flag for flag in flags if flag.startswith(("avx2", "avx512", "amx", "avx_vnni"))]


def _cpuinfo(field: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(field)), "")


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
