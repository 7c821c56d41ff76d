"""How much memory a device holds for this process, and how much it held at most."""

from dataclasses import dataclass

import torch

from evals.bench.machine import forget_peak, peak_rss_bytes, rss_bytes


@dataclass(frozen=True)
class Meter:
    """On a GPU what torch allocated, to the byte; on a CPU the whole process."""

    device: torch.device

    @property
    def is_exact(self) -> bool:
        """Whether nothing but tensors is counted."""
        return self.device.type == "cuda"

    def held_bytes(self) -> int:
        """Return what is held now."""
        return torch.cuda.memory_allocated(self.device) if self.is_exact else rss_bytes()

    def peak_bytes(self) -> int:
        """Return the most that was held since `forget_peak`."""
        return torch.cuda.max_memory_allocated(self.device) if self.is_exact else peak_rss_bytes()

    def forget_peak(self) -> None:
        """Let the peak begin anew."""
        if self.is_exact:
            torch.cuda.reset_peak_memory_stats(self.device)
        else:
            forget_peak()
