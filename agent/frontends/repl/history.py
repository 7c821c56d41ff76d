"""What a person typed, over all sessions: one JSON string a line, readable by nobody else."""

import json
import os
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from prompt_toolkit.history import History

MAX_ENTRIES = 2_000
MAX_ENTRY_CHARACTERS = 10_000
"""A longer one is not kept beyond the session; it was pasted."""


class FileHistory(History):
    """Kept in a file that grows; a file that cannot be used is as if there was none."""

    def __init__(self, path: Path, unfold: Callable[[str], str] = lambda entry: entry) -> None:
        """Keep entries as `unfold` makes them: a folded paste means nothing in another session."""
        super().__init__()
        self._path = path
        self._unfold = unfold

    def load_history_strings(self) -> Iterable[str]:
        """Yield the entries, the newest first."""
        entries: deque[str] = deque(maxlen=MAX_ENTRIES)
        with suppress(OSError), self._path.open(encoding="utf-8", errors="replace") as file:
            for line in file:
                with suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, str):
                        entries.append(entry)
        return reversed(entries)

    def store_string(self, string: str) -> None:
        """Write one entry at the end, in one piece, so that two sessions do not mix."""
        whole = self._unfold(string)
        if len(whole) > MAX_ENTRY_CHARACTERS:
            return
        line = json.dumps(whole).encode() + b"\n"
        with suppress(OSError):
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
            try:
                os.write(descriptor, line)
            finally:
                os.close(descriptor)
