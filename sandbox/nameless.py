"""What processes keep in files without a name: in memory (`memfd`), or removed while open.

Part of the supervisor, so it imports next to nothing. No folder lists such a file, and no process
has its pages among its own before it looks at them. One that only travels in a socket is not found.
"""

from __future__ import annotations

import os
import stat

TYPE_CHECKING = False  # the name that type checkers know; importing typing costs milliseconds
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BLOCK_BYTES = 512
"""The unit of st_blocks, on every file system."""
UNKNOWN = 1 << 62
"""The size of what cannot be looked at: it may be all that is missing."""

File = tuple[int, int]
"""A device and a number on it."""


def nameless(pids: Iterable[int]) -> tuple[int, int]:
    """Give the bytes of nameless files that processes hold, in memory and on disk."""
    memory_device = device_of_memory()
    found: dict[File, int] = {}
    try:
        for pid in pids:
            found.update(open_files(pid))
        for pid in pids:
            for file, size in mapped_files(pid):
                found.setdefault(file, size)
    except PermissionError:  # a process can close itself to us
        return UNKNOWN, UNKNOWN
    in_memory = sum(size for (device, _), size in found.items() if device == memory_device)
    return in_memory, sum(found.values()) - in_memory


def device_of_memory() -> int:
    """Give the device on which the kernel keeps all nameless memory that is shared."""
    file = os.memfd_create("device")
    try:
        return os.fstat(file).st_dev
    finally:
        os.close(file)


def open_files(pid: int) -> Iterator[tuple[File, int]]:
    """Give the nameless files that a process has open, each thread's too, with their bytes."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - pathlib is slow to load
        for folder in [f"/proc/{pid}/task/{thread}/fd" for thread in threads]:
            for name in os.listdir(folder):  # noqa: PTH208
                yield from open_file(f"{folder}/{name}")
    except (FileNotFoundError, ProcessLookupError):
        return


def open_file(path: str) -> Iterator[tuple[File, int]]:
    """Give a file of /proc/PID/fd if it is nameless."""
    try:
        found = os.stat(path)  # noqa: PTH116
    except (FileNotFoundError, ProcessLookupError):  # closed meanwhile
        return
    if stat.S_ISREG(found.st_mode) and found.st_nlink == 0:
        yield (found.st_dev, found.st_ino), found.st_blocks * BLOCK_BYTES


def mapped_files(pid: int) -> Iterator[tuple[File, int]]:
    """Give the nameless files that a process maps: what it maps, since nobody tells their size."""
    sizes: dict[File, int] = {}
    try:
        with open(f"/proc/{pid}/maps") as file:  # noqa: PTH123 - pathlib is slow to load
            for line in file:
                if line.endswith(" (deleted)\n"):
                    addresses, _, _, device, number, *_ = line.split()
                    start, end = (int(address, 16) for address in addresses.split("-"))
                    major, minor = (int(part, 16) for part in device.split(":"))
                    key = os.makedev(major, minor), int(number)
                    sizes[key] = sizes.get(key, 0) + end - start
    except (FileNotFoundError, ProcessLookupError):
        return
    yield from sizes.items()
