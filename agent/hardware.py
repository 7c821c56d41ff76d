"""What this machine has to run a model on: its memory, its GPU; read without torch, in no time.

Every limit counts: a container may use less than the machine has. What fits into it is decided by
`inference/planner.py`; what keeps a sandbox from working is `machine.py`.
"""

import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from agent.system_files import ROOT, text_of
from inference.plan import Room

GIB = 1024**3
MIB = 1024**2
QUERY_S = 5.0
"""A driver that hangs must not hang us."""
QUERY = ("--query-gpu=name,memory.total,memory.used", "--format=csv,noheader,nounits")
ENGINE = "inference.host"
"""The module that an engine's process runs."""
BFLOAT16 = ("avx512_bf16", "amx_bf16")
"""Flags of CPUs that multiply it; on others the engine uses float32."""


@dataclass(frozen=True)
class Gpu:
    """The GPU that the engine would take."""

    name: str
    total_bytes: int
    used_bytes: int = 0


@dataclass(frozen=True)
class Hardware:
    """What there is."""

    ram_bytes: int
    gpu: Gpu | None
    has_bfloat16: bool
    note: str = ""
    """What a person should know of it; some sentences, or nothing."""
    free_bytes: int | None = None
    """Of the memory, what no other program uses; None where that is not known."""

    @property
    def rooms(self) -> tuple[Room, ...]:
        """The places where a model could be run, the best first."""
        cpu = Room.of_cpu(self.ram_bytes, 2 if self.has_bfloat16 else 4, self.free_bytes)
        if self.gpu is None:
            return (cpu,)
        return Room.of_gpu(self.gpu.total_bytes, self.ram_bytes, self.free_bytes), cpu

    @property
    def room(self) -> Room:
        """Where a model is run unless a person says otherwise: the GPU, if there is one."""
        return self.rooms[0]


def read_hardware(
    vram_gib: float | None = None, ram_gib: float | None = None, root: Path = ROOT
) -> Hardware:
    """Look at this machine; what is given in GiB is believed instead, 0 of a GPU is none."""
    notes, free = [], None
    if ram_gib is None:
        ram_bytes, free = memory_bytes(root), free_bytes(root)
        notes.append(_ram_words(root, free))
    else:
        ram_bytes = round(ram_gib * GIB)
    if vram_gib is None:
        gpu, note = _usable_gpu()
        notes.append(note)
    else:
        gpu = Gpu("a GPU", round(vram_gib * GIB)) if vram_gib else None
    return Hardware(ram_bytes, gpu, has_bfloat16(root), " ".join(filter(None, notes)), free)


def memory_bytes(root: Path = ROOT) -> int:
    """Return how much memory processes may have here: the machine's, or a container's limit."""
    machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min((machine, *_limits(root)))


def free_bytes(root: Path = ROOT) -> int | None:
    """Return what no other program uses: files that are cached give way, and so do our engines."""
    free = _kib(root / "proc/meminfo", "MemAvailable:")
    if free is None:
        return None
    engines = (
        f.parent for f in root.glob("proc/[0-9]*/cmdline") if ENGINE in text_of(f).split("\0")
    )
    return free + sum(_kib(engine / "status", "RssAnon:") or 0 for engine in engines)


def has_bfloat16(root: Path = ROOT) -> bool:
    """Say whether the CPU multiplies bfloat16."""
    words = text_of(root / "proc/cpuinfo").split()
    return any(flag in words for flag in BFLOAT16)


def gpus_of(printed: str, environment: Mapping[str, str] = os.environ) -> tuple[Gpu, ...]:
    """Read what nvidia-smi prints, of the GPUs that this process may see."""
    found = []
    for line in printed.splitlines():
        name, total, used = (word.strip() for word in line.rsplit(",", 2))
        if total.isdigit() and used.isdigit():
            found.append(Gpu(name, int(total) * MIB, int(used) * MIB))
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return tuple(found)
    numbers = [int(word) for word in visible.split(",") if word.strip().isdigit()]
    return tuple(found[number] for number in numbers if number < len(found))


def _usable_gpu() -> tuple[Gpu | None, str]:
    """Return the first GPU, and what is to be said of it."""
    if platform.system() == "Darwin":
        return None, "The memory of a Mac is shared by its CPU and GPU; the engine uses the CPU."
    program = shutil.which("nvidia-smi")
    if program is None:
        return None, ""
    try:
        done = subprocess.run(
            [program, *QUERY],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=QUERY_S,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None, "nvidia-smi does not answer, so no GPU is counted."
    found = gpus_of(done.stdout) if not done.returncode else ()
    if found and _is_cpu_torch():
        return None, f"{found[0].name} is not used: the torch that is installed is for the CPU."
    return (found[0], _gpu_words(found)) if found else (None, "")


def _gpu_words(found: tuple[Gpu, ...]) -> str:
    if len(found) > 1:
        return f"There are {len(found)} GPUs; one model runs on one of them."
    used = found[0].used_bytes
    return f"{used / GIB:.1f} GiB of the GPU are in use now." if used > GIB else ""


def _ram_words(root: Path, free: int | None) -> str:
    total = _kib(root / "proc/meminfo", "MemTotal:")
    used = 0 if total is None or free is None else total - free
    return f"Other programs use {used / GIB:.1f} GiB of the memory now." if used > GIB else ""


def _is_cpu_torch() -> bool:
    try:
        return version("torch").endswith("+cpu")
    except PackageNotFoundError:
        return False


def _limits(root: Path) -> Iterator[int]:
    """Yield the limits of memory of the control groups that this process is in."""
    for line in text_of(root / "proc/self/cgroup").splitlines():
        _, kinds, path = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        base = root / ("sys/fs/cgroup/memory" if kinds else "sys/fs/cgroup")
        name = "memory.limit_in_bytes" if kinds else "memory.max"
        group = base / path.strip("/")
        for folder in (group, *group.parents):
            limit = text_of(folder / name).strip()
            if limit.isdigit() and int(limit):
                yield int(limit)
            if folder == base:
                break


def _kib(file: Path, field: str) -> int | None:
    """Return the bytes that a file of the kernel's says in KiB; None if it does not."""
    lines = (line.split() for line in text_of(file).splitlines() if line.startswith(field))
    return next((int(line[1]) * 1024 for line in lines), None)
