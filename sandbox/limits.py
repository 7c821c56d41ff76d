"""How much one command may use: seconds, bytes of memory, bytes of output."""

import time
from dataclasses import dataclass, replace

MIB = 1024 * 1024
LEAST_S = 0.01
"""What is left of a time that is over."""


@dataclass(frozen=True)
class Limits:
    """What one command may use before it is stopped with all its descendants."""

    wall_s: float = 120.0
    """Seconds from start to kill, on a monotonic clock."""
    cpu_s: int = 600
    """CPU seconds of any one process."""
    memory_bytes: int = 8192 * MIB
    """Address space of any one process."""
    resident_bytes: int = 8192 * MIB
    """Memory in use by all its processes together, what they share counted once."""
    file_bytes: int = 1024 * MIB
    """Size of any one file written."""
    disk_bytes: int = 10240 * MIB
    """How much smaller the free space of the workspace's disk may become."""
    free_bytes: int = 1024 * MIB
    """What must stay free there: the agent's own journal is written to the same disk."""
    num_processes: int = 300
    """Processes and threads alive at once."""
    output_bytes: int = 64 * 1024
    """Bytes of output kept: the first half and the last half of what was printed."""

    def __post_init__(self) -> None:
        if self.wall_s <= 0 or self.cpu_s <= 0:
            raise ValueError("time limits must be positive")
        sizes = (self.memory_bytes, self.resident_bytes, self.file_bytes, self.disk_bytes)
        if min(*sizes, self.num_processes, self.output_bytes) <= 0 or self.free_bytes < 0:
            raise ValueError("size limits must be positive")

    def until(self, end_s: float) -> "Limits":
        """Return these limits with no more seconds than are left to `end_s`, a monotonic time."""
        left_s = max(end_s - time.monotonic(), LEAST_S)
        return replace(self, wall_s=min(self.wall_s, left_s))
