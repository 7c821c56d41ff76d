"""Tokenized sessions on disk: one `.npz` a shard, written by `sessions.py`, read by `train.py`.

A shard holds three arrays: `tokens` (uint16, all sessions end to end), `is_reply` (bool, same
length) and `ends` (int64, where each session ends).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Session = tuple[NDArray[np.uint16], NDArray[np.bool_]]
"""Token ids, and which of them are the model's."""


def write_shard(path: Path, sessions: Sequence[tuple[Sequence[int], Sequence[bool]]]) -> None:
    """Write `sessions` so that a reader never sees half a file."""
    partial = path.with_suffix(".partial.npz")
    np.savez(
        partial,
        tokens=np.concatenate([np.asarray(tokens, np.uint16) for tokens, _ in sessions]),
        is_reply=np.concatenate([np.asarray(mask, np.bool_) for _, mask in sessions]),
        ends=np.cumsum([len(tokens) for tokens, _ in sessions]),
    )
    partial.replace(path)


class Shards:
    """All sessions of a folder, in memory; grows as the generator writes more."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.sessions: list[Session] = []
        self._seen: set[Path] = set()
        self.refresh()

    def refresh(self) -> bool:
        """Read the shards that appeared since the last look; return whether there were any."""
        num_before = len(self._seen)
        for path in sorted(self.folder.glob("*.npz")):
            if path in self._seen or ".partial" in path.name:
                continue
            self._seen.add(path)
            with np.load(path) as shard:
                cuts = shard["ends"][:-1]
                tokens = np.split(shard["tokens"], cuts)
                masks = np.split(shard["is_reply"], cuts)
            self.sessions.extend(zip(tokens, masks, strict=True))
        return len(self._seen) > num_before

    def __len__(self) -> int:
        return len(self.sessions)

    def length(self, index: int) -> int:
        """Tokens of one session."""
        return len(self.sessions[index][0])

    def session(self, index: int) -> Session:
        """Return one session's tokens and its mask."""
        return self.sessions[index]


def pad_batch(sessions: Sequence[Session], pad: int) -> tuple[Tensor, Tensor]:
    """Stack sessions of unlike length: tokens int64 [B, T] filled up with `pad`, mask [B, T]."""
    longest = max(len(tokens) for tokens, _ in sessions)
    tokens = torch.full((len(sessions), longest), pad, dtype=torch.long)
    is_reply = torch.zeros((len(sessions), longest), dtype=torch.bool)
    for row, (ids, mask) in enumerate(sessions):
        tokens[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        is_reply[row, : len(mask)] = torch.from_numpy(mask)
    return tokens, is_reply
