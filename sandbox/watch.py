"""What the kernel does not limit here: memory and number of all processes together, and the disk.

Part of the supervisor, so it imports next to nothing. It looks every `WATCH_S` and says what is
too much; the supervisor stops the command. A command may overshoot by what it can take in between.
"""

from __future__ import annotations

import os

from sandbox.descendants import descendants
from sandbox.nameless import BLOCK_BYTES, UNKNOWN, nameless

WATCH_S = 0.1
MIB = 1024 * 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
LEAST_FILES = 10_000
"""Files that must still fit on the disk: journals and checkpoints are files too."""


class Watch:
    """One command's use of memory and disk."""

    def __init__(
        self,
        folders: list[str],
        resident_bytes: int,
        num_processes: int,
        disk_bytes: int,
        free_bytes: int,
    ) -> None:
        """Begin; what is free now is what there was before the command.

        Args:
            folders: what may be written, the workspace first; with none, no disk is watched.
            resident_bytes: memory that all processes together may have.
            num_processes: how many may be alive.
            disk_bytes: how much smaller the free space may become.
            free_bytes: what must stay free, or half of what is, on a disk that is nearly full.
        """
        # Opened now: their names may lead elsewhere once mounts are staged.
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        self._folders = [os.open(folder, flags) for folder in folders]
        self._resident_bytes = resident_bytes
        self._shared_at_start = shared_memory()
        self._num_processes = num_processes
        self._disk_bytes = disk_bytes
        self._free_at_start, files = self._free() if folders else (0, 0)
        self._least_free = min(free_bytes, self._free_at_start // 2)
        self._least_files = min(LEAST_FILES, files // 2)

    def complaint(self) -> tuple[str, str]:
        """Name what there is too much of, `memory`, `processes` or `disk`, and say how much.

        Both are empty while all is well.
        """
        pids = descendants()
        if len(pids) > self._num_processes:
            return "processes", f"it had {len(pids)} processes, {self._num_processes} are allowed"
        memory = self._memory_complaint(pids)
        if memory:
            return "memory", memory
        disk = self._disk_complaint(pids)
        return ("disk", disk) if disk else ("", "")

    def _memory_complaint(self, pids: list[int]) -> str:
        used = sum(map(resident, pids))
        grown = max(shared_memory() - self._shared_at_start, 0)  # by whomever
        if used + grown > self._resident_bytes:
            each = [proportional(pid) for pid in pids]
            shared = sum(shared for _, shared in each)
            used = sum(own for own, _ in each) + max(shared, min(nameless(pids)[0], grown))
        if used <= self._resident_bytes:
            return ""
        allowed = _mib(self._resident_bytes)
        return f"its processes used {_mib(used)} of memory, {allowed} are allowed"

    def _disk_complaint(self, pids: list[int]) -> str:
        if not self._folders:
            return ""
        free, files = self._free()
        if free < self._least_free:
            return f"only {_mib(free)} of the disk are free"
        if files < self._least_files:
            return f"the disk has room for only {files} more files"
        written = self._free_at_start - free
        if written <= self._disk_bytes:
            return ""
        used = used_by(self._folders, self._disk_bytes) + min(nameless(pids)[1], written)
        if used <= self._disk_bytes:
            self._free_at_start = free  # something else on this machine wrote it
            return ""
        return f"it wrote {_mib(written)}, {_mib(self._disk_bytes)} are allowed"

    def _free(self) -> tuple[int, int]:
        """Give the free bytes and files of the workspace's disk; the latter 0 if not counted."""
        found = os.statvfs(self._folders[0])
        return found.f_bavail * found.f_frsize, found.f_favail


def resident(pid: int) -> int:
    """Give the bytes of memory that a process has, those it shares included; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:  # noqa: PTH123 - pathlib is slow to load
            return int(file.read().split()[1]) * PAGE_BYTES
    except (FileNotFoundError, ProcessLookupError):
        return 0


def proportional(pid: int) -> tuple[int, int]:
    """Give its own memory, and what it has of shared memory; slower to find out.

    What processes share counts by their shares.
    """
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:  # noqa: PTH123
            fields = {words[0]: words[1] for words in map(str.split, file)}
        shared = int(fields.get("Pss_Shmem:", 0)) * 1024
        return int(fields["Pss:"]) * 1024 - shared, shared
    except (OSError, KeyError):
        return resident(pid), 0


def shared_memory() -> int:
    """Give the bytes of all memory on this machine that is shared, in files or without a name."""
    with open("/proc/meminfo") as file:  # noqa: PTH123
        return next((int(line.split()[1]) * 1024 for line in file if line[:6] == "Shmem:"), 0)


def used_by(folders: list[int], enough: int) -> int:
    """Add up what the files of folders take on disk; stop once it is more than `enough`.

    It is `UNKNOWN` where a folder cannot be looked into; what lies deeper than can be counted is
    too much.
    """
    total = 0
    try:
        for folder in folders:
            for _, names, files, parent in os.fwalk(".", onerror=_unless_gone, dir_fd=folder):
                for name in (*names, *files):
                    total += _size_on_disk(name, parent)
                if total > enough:
                    return total
    except RecursionError:
        return enough + 1
    except OSError:
        return UNKNOWN
    return total


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _size_on_disk(name: str, parent: int) -> int:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False).st_blocks * BLOCK_BYTES
    except FileNotFoundError:  # removed meanwhile
        return 0


def _mib(size: int) -> str:
    return f"{size // MIB:,} MiB"
