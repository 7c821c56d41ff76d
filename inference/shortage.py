"""What an engine had to give up for want of memory, remembered from one start to the next.

A model that did not fit takes minutes to fail, and would fail so at every start. One small file
holds the steps down that an engine took before it ran (`fallback.py`). Which file that is says who
knows what they belong to: the model, the settings, the memory of the machine. Whoever removes it
has everything tried again.
"""

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import get_args

from inference.fallback import Step


@dataclass(frozen=True)
class Shortage:
    """The steps down that one model took on this machine."""

    file: Path

    def steps(self) -> tuple[Step, ...]:
        """Return them in order; none where nothing was short, or the file says nothing of use."""
        try:
            kept = json.loads(self.file.read_bytes())
        except (OSError, ValueError):
            return ()
        known = get_args(Step)
        return tuple(step for step in kept if step in known) if isinstance(kept, list) else ()

    def day(self) -> str:
        """Return the day on which they were found to be needed; empty where none is kept."""
        try:
            return date.fromtimestamp(self.file.stat().st_mtime).isoformat()
        except OSError:
            return ""

    def keep(self, steps: Sequence[Step]) -> None:
        """Remember them; where that cannot be written, the next start finds out by itself."""
        if tuple(steps) == self.steps():
            return  # the day stays that on which it was found
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            begun = self.file.with_suffix(".new")
            begun.write_text(json.dumps(list(steps)))
            begun.replace(self.file)
