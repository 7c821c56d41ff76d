"""Names the files of an attempt, saving them when they changed; the same files have one name."""

import hashlib

from sandbox.checkpoint import Checkpoint


class Recorder:
    """Saves the workspace when it changed; the same files have the same name however reached."""

    def __init__(self, checkpoint: Checkpoint, base: str) -> None:
        self._checkpoint = checkpoint
        self._base = base
        self._names = {self._digest(base): base}

    def __call__(self, before: str) -> str:
        """Return the name of the files as they are, which were `before` at the last call."""
        if not self._checkpoint.changed(before):
            return before
        commit = self._checkpoint.save("step")
        return self._names.setdefault(self._digest(commit), commit)

    def _digest(self, commit: str) -> str:
        patch = self._checkpoint.diff(self._base, commit)
        return hashlib.sha256(patch.encode("utf-8", "surrogateescape")).hexdigest()
